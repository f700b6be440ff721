import type { SharedEntry } from "../../api/types";
import { t } from "../../i18n";
import { tell } from "../parts/toast";
import type { Look } from "./state";
import { isGone, isLocked, linkWords } from "./words";

/** When a download has surely been counted, the page looks again. Milliseconds. */
const COUNTED = 2_000;

/**
 * Has the browser save a file. It is asked for first, because what a browser says of a download
 * that is refused helps nobody.
 */
export async function save(look: Look, file: SharedEntry): Promise<void> {
  const { link } = look;
  if (!(await mayDownload(look, file.path))) return;
  start(link.contentUrl(file.path, false), file.name);
  if (look.shown.value?.downloads_left === undefined) return;
  setTimeout(() => void look.reload(), COUNTED);
}

/** The same for a folder and everything below it. */
export async function saveAll(look: Look, folder: SharedEntry): Promise<void> {
  if (!(await mayDownload(look, folder.path))) return;
  start(look.link.archiveUrl(folder.path), `${folder.name}.zip`);
}

async function mayDownload(look: Look, path: string): Promise<boolean> {
  try {
    const shown = await look.link.read(path);
    if (shown.needs_password) {
      look.locked.value = true;
      return false;
    }
    if (shown.downloads_left !== 0) return true;
    tell(t("problem.share-exhausted"), true);
    void look.reload();
  } catch (error) {
    if (isLocked(error)) look.locked.value = true;
    // It may be the file alone that is not there any more.
    else if (isGone(error)) void look.reload();
    else tell(linkWords(error), true);
  }
  return false;
}

function start(url: string, name: string): void {
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
}
