import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "../../api/error";
import type { Restore, Trashed } from "../../api/types";
import { bytes, date, day, fullDate, plain } from "../../app/format";
import { driveUrl, go } from "../../app/router";
import { api, refreshAccount } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";
import { join, nameOf, parentOf } from "../../paths";
import { folderName } from "../drive/actions";
import { Confirm, Dialog } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { tell, tellError } from "../parts/toast";
import { useTrash } from "./list";

type Open = { what: "empty" } | { what: "delete" | "taken" | "blocked"; entry: Trashed };

/** Why something cannot go back to where it was, by the server's answer. */
const OBSTACLES = { "name-conflict": "taken", "not-a-folder": "blocked" } as const;

/** What was deleted: it can be restored, or deleted for good. */
export function Trash() {
  const trash = useTrash();
  const [open, setOpen] = useState<Open>();
  /** What is being restored. */
  const [asked, setAsked] = useState<ReadonlySet<string>>(new Set());
  const rows = useRef<HTMLUListElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${t("nav.trash")} · ${t("app.title")}`;
  }, []);

  /** It is not in the trash any more; the keyboard goes on at the next one. */
  const left = (entry: Trashed) => {
    const at = trash.entries?.indexOf(entry) ?? 0;
    trash.drop(entry);
    void refreshAccount();
    setTimeout(() => {
      const others = [...(rows.current?.querySelectorAll<HTMLElement>("[data-restore]") ?? [])];
      (others[Math.min(at, others.length - 1)] ?? title.current)?.focus();
    });
  };
  const failed = (entry: Trashed, error: unknown) => {
    if (error instanceof ApiError && error.slug === "not-found") left(entry);
    tellError(error);
  };
  const restore = async (entry: Trashed, how: Restore = {}) => {
    setOpen(undefined);
    if (asked.has(entry.id)) return;
    setAsked((ids) => new Set(ids).add(entry.id));
    try {
      const { path } = await api.restore(entry.id, how);
      const folder = parentOf(path);
      const [name, to] = [plain(nameOf(path)), folderName(folder)];
      const show = { text: t("trash.show"), run: () => go(driveUrl(folder)) };
      tell(t("trash.restored", { name, folder: to }), false, show);
      left(entry);
    } catch (error) {
      const slug = error instanceof ApiError ? error.slug : "";
      const what = OBSTACLES[slug as keyof typeof OBSTACLES];
      if (what) setOpen({ what, entry });
      else failed(entry, error);
    } finally {
      setAsked((ids) => new Set([...ids].filter((id) => id !== entry.id)));
    }
  };
  const remove = async (entry: Trashed) => {
    setOpen(undefined);
    try {
      await api.removeTrashed(entry.id);
      tell(t("trash.removed", { name: plain(entry.name) }));
      left(entry);
    } catch (error) {
      failed(entry, error);
    }
  };
  const empty = async () => {
    setOpen(undefined);
    try {
      await api.emptyTrash();
      tell(t("trash.emptied"));
      void refreshAccount();
    } catch (error) {
      tellError(error);
    }
    await trash.load();
    title.current?.focus();
  };
  const close = () => setOpen(undefined);
  const some = trash.entries !== undefined && trash.entries.length > 0;
  return (
    <div class="page">
      <div class="page-head">
        <h1 ref={title} tabIndex={-1}>
          {t("nav.trash")}
        </h1>
        {some && (
          <button type="button" class="danger-text" onClick={() => setOpen({ what: "empty" })}>
            {t("trash.empty")}
          </button>
        )}
      </div>
      <p class="muted">{t("trash.intro")}</p>
      {trash.error !== undefined && (
        <p class="alert" role="alert">
          {wordsFor(trash.error)}
          <button type="button" class="small" onClick={() => void trash.load()}>
            {t("app.retry")}
          </button>
        </p>
      )}
      {trash.entries?.length === 0 && !trash.hasMore && <Empty />}
      <ul class="cards" ref={rows} aria-label={t("nav.trash")}>
        {trash.entries?.map((entry) => (
          <Row
            key={entry.id}
            entry={entry}
            asked={asked.has(entry.id)}
            restore={() => void restore(entry)}
            remove={() => setOpen({ what: "delete", entry })}
          />
        ))}
      </ul>
      {trash.hasMore && (
        <button type="button" disabled={trash.loading} onClick={() => void trash.more()}>
          {t("trash.more")}
        </button>
      )}
      {open?.what === "empty" && (
        <Confirm
          title={t("trash.emptyTitle")}
          text={t("trash.emptyText")}
          action={t("trash.empty")}
          onConfirm={() => void empty()}
          onClose={close}
        />
      )}
      {open?.what === "delete" && (
        <Confirm
          title={t("trash.removeTitle", { name: plain(open.entry.name) })}
          text={t(open.entry.kind === "folder" ? "trash.removeFolder" : "trash.removeText")}
          action={t("trash.remove")}
          onConfirm={() => void remove(open.entry)}
          onClose={close}
        />
      )}
      {(open?.what === "taken" || open?.what === "blocked") && (
        <Obstacle
          entry={open.entry}
          taken={open.what === "taken"}
          restore={(how) => void restore(open.entry, how)}
          onClose={close}
        />
      )}
    </div>
  );
}

function Empty() {
  return (
    <div class="blank">
      <Icon name="trash" />
      <h2>{t("trash.none")}</h2>
      <p class="muted">{t("trash.noneHint")}</p>
    </div>
  );
}

function Row(props: { entry: Trashed; asked: boolean; restore(): void; remove(): void }) {
  const { entry } = props;
  const name = plain(entry.name);
  const folder = entry.kind === "folder";
  const place = parentOf(entry.path);
  return (
    <li class="card upload-card">
      <Icon name={folder ? "folder" : "file"} class={folder ? "folder" : ""} />
      <div class="upload-text">
        <Name name={entry.name} />
        <p class="muted">
          {place === "/" ? t("drive.home") : <Name name={place} />}
          {!folder && ` · ${bytes(entry.size)}`}
        </p>
        <p class="muted wrap" title={fullDate(entry.deleted_at)}>
          {t("trash.deleted", { date: date(entry.deleted_at) })} ·{" "}
          {t("trash.expires", { date: day(entry.expires_at) })}
        </p>
      </div>
      <div class="row-of-buttons">
        <button
          type="button"
          data-restore
          // It keeps the focus, which a button that is disabled loses.
          aria-disabled={props.asked}
          aria-label={t("trash.restoreName", { name })}
          onClick={props.restore}
        >
          {t("trash.restore")}
        </button>
        <button
          type="button"
          class="quiet square danger-text"
          aria-label={t("trash.removeName", { name })}
          title={t("trash.remove")}
          onClick={props.remove}
        >
          <Icon name="trash" />
        </button>
      </div>
    </li>
  );
}

interface ObstacleProps {
  entry: Trashed;
  /** By another entry of its name; else there is a file where its folder was. */
  taken: boolean;
  restore(how: Restore): void;
  onClose(): void;
}

/** Nothing is replaced by a restoration: another name or another place is offered. */
function Obstacle({ entry, taken, restore, onClose }: ObstacleProps) {
  const how: Restore = taken
    ? { on_conflict: "rename" }
    : { path: join("/", entry.name), on_conflict: "rename" };
  const values = { name: plain(entry.name), folder: folderName(parentOf(entry.path)) };
  const buttons = (
    <>
      <button type="button" onClick={onClose}>
        {t("app.cancel")}
      </button>
      <button type="button" class="primary" onClick={() => restore(how)}>
        {t(taken ? "trash.keepBoth" : "trash.toHome")}
      </button>
    </>
  );
  return (
    <Dialog title={t("trash.obstacle", values)} onClose={onClose} actions={buttons}>
      <p>{t(taken ? "trash.taken" : "trash.blocked", values)}</p>
    </Dialog>
  );
}
