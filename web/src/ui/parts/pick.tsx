/** Files from outside: chosen by a button, or dropped anywhere on the page. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { t } from "../../i18n";
import { type Drop, entriesOf, fromInput, readTree } from "../../upload/tree";
import { Icon } from "./icons";
import { Menu } from "./menu";

interface PickProps {
  label: string;
  class?: string;
  onPick(drop: Drop): void;
}

export function PickButton({ label, class: extra = "", onPick }: PickProps) {
  const files = useRef<HTMLInputElement>(null);
  const tree = useRef<HTMLInputElement>(null);
  const chosen = (event: Event) => {
    const input = event.currentTarget as HTMLInputElement;
    if (input.files) onPick(fromInput(input.files));
    // The same files can be chosen again.
    input.value = "";
  };
  return (
    <>
      <Menu
        label={label}
        class={`primary ${extra}`}
        entries={[
          { icon: "file", text: t("drive.uploadFiles"), onSelect: () => files.current?.click() },
          { icon: "folder", text: t("drive.uploadFolder"), onSelect: () => tree.current?.click() },
        ]}
      >
        <Icon name="upload" />
        <span>{label}</span>
      </Menu>
      <input ref={files} type="file" multiple hidden onChange={chosen} data-pick="files" />
      <input
        ref={(element) => {
          tree.current = element;
          element?.setAttribute("webkitdirectory", "");
        }}
        type="file"
        hidden
        onChange={chosen}
        data-pick="folder"
      />
    </>
  );
}

/** Says what a drop would do while something is held over the page, and takes it. */
export function DropArea({ text, onDrop }: { text: string; onDrop(drop: Drop): void }) {
  const [over, setOver] = useState(false);
  const latest = useRef(onDrop);
  latest.current = onDrop;
  // Before the page is painted: from then on somebody may drop, and what nobody takes the browser opens.
  useLayoutEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const dragged = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const left = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const dropped = (event: DragEvent) => {
      setOver(false);
      if (!hasFiles(event) || !event.dataTransfer) return;
      event.preventDefault();
      const take = latest.current;
      // Entries are only there while the event is being handled.
      void readTree(entriesOf(event.dataTransfer.items)).then(take);
    };
    window.addEventListener("dragover", dragged);
    window.addEventListener("dragleave", left);
    window.addEventListener("drop", dropped);
    return () => {
      window.removeEventListener("dragover", dragged);
      window.removeEventListener("dragleave", left);
      window.removeEventListener("drop", dropped);
    };
  }, []);
  return over ? (
    <div class="drop-zone">
      <div>
        <Icon name="upload" />
        {text}
      </div>
    </div>
  ) : null;
}
