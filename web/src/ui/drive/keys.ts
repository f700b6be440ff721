import { useEffect } from "preact/hooks";
import { clipboard } from "../../app/services";
import { tn } from "../../i18n";
import { tell } from "../parts/toast";
import { undo } from "./actions";
import type { Folder } from "./folder";

interface Uses {
  folder: Folder;
  paste(): void;
}

/** Keys that work anywhere on the page of a folder: `/`, and those of the clipboard. */
export function useKeys({ folder, paste }: Uses): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.altKey || isBusy(event.target)) return;
      const command = event.ctrlKey || event.metaKey;
      if (command ? onCommand(event, folder, paste) : onPlain(event)) event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });
}

/** Does the key belong to a field, a dialog or a menu? */
function isBusy(target: EventTarget | null): boolean {
  const field = target instanceof Element && target.closest("input, textarea, select, [popover]");
  const checkbox = target instanceof HTMLInputElement && target.type === "checkbox";
  return (field && !checkbox) || document.querySelector("dialog[open]") !== null;
}

function onPlain(event: KeyboardEvent): boolean {
  const box = document.querySelector<HTMLInputElement>("input[data-search]");
  if (event.key !== "/" || !box) return false;
  box.focus();
  box.select();
  return true;
}

function onCommand(event: KeyboardEvent, folder: Folder, paste: () => void): boolean {
  if (event.shiftKey) return false;
  switch (event.key.toLowerCase()) {
    case "c":
      return take("copy", folder);
    case "x":
      return take("move", folder);
    case "v":
      if (clipboard.value) paste();
      return clipboard.value !== undefined;
    case "z":
      undo();
      return true;
    default:
      return false;
  }
}

/** What is selected, else the row that the keyboard is on; text that is selected goes before both. */
function take(how: "copy" | "move", folder: Folder): boolean {
  if (!(getSelection()?.isCollapsed ?? true)) return false;
  const chosen = folder.chosen();
  const onRow = document.activeElement?.closest("[role=row][aria-selected]");
  const here = onRow ? folder.entries.value[folder.focused.value] : undefined;
  const paths = chosen.length > 0 ? chosen.map((entry) => entry.path) : here ? [here.path] : [];
  if (paths.length === 0) return false;
  clipboard.value = { how, paths };
  tell(tn("drive.toPaste", paths.length));
  return true;
}
