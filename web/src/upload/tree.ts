/**
 * What was dropped or chosen, as a flat list of files with their places in the tree.
 *
 * `webkitGetAsEntry` must be called while the drop event is being handled, and `readEntries`
 * returns some of a folder (100 in Chromium), so it is called until it returns none.
 */
import { join } from "../paths";

/** A file and its place below the folder it was dropped on. */
export interface Dropped {
  file: File;
  /** Names of its folders, then its own, joined by `/`. */
  relative: string;
  /** A way to read it again on a later visit, in browsers that have one. */
  handle?: Promise<FileSystemHandle | null> | undefined;
}

export interface Drop {
  files: Dropped[];
  /** Folders without anything inside: no file would create them. */
  emptyFolders: string[];
  /** What could not be read. */
  unreadable: string[];
}

/** The part of `FileSystemEntry` that is used here. */
export interface TreeEntry {
  name: string;
  isFile: boolean;
  isDirectory: boolean;
  /** Not the browser's, but ours: only there while the event is being handled, so taken along. */
  handle?: Promise<FileSystemHandle | null> | undefined;
  file?(resolve: (file: File) => void, reject: (error: unknown) => void): void;
  createReader?(): {
    readEntries(resolve: (entries: TreeEntry[]) => void, reject: (error: unknown) => void): void;
  };
}

/** Deeper trees are refused by the server anyway; loops of links must end somewhere. */
const MAX_DEPTH = 64;
/** Folders read at the same time: enough to keep the disk busy, few enough to stay responsive. */
const READERS = 8;

type DropItem = DataTransferItem & {
  getAsFileSystemHandle?: () => Promise<FileSystemHandle | null>;
};

/** The entries of a drop. Call it synchronously in the event's handler. */
export function entriesOf(items: DataTransferItemList): (TreeEntry | File)[] {
  const found: (TreeEntry | File)[] = [];
  for (const item of Array.from(items) as DropItem[]) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry?.() as TreeEntry | null | undefined;
    if (entry?.isFile) entry.handle = item.getAsFileSystemHandle?.().catch(() => null);
    const file = entry ?? item.getAsFile();
    if (file) found.push(file);
  }
  return found;
}

/** Reads the whole tree below some entries. */
export async function readTree(roots: (TreeEntry | File)[]): Promise<Drop> {
  const drop: Drop = { files: [], emptyFolders: [], unreadable: [] };
  const folders: Place[] = [];
  await sort(roots, { relative: "", depth: 0 }, folders, drop);
  while (folders.length > 0) {
    const some = folders.splice(0, READERS);
    const read = await Promise.all(some.map(({ entry }) => entry && childrenOf(entry)));
    for (const [index, folder] of some.entries()) {
      const children = read[index];
      if (!children || folder.depth > MAX_DEPTH) drop.unreadable.push(folder.relative);
      else if (children.length === 0) drop.emptyFolders.push(folder.relative);
      else await sort(children, folder, folders, drop);
    }
  }
  return drop;
}

interface Place {
  entry?: TreeEntry;
  relative: string;
  depth: number;
}

/** Files into the drop, folders into the queue. */
async function sort(
  entries: (TreeEntry | File)[],
  inside: Place,
  folders: Place[],
  drop: Drop,
): Promise<void> {
  const files = entries.map((entry) => {
    const relative = inside.relative === "" ? entry.name : `${inside.relative}/${entry.name}`;
    if (!(entry instanceof File) && entry.isDirectory) {
      folders.push({ entry, relative, depth: inside.depth + 1 });
      return undefined;
    }
    if (entry instanceof File) return { relative, file: entry };
    return { relative, file: fileOf(entry), handle: entry.handle };
  });
  for (const found of files) {
    if (!found) continue;
    const file = await found.file;
    if (file) drop.files.push({ ...found, file });
    else drop.unreadable.push(found.relative);
  }
}

/** The file of an entry; `undefined` when it cannot be read. */
function fileOf(entry: TreeEntry): Promise<File | undefined> {
  return new Promise((resolve) => {
    if (entry.file) entry.file(resolve, () => resolve(undefined));
    else resolve(undefined);
  });
}

/** All of a folder's entries; `undefined` when it cannot be read. */
async function childrenOf(folder: TreeEntry): Promise<TreeEntry[] | undefined> {
  const reader = folder.createReader?.();
  if (!reader) return undefined;
  const all: TreeEntry[] = [];
  try {
    for (;;) {
      const some = await new Promise<TreeEntry[]>((resolve, reject) => {
        reader.readEntries(resolve, reject);
      });
      if (some.length === 0) return all;
      all.push(...some);
    }
  } catch {
    return undefined;
  }
}

/** What a file input has chosen; with `webkitdirectory` files know their place. */
export function fromInput(list: FileList): Drop {
  const files = Array.from(list, (file) => ({
    file,
    relative: file.webkitRelativePath || file.name,
  }));
  return { files, emptyFolders: [], unreadable: [] };
}

/**
 * Absolute path of something that was dropped on a folder, in the form that the server gives it:
 * macOS takes accents apart.
 */
export function placeIn(folder: string, relative: string): string {
  return relative
    .normalize("NFC")
    .split("/")
    .filter((name) => name !== "")
    .reduce(join, folder);
}
