import { useEffect, useState } from "preact/hooks";
import type { Entry, FolderEntry } from "../../api/types";
import { plain } from "../../app/format";
import { api } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t, tn } from "../../i18n";
import { isBelow, nameOf, parentOf } from "../../paths";
import { Dialog } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { folderName } from "./actions";

interface Props {
  entries: Entry[];
  how: "move" | "copy";
  /** Where to begin. */
  from: string;
  onClose(): void;
  onChosen(folder: string): void;
}

/** Walks through the folders to the one that entries are to be moved or copied to. */
export function Move({ entries, how, from, onClose, onChosen }: Props) {
  const [at, setAt] = useState(from);
  const [folders, setFolders] = useState<FolderEntry[]>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    const request = new AbortController();
    setFolders(undefined);
    setError(undefined);
    foldersIn(at, request.signal).then(setFolders, (problem) => {
      if (!request.signal.aborted) setError(problem);
    });
    return () => request.abort();
  }, [at]);

  const paths = entries.map((entry) => entry.path);
  const inItself = paths.some((path) => path === at || isBelow(at, path));
  // A copy beside the original gets another name; a move to where it is would be none.
  const staysThere = how === "move" && paths.every((path) => parentOf(path) === at);
  const buttons = (
    <>
      <button type="button" onClick={onClose}>
        {t("app.cancel")}
      </button>
      <button
        type="button"
        class="primary"
        disabled={staysThere || inItself}
        onClick={() => {
          onClose();
          onChosen(at);
        }}
      >
        {t(`${how}.here`, { name: folderName(at) })}
      </button>
    </>
  );
  const title = tn(`${how}.title`, entries.length, { name: plain(nameOf(paths[0] ?? "")) });
  return (
    <Dialog title={title} onClose={onClose} actions={buttons}>
      <ul class="folders" aria-label={t("move.to")} aria-busy={!folders && !error}>
        {at !== "/" && (
          <li>
            <button type="button" onClick={() => setAt(parentOf(at))}>
              <Icon name="chevron" class="back" />
              {t("move.up", { name: folderName(parentOf(at)) })}
            </button>
          </li>
        )}
        {folders
          ?.filter((folder) => !paths.includes(folder.path))
          .map((folder) => (
            <li key={folder.id}>
              <button type="button" onClick={() => setAt(folder.path)}>
                <Icon name="folder" class="folder" />
                <Name name={nameOf(folder.path)} />
                <Icon name="chevron" />
              </button>
            </li>
          ))}
      </ul>
      {folders?.length === 0 && <p class="muted center">{t("move.noFolders")}</p>}
      {error !== undefined && <p class="field-error">{wordsFor(error)}</p>}
    </Dialog>
  );
}

/** Pages of a folder looked through for folders inside; beyond, the list says what it has. */
const PAGES = 20;

async function foldersIn(path: string, signal: AbortSignal): Promise<FolderEntry[]> {
  const found: FolderEntry[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < PAGES; page++) {
    const listing = await api.list(path, { cursor, sort: "name" }, signal);
    if (listing.kind === "file") break;
    for (const entry of listing.entries ?? []) if (entry.kind === "folder") found.push(entry);
    cursor = listing.next_cursor;
    if (cursor === undefined) break;
  }
  return found;
}
