/** What is done with entries, and what is told of it. */
import { ApiError } from "../../api/error";
import type { Change, Entry, OnConflict } from "../../api/types";
import { download, downloadArchive, MEMORY_LIMIT, TooLargeForMemory } from "../../app/download";
import { bytes, plain } from "../../app/format";
import { whenOver } from "../../app/over";
import { go } from "../../app/router";
import { api, arrivals } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t, tn } from "../../i18n";
import { join, nameOf, outermost, parentOf } from "../../paths";
import { offer, tell, tellError } from "../parts/toast";

/** Changes made in one call, all or none; the server takes as many. */
const CHANGES_AT_ONCE = 1_000;
/** Characters of paths in one call: gateways take bodies of JSON up to 1 MiB. */
const CHARACTERS_AT_ONCE = 200_000;
/** Calls under way at a time where there is one for each entry. */
const CALLS_AT_ONCE = 4;
/** Paths that the server takes for one archive. */
const ARCHIVED_AT_ONCE = 1_000;

/** Makes changes in as few calls as possible; `made` is told how many each of them has made. */
export async function changeAll(changes: Change[], made = (_: number) => {}): Promise<void> {
  let some: Change[] = [];
  let characters = 0;
  for (const change of changes) {
    some.push(change);
    characters += JSON.stringify(change).length;
    if (some.length < CHANGES_AT_ONCE && characters < CHARACTERS_AT_ONCE) continue;
    await api.change(some);
    made(some.length);
    [some, characters] = [[], 0];
  }
  if (some.length === 0) return;
  await api.change(some);
  made(some.length);
}

/** Moves entries into a folder and tells what became of it. */
export async function moveAll(paths: string[], folder: string, done: () => void): Promise<void> {
  const moves = outermost(paths)
    .filter((path) => path !== folder && parentOf(path) !== folder)
    .map((from) => ({ op: "move", from, to: join(folder, nameOf(from)) }) as const);
  if (moves.length === 0) return;
  try {
    await changeAll(moves);
    tell(tn("move.done", moves.length, { name: folderName(folder) }));
  } catch (error) {
    const taken = error instanceof ApiError && error.slug === "name-conflict";
    tell(taken ? t("problem.name-conflict") : wordsFor(error), true);
  }
  done();
}

/** Asks what to do with what could not be copied because its name is taken, or cannot ask now. */
type AskTaken = (paths: string[]) => boolean;

/** Copies entries into a folder and tells what became of them. */
export async function copyAll(
  paths: string[],
  folder: string,
  onConflict: OnConflict,
  ask: AskTaken,
): Promise<void> {
  const conflicts: string[] = [];
  const copies: string[] = [];
  let problem: unknown;
  await inTurns(outermost(paths), async (from) => {
    // Beside what it is a copy of it cannot have the same name.
    const rule = parentOf(from) === folder ? "rename" : onConflict;
    try {
      const copy = await api.copy(from, join(folder, nameOf(from)), rule);
      copies.push(copy.path);
    } catch (error) {
      const isTaken = error instanceof ApiError && error.slug === "name-conflict";
      if (isTaken && onConflict === "fail") conflicts.push(from);
      else problem ??= error;
    }
  });
  if (copies.length > 0) {
    const names = { name: plain(nameOf(copies[0] ?? "")), folder: folderName(folder) };
    tell(tn("copy.done", copies.length, names));
  }
  if (problem !== undefined) tellError(problem);
  if (conflicts.length > 0 && !ask(conflicts)) {
    const names = { name: plain(nameOf(conflicts[0] ?? "")), folder: folderName(folder) };
    tell(tn("copy.notCopied", conflicts.length, names), true);
  }
  // Another folder may be shown by now. Where something went wrong, more may have changed.
  arrive(problem === undefined ? copies : [...copies, ...paths]);
}

/** Whatever shows one of these looks again. */
export function arrive(paths: string[]): void {
  arrivals.value = { count: arrivals.value.count + 1, paths };
}

export function folderName(path: string): string {
  return plain(nameOf(path)) || t("drive.home");
}

/** A file as it is; a folder, or several entries, as one archive. */
export async function save(entries: Entry[]): Promise<void> {
  const paths = outermost(entries.map((entry) => entry.path));
  const [only, ...others] = entries;
  try {
    if (only?.kind === "file" && others.length === 0) {
      return await download(only.path, nameOf(only.path), only.size);
    }
    const names = new Set(paths.map((path) => nameOf(path).normalize()));
    // They would be one in the archive.
    if (names.size < paths.length) return tell(t("drive.archiveNames"), true);
    if (paths.length > ARCHIVED_AT_ONCE) {
      return tell(tn("drive.archiveMany", ARCHIVED_AT_ONCE), true);
    }
    await downloadArchive(paths, `${archiveName(paths)}.zip`);
  } catch (error) {
    if (!(error instanceof TooLargeForMemory)) return tellError(error);
    // A forced reload leaves a page without its worker; without HTTPS there never is one.
    const key = isSecureContext ? "drive.downloadReload" : "drive.downloadLarge";
    tell(t(key, { limit: bytes(MEMORY_LIMIT) }), true);
  }
}

/** As the server would name it. */
function archiveName(paths: string[]): string {
  const folders = new Set(paths.map(parentOf));
  const [only = "/"] = paths.length === 1 ? paths : folders.size === 1 ? folders : [];
  return nameOf(only) || "files";
}

/** Undoes the last deletion of this page, once. */
let undoLast: (() => void) | undefined;
whenOver(() => {
  undoLast = undefined;
});

export function undo(): void {
  undoLast?.();
}

/** Deletes into the trash. That can be undone, so nobody is asked before. */
export async function removeAll(entries: Entry[], done: () => void): Promise<void> {
  const paths = new Set(outermost(entries.map((entry) => entry.path)));
  const wanted = entries.filter((entry) => paths.has(entry.path));
  const deletions = wanted.map(({ path }) => ({ op: "delete", path }) as const);
  let count = 0;
  let problem: unknown;
  try {
    await changeAll(deletions, (made) => {
      count += made;
    });
  } catch (error) {
    problem = error;
  }
  // What was deleted before something went wrong can be put back all the same.
  if (count > 0) offerUndo(wanted.slice(0, count), done);
  if (problem !== undefined) tellError(problem);
  done();
}

function offerUndo(gone: Entry[], done: () => void): void {
  let used = false;
  const back = () => {
    if (used) return;
    used = true;
    // Another deletion may be the last one by now.
    if (undoLast === back) undoLast = undefined;
    withdraw();
    void putBack(gone, done);
  };
  const name = plain(nameOf(gone[0]?.path ?? ""));
  const text = tn("delete.done", gone.length, { name });
  const withdraw = offer(text, { text: t("app.undo"), run: back });
  undoLast = back;
}

/** In the trash entries keep their ids. What cannot go back stays there. */
async function putBack(gone: Entry[], done: () => void): Promise<void> {
  let problem: unknown;
  let failed = 0;
  await inTurns(gone, async ({ id }) => {
    try {
      await api.restore(id, {});
    } catch (error) {
      failed += 1;
      problem = error;
    }
  });
  if (failed === 0) {
    const name = plain(nameOf(gone[0]?.path ?? ""));
    tell(tn("delete.undone", gone.length, { name }));
  } else {
    const show = { text: t("trash.open"), run: () => go("/trash") };
    tell(`${tn("delete.stays", failed)} ${wordsFor(problem)}`, true, show);
  }
  // Another page may be shown by now.
  arrive(gone.map((entry) => entry.path));
  done();
}

/** One call for each, a few at a time. */
async function inTurns<T>(all: T[], call: (one: T) => Promise<void>): Promise<void> {
  const rest = all.values();
  const turn = async () => {
    for (const one of rest) await call(one);
  };
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, turn));
}
