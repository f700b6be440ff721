/** Ways files come in: the button, and drops anywhere on the page. */
import { useEffect, useRef, useState } from "preact/hooks";
import { plain } from "../../app/format";
import { engine } from "../../app/services";
import { t, tn } from "../../i18n";
import { nameOf } from "../../paths";
import { type Drop, entriesOf, fromInput, placeIn, readTree } from "../../upload/tree";
import { Icon } from "../parts/icons";
import { Menu } from "../parts/menu";
import { tell, tellError } from "../parts/toast";
import { changeAll } from "./actions";

export async function take(drop: Drop, folder: string, done: () => void): Promise<void> {
  engine.add(
    await Promise.all(
      drop.files.map(async ({ file, relative, handle }) => ({
        file,
        path: placeIn(folder, relative),
        handle: fileHandle(await handle),
      })),
    ),
  );
  if (drop.unreadable.length > 0) tell(tn("drive.dropUnreadable", drop.unreadable.length), true);
  const folders = drop.emptyFolders.map((relative) => placeIn(folder, relative));
  try {
    await changeAll(folders.map((path) => ({ op: "create_folder", path, parents: true })));
    if (folders.length > 0) done();
  } catch (error) {
    tellError(error);
  }
}

function fileHandle(handle: FileSystemHandle | null | undefined) {
  return handle?.kind === "file" ? (handle as FileSystemFileHandle) : undefined;
}

export function UploadButton({ folder, done }: { folder: string; done(): void }) {
  const files = useRef<HTMLInputElement>(null);
  const tree = useRef<HTMLInputElement>(null);
  const chosen = (event: Event) => {
    const input = event.currentTarget as HTMLInputElement;
    if (input.files) void take(fromInput(input.files), folder, done);
    // The same files can be chosen again.
    input.value = "";
  };
  return (
    <>
      <Menu
        label={t("drive.upload")}
        class="primary upload-button"
        entries={[
          { icon: "file", text: t("drive.uploadFiles"), onSelect: () => files.current?.click() },
          { icon: "folder", text: t("drive.uploadFolder"), onSelect: () => tree.current?.click() },
        ]}
      >
        <Icon name="upload" />
        <span>{t("drive.upload")}</span>
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

/** Shows where a drop would go, and takes it. */
export function DropZone({ folder, done }: { folder: string; done(): void }) {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const onLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent) => {
      setOver(false);
      if (!hasFiles(event) || !event.dataTransfer) return;
      event.preventDefault();
      // Entries are only there while the event is being handled.
      const entries = entriesOf(event.dataTransfer.items);
      void readTree(entries).then((drop) => take(drop, folder, done));
    };
    window.addEventListener("dragover", onOver);
    window.addEventListener("dragleave", onLeave);
    window.addEventListener("drop", onDrop);
    return () => {
      window.removeEventListener("dragover", onOver);
      window.removeEventListener("dragleave", onLeave);
      window.removeEventListener("drop", onDrop);
    };
  }, [folder]);
  const name = plain(nameOf(folder)) || t("drive.home");
  return over ? (
    <div class="drop-zone">
      <div>
        <Icon name="upload" />
        {t("drive.dropHere", { folder: name })}
      </div>
    </div>
  ) : null;
}
