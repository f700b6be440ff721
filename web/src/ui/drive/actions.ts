/** What is done with entries, and what is told of it. */
import { ApiError } from "../../api/error";
import type { Change, Entry } from "../../api/types";
import { plain } from "../../app/format";
import { go } from "../../app/router";
import { api } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t, tn } from "../../i18n";
import { join, nameOf, outermost, parentOf } from "../../paths";
import { tell, tellError } from "../parts/toast";

/** Changes made in one call, all or none; the server takes as many. */
const CHANGES_AT_ONCE = 1_000;
/** Characters of paths in one call: gateways take bodies of JSON up to 1 MiB. */
const CHARACTERS_AT_ONCE = 200_000;
/** Calls under way at a time where there is one for each entry. */
const CALLS_AT_ONCE = 4;

/** Makes changes in as few calls as possible. */
export async function changeAll(changes: Change[]): Promise<void> {
  let some: Change[] = [];
  let characters = 0;
  for (const change of changes) {
    some.push(change);
    characters += JSON.stringify(change).length;
    if (some.length < CHANGES_AT_ONCE && characters < CHARACTERS_AT_ONCE) continue;
    await api.change(some);
    [some, characters] = [[], 0];
  }
  if (some.length > 0) await api.change(some);
}

/** Moves entries into a folder and tells what became of it. */
export async function moveAll(paths: string[], folder: string, done: () => void): Promise<void> {
  const moves = outermost(paths)
    .filter((path) => path !== folder && parentOf(path) !== folder)
    .map((from) => ({ op: "move", from, to: join(folder, nameOf(from)) }) as const);
  if (moves.length === 0) return;
  try {
    await changeAll(moves);
    const name = plain(nameOf(folder)) || t("drive.home");
    tell(tn("move.done", moves.length, { name }));
  } catch (error) {
    const taken = error instanceof ApiError && error.slug === "name-conflict";
    tell(taken ? t("problem.name-conflict") : wordsFor(error), true);
  }
  done();
}

/** Undoes the last deletion of this page, once. */
let undoLast: (() => void) | undefined;

export function undo(): void {
  undoLast?.();
}

/** Deletes into the trash. That can be undone, so nobody is asked before. */
export async function removeAll(entries: Entry[], done: () => void): Promise<void> {
  const paths = new Set(outermost(entries.map((entry) => entry.path)));
  const gone = entries.filter((entry) => paths.has(entry.path));
  try {
    await changeAll(gone.map(({ path }) => ({ op: "delete", path }) as const));
    undoLast = () => {
      undoLast = undefined;
      void putBack(gone, done);
    };
    const name = plain(nameOf(gone[0]?.path ?? ""));
    tell(tn("delete.done", gone.length, { name }), false, { text: t("app.undo"), run: undoLast });
  } catch (error) {
    tellError(error);
  }
  done();
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
