import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Entry, FileEntry, OnConflict } from "../../api/types";
import { plain } from "../../app/format";
import { driveUrl, go } from "../../app/router";
import { arrivals, clipboard, refreshAccount, unfinished } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t, tn } from "../../i18n";
import { isBelow, nameOf, parentOf } from "../../paths";
import { Icon, type IconName } from "../parts/icons";
import { lazy } from "../parts/lazy";
import type { MenuEntry } from "../parts/menu";
import { copyAll, moveAll, removeAll, save } from "./actions";
import { Crumbs } from "./crumbs";
import { Details } from "./details";
import { NewFolder, Rename } from "./dialogs";
import { Folder } from "./folder";
import { useKeys } from "./keys";
import { type Actions, List } from "./list";
import { Move } from "./move";
import { Preview } from "./preview";
import { Found, Search } from "./search";
import { Taken } from "./taken";
import { DropZone, UploadButton } from "./upload";

const ShareDialog = lazy(
  () => import("../shares/dialog").then(({ ShareDialog }) => ShareDialog),
  ({ onClose }) => onClose(),
);

type Open =
  | { what: "new-folder" }
  | { what: "rename" | "details" | "share"; entry: Entry }
  | { what: "preview"; entry: FileEntry }
  | { what: "move" | "copy"; entries: Entry[] }
  | { what: "taken"; paths: string[]; folder: string };

/** A folder, and everything that can be done in it. */
export function Drive({ path, query }: { path: string; query: string }) {
  const folder = useMemo(() => new Folder(path), [path]);
  const [open, setOpen] = useState<Open>();
  /** May a dialog be opened that nobody has asked for just now? */
  const isFree = useRef(true);
  useLayoutEffect(() => {
    isFree.current = open === undefined;
    return () => {
      isFree.current = false;
    };
  }, [open]);
  useEffect(() => {
    document.title = path === "/" ? t("app.title") : `${plain(nameOf(path))} · ${t("app.title")}`;
    return () => folder.close();
  }, [folder]);
  useEffect(() => folder.find(query), [folder, query]);
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
  const copy = (paths: string[], to: string, rule: OnConflict = "fail") => {
    const ask = (paths: string[]) => {
      if (!isFree.current) return false;
      setOpen({ what: "taken", paths, folder: to });
      return true;
    };
    void copyAll(paths, to, rule, ask).then(refreshAccount);
  };
  const paste = () => {
    const pasted = clipboard.value;
    if (pasted?.how === "copy") return copy(pasted.paths, path);
    clipboard.value = undefined;
    if (pasted) void moveAll(pasted.paths, path, changed);
  };
  useKeys({ folder, paste });
  const chosen = folder.selected.value.size > 0;
  return (
    <div class="drive">
      <DropZone folder={path} />
      <header class="top">
        <Crumbs path={path} moved={(paths, to) => void moveAll(paths, to, changed)} />
        {chosen ? (
          <Selection folder={folder} setOpen={setOpen} remove={actions.remove} />
        ) : (
          <Tools folder={folder} setOpen={setOpen} paste={paste} query={query} />
        )}
      </header>
      <Interrupted />
      {query !== "" && folder.error.value === undefined && <Found folder={folder} />}
      <Content folder={folder} actions={actions} />
      {open?.what === "new-folder" && <NewFolder folder={path} onClose={close} done={changed} />}
      {open?.what === "rename" && <Rename entry={open.entry} onClose={close} done={changed} />}
      {open?.what === "details" && (
        <Details
          entry={open.entry}
          onClose={close}
          onShare={() => setOpen({ what: "share", entry: open.entry })}
        />
      )}
      {open?.what === "share" && (
        <ShareDialog path={open.entry.path} kind={open.entry.kind} onClose={close} />
      )}
      {(open?.what === "move" || open?.what === "copy") && (
        <Move
          entries={open.entries}
          how={open.what}
          from={path}
          onClose={close}
          onChosen={(to) => {
            const paths = open.entries.map((entry) => entry.path);
            if (open.what === "copy") copy(paths, to);
            else void moveAll(paths, to, changed);
          }}
        />
      )}
      {open?.what === "taken" && (
        <Taken
          {...open}
          onClose={close}
          decide={(rule) => {
            close();
            copy(open.paths, open.folder, rule);
          }}
        />
      )}
      {open?.what === "preview" && (
        <Preview file={open.entry} onClose={close} onDownload={() => void save([open.entry])} />
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
  const show = (entry: Entry) => go(driveUrl(parentOf(entry.path)));
  const menu = (entry: Entry): MenuEntry[] => [
    entry.kind === "folder"
      ? { icon: "folder", text: t("drive.open"), onSelect: () => open(entry) }
      : { icon: "eye", text: t("drive.preview"), onSelect: () => open(entry) },
    ...(folder.search.value === ""
      ? []
      : [{ icon: "folder", text: t("search.show"), onSelect: () => show(entry) } as const]),
    { icon: "download", text: t("drive.download"), onSelect: () => void save([entry]) },
    { icon: "link", text: t("drive.share"), onSelect: () => setOpen({ what: "share", entry }) },
    { icon: "info", text: t("drive.details"), onSelect: () => setOpen({ what: "details", entry }) },
    { icon: "pencil", text: t("drive.rename"), onSelect: () => rename(entry) },
    {
      icon: "move",
      text: t("drive.move"),
      onSelect: () => setOpen({ what: "move", entries: [entry] }),
    },
    {
      icon: "copy",
      text: t("drive.copy"),
      onSelect: () => setOpen({ what: "copy", entries: [entry] }),
    },
    { icon: "trash", text: t("drive.delete"), danger: true, onSelect: () => remove([entry]) },
  ];
  const moveInto = (paths: string[], to: string) => {
    folder.select([]);
    void moveAll(paths, to, changed);
  };
  return { open, remove, rename, menu, moveInto };
}

function Content({ folder, actions }: { folder: Folder; actions: Actions }) {
  const search = folder.search.value;
  if (folder.error.value !== undefined) {
    return (
      <div class="blank">
        <Icon name="alert" />
        <h2>{t(search ? "search.failed" : "drive.loadFailed")}</h2>
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

interface ToolsProps {
  folder: Folder;
  setOpen(open: Open): void;
  paste(): void;
  query: string;
}

function Tools({ folder, setOpen, paste, query }: ToolsProps) {
  const pasted = clipboard.value?.paths.length ?? 0;
  return (
    <div class="tools">
      {/* What is being typed is looked for here, not in the folder that is opened meanwhile. */}
      <Search key={folder.path} path={folder.path} query={query} />
      {pasted > 0 && (
        <button type="button" aria-label={tn("drive.paste", pasted)} onClick={paste}>
          <Icon name="paste" />
          <span class="long">{tn("drive.paste", pasted)}</span>
        </button>
      )}
      <button
        type="button"
        aria-label={t("drive.newFolder")}
        onClick={() => setOpen({ what: "new-folder" })}
      >
        <Icon name="newFolder" />
        <span class="long">{t("drive.newFolder")}</span>
      </button>
      <UploadButton folder={folder.path} />
    </div>
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
  const [only, ...others] = chosen;
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
      <Tool icon="download" text={t("drive.download")} run={() => void save(chosen)} />
      {only && others.length === 0 && (
        <Tool
          icon="link"
          text={t("drive.share")}
          run={() => setOpen({ what: "share", entry: only })}
        />
      )}
      <Tool
        icon="move"
        text={t("drive.move")}
        run={() => setOpen({ what: "move", entries: chosen })}
      />
      <Tool
        icon="copy"
        text={t("drive.copy")}
        run={() => setOpen({ what: "copy", entries: chosen })}
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
