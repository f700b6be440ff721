/** Ways files come in: the button, and drops anywhere on the page. */
import { plain } from "../../app/format";
import { engine } from "../../app/services";
import { t, tn } from "../../i18n";
import { nameOf } from "../../paths";
import { type Drop, placeIn } from "../../upload/tree";
import { DropArea, PickButton } from "../parts/pick";
import { tell, tellError } from "../parts/toast";
import { arrive, changeAll } from "./actions";

export async function take(drop: Drop, folder: string): Promise<void> {
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
    // Another folder may be shown by now.
    if (folders.length > 0) arrive(folders);
  } catch (error) {
    tellError(error);
  }
}

function fileHandle(handle: FileSystemHandle | null | undefined) {
  return handle?.kind === "file" ? (handle as FileSystemFileHandle) : undefined;
}

export function UploadButton({ folder }: { folder: string }) {
  return (
    <PickButton
      label={t("drive.upload")}
      class="upload-button"
      onPick={(drop) => void take(drop, folder)}
    />
  );
}

/** Shows where a drop would go, and takes it. */
export function DropZone({ folder }: { folder: string }) {
  const name = plain(nameOf(folder)) || t("drive.home");
  return (
    <DropArea
      text={t("drive.dropHere", { folder: name })}
      onDrop={(drop) => void take(drop, folder)}
    />
  );
}
