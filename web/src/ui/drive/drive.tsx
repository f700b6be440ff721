import { useEffect, useMemo, useState } from "preact/hooks";
import type { Entry, FileEntry } from "../../api/types";
import { download, MEMORY_LIMIT, TooLargeForMemory } from "../../app/download";
import { bytes, plain } from "../../app/format";
import { driveUrl, go } from "../../app/router";
import { arrivals, refreshAccount, unfinished } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t, tn } from "../../i18n";
import { isBelow, join, nameOf, parentOf, segments } from "../../paths";
import { Icon, type IconName } from "../parts/icons";
import type { MenuEntry } from "../parts/menu";
import { Name } from "../parts/name";
import { tell, tellError } from "../parts/toast";
import { moveAll, removeAll } from "./actions";
import { Details } from "./details";
import { NewFolder, Rename } from "./dialogs";
import { Folder } from "./folder";
import { type Actions, dropInto, List } from "./list";
import { Move } from "./move";
import { Preview } from "./preview";
import { DropZone, UploadButton } from "./upload";

type Open =
  | { what: "new-folder" }
  | { what: "rename" | "details"; entry: Entry }
  | { what: "preview"; entry: FileEntry }
  | { what: "move"; entries: Entry[] };

/** A folder, and everything that can be done in it. */
export function Drive({ path }: { path: string }) {
  const folder = useMemo(() => new Folder(path), [path]);
  const [open, setOpen] = useState<Open>();
  useEffect(() => {
    document.title = path === "/" ? t("app.title") : `${plain(nameOf(path))} · ${t("app.title")}`;
    void folder.reload();
    return () => folder.close();
  }, [folder]);
  const arrived = arrivals.value;
  useEffect(() => {
    const here = (item: string) => parentOf(item) === path || isBelow(item, path);
    if (arrived.paths.some(here)) void folder.reload();
  }, [arrived]);

  const changed = () => {
    void folder.reload();
    void refreshAccount();
  };
  const actions = makeActions(folder, setOpen, changed);
  const close = () => setOpen(undefined);
  const chosen = folder.selected.value.size > 0;
  return (
    <div class="drive">
      <DropZone folder={path} done={changed} />
      <header class="top">
        <Crumbs path={path} moved={(paths, to) => void moveAll(paths, to, changed)} />
        {chosen ? (
          <Selection folder={folder} setOpen={setOpen} remove={actions.remove} />
        ) : (
          <Tools folder={folder} setOpen={setOpen} changed={changed} />
        )}
      </header>
      <Interrupted />
      <Content folder={folder} actions={actions} />
      {open?.what === "new-folder" && <NewFolder folder={path} onClose={close} done={changed} />}
      {open?.what === "rename" && <Rename entry={open.entry} onClose={close} done={changed} />}
      {open?.what === "details" && <Details entry={open.entry} onClose={close} />}
      {open?.what === "move" && (
        <Move entries={open.entries} from={path} onClose={close} done={changed} />
      )}
      {open?.what === "preview" && (
        <Preview file={open.entry} onClose={close} onDownload={() => save([open.entry])} />
      )}
    </div>
  );
}

function makeActions(folder: Folder, setOpen: (open: Open) => void, changed: () => void): Actions {
  const open = (entry: Entry) => {
    if (entry.kind === "folder") go(driveUrl(entry.path));
    else setOpen({ what: "preview", entry });
  };
  const remove = (entries: Entry[]) => {
    folder.keepFocus();
    void removeAll(entries, changed);
  };
  const rename = (entry: Entry) => setOpen({ what: "rename", entry });
  const menu = (entry: Entry): MenuEntry[] => [
    entry.kind === "folder"
      ? { icon: "folder", text: t("drive.open"), onSelect: () => open(entry) }
      : { icon: "eye", text: t("drive.preview"), onSelect: () => open(entry) },
    ...(entry.kind === "file"
      ? [{ icon: "download", text: t("drive.download"), onSelect: () => save([entry]) } as const]
      : []),
    { icon: "info", text: t("drive.details"), onSelect: () => setOpen({ what: "details", entry }) },
    { icon: "pencil", text: t("drive.rename"), onSelect: () => rename(entry) },
    {
      icon: "move",
      text: t("drive.move"),
      onSelect: () => setOpen({ what: "move", entries: [entry] }),
    },
    { icon: "trash", text: t("drive.delete"), danger: true, onSelect: () => remove([entry]) },
  ];
  const moveInto = (paths: string[], to: string) => {
    folder.select([]);
    void moveAll(paths, to, changed);
  };
  return { open, remove, rename, menu, moveInto };
}

function save(entries: Entry[]): void {
  if (entries.some((entry) => entry.kind === "folder")) tell(t("drive.downloadFolders"), true);
  for (const entry of entries) {
    if (entry.kind !== "file") continue;
    download(entry.path, nameOf(entry.path), entry.size).catch((error) => {
      if (!(error instanceof TooLargeForMemory)) return tellError(error);
      tell(t("drive.downloadLarge", { limit: bytes(MEMORY_LIMIT) }), true);
    });
  }
}

function Content({ folder, actions }: { folder: Folder; actions: Actions }) {
  const search = folder.search.value;
  if (folder.error.value !== undefined) {
    return (
      <div class="blank">
        <Icon name="alert" />
        <h2>{t("drive.loadFailed")}</h2>
        <p class="muted">{wordsFor(folder.error.value)}</p>
        <div class="row-of-buttons">
          <button type="button" onClick={() => void folder.reload()}>
            {t("app.retry")}
          </button>
          <a class="button" href="/">
            {t("app.toFiles")}
          </a>
        </div>
      </div>
    );
  }
  if (folder.entries.value.length > 0) return <List folder={folder} actions={actions} />;
  if (folder.loading.value) {
    return (
      <div class="blank" role="status">
        <p class="muted late">{t("app.loading")}</p>
      </div>
    );
  }
  return (
    <div class="blank">
      <Icon name={search ? "search" : "folder"} />
      {search ? (
        <h2>{t("drive.noMatch", { text: plain(search) })}</h2>
      ) : (
        <>
          <h2>{t("drive.empty")}</h2>
          <p class="muted">{t("drive.emptyHint")}</p>
        </>
      )}
    </div>
  );
}

function Crumbs({ path, moved }: { path: string; moved(paths: string[], to: string): void }) {
  const names = segments(path);
  const crumbs = names.map((name, index) => ({
    name,
    path: names.slice(0, index + 1).reduce(join, "/"),
  }));
  const last = crumbs.length - 1;
  return (
    <nav class="crumbs" aria-label={t("drive.path")}>
      <ol>
        <li {...dropInto((paths) => moved(paths, "/"))}>
          {last < 0 ? <h1>{t("drive.home")}</h1> : <a href="/">{t("drive.home")}</a>}
        </li>
        {crumbs.map((crumb, index) => (
          <li key={crumb.path} {...dropInto((paths) => moved(paths, crumb.path))}>
            <Icon name="chevron" />
            {index === last ? (
              <h1 aria-current="page">
                <Name name={crumb.name} />
              </h1>
            ) : (
              <a href={driveUrl(crumb.path)}>
                <Name name={crumb.name} />
              </a>
            )}
          </li>
        ))}
      </ol>
    </nav>
  );
}

interface ToolsProps {
  folder: Folder;
  setOpen(open: Open): void;
  changed(): void;
}

function Tools({ folder, setOpen, changed }: ToolsProps) {
  return (
    <div class="tools">
      <Search folder={folder} />
      <button
        type="button"
        aria-label={t("drive.newFolder")}
        onClick={() => setOpen({ what: "new-folder" })}
      >
        <Icon name="newFolder" />
        <span class="long">{t("drive.newFolder")}</span>
      </button>
      <UploadButton folder={folder.path} done={changed} />
    </div>
  );
}

/** Milliseconds without a key before a search is sent. */
const TYPING = 250;

function Search({ folder }: { folder: Folder }) {
  const [text, setText] = useState(folder.search.value);
  useEffect(() => setText(folder.search.value), [folder]);
  useEffect(() => {
    if (text === folder.search.value) return;
    const timer = setTimeout(() => folder.find(text), TYPING);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <search class="search">
      <Icon name="search" />
      <input
        type="search"
        value={text}
        maxLength={80}
        placeholder={t("drive.search")}
        aria-label={t("drive.search")}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </search>
  );
}

/** Says that something can be gone on with, where people look first. */
function Interrupted() {
  const count = unfinished.value.length;
  if (count === 0) return null;
  return (
    <p class="banner">
      <Icon name="clock" />
      {tn("unfinished.banner", count)}
      <a href="/uploads">{t("unfinished.show")}</a>
    </p>
  );
}

interface SelectionProps {
  folder: Folder;
  setOpen(open: Open): void;
  remove(entries: Entry[]): void;
}

/** Takes the place of the tools, so that nothing below moves. */
function Selection({ folder, setOpen, remove }: SelectionProps) {
  const chosen = folder.chosen();
  return (
    <div class="selection" role="toolbar" aria-label={tn("drive.selected", chosen.length)}>
      <button
        type="button"
        class="quiet square"
        aria-label={t("drive.clear")}
        onClick={() => folder.select([])}
      >
        <Icon name="close" />
      </button>
      <span aria-live="polite">{tn("drive.selected", chosen.length)}</span>
      <Tool icon="download" text={t("drive.download")} run={() => save(chosen)} />
      <Tool
        icon="move"
        text={t("drive.move")}
        run={() => setOpen({ what: "move", entries: chosen })}
      />
      <Tool icon="trash" text={t("drive.delete")} danger run={() => remove(chosen)} />
    </div>
  );
}

/** A button whose text gives way to its icon where there is no room. */
function Tool(props: { icon: IconName; text: string; danger?: boolean; run(): void }) {
  return (
    <button
      type="button"
      class={props.danger ? "quiet danger-text" : "quiet"}
      aria-label={props.text}
      onClick={props.run}
    >
      <Icon name={props.icon} />
      <span class="long">{props.text}</span>
    </button>
  );
}
