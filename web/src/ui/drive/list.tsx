import { useLayoutEffect, useRef } from "preact/hooks";
import type { Entry, SortKey } from "../../api/types";
import { bytes, date, fullDate, plain } from "../../app/format";
import { driveUrl, onLink } from "../../app/router";
import { type Key, t } from "../../i18n";
import { nameOf, parentOf } from "../../paths";
import { Icon, iconFor } from "../parts/icons";
import { Menu, type MenuEntry } from "../parts/menu";
import { Name } from "../parts/name";
import { useMedia, VirtualRows } from "../parts/virtual";
import { folderName } from "./actions";
import type { Folder } from "./folder";

const ROW = 44;
/** Taller where fingers are. */
const TOUCH_ROW = 60;

export interface Actions {
  open(entry: Entry): void;
  rename(entry: Entry): void;
  remove(entries: Entry[]): void;
  menu(entry: Entry): MenuEntry[];
  moveInto(paths: string[], folder: string): void;
}

interface Props {
  folder: Folder;
  actions: Actions;
}

export const DRAGGED = "application/x-cloudstore-paths";

/** The entries as a grid. Arrows move, Space selects, Enter opens, F2 renames, Delete deletes. */
export function List({ folder, actions }: Props) {
  const narrow = useMedia("(max-width: 720px)");
  const entries = folder.entries.value;
  const focused = folder.focused.value;
  const selecting = folder.selected.value.size > 0;
  const found = folder.search.value !== "";
  return (
    <div
      class={`list ${selecting ? "selecting" : ""} ${found ? "found" : ""}`}
      role="grid"
      aria-label={t(found ? "search.list" : "drive.list", { folder: folderName(folder.path) })}
      aria-rowcount={folder.hasMore ? -1 : entries.length + 1}
      aria-multiselectable="true"
      tabIndex={-1}
      onKeyDown={(event) => onKey(event, folder, actions)}
    >
      <Head folder={folder} />
      <VirtualRows
        count={entries.length}
        rowHeight={narrow ? TOUCH_ROW : ROW}
        sight={focused}
        onEnd={() => void folder.more()}
        wrap={(rows) => <div role="rowgroup">{rows}</div>}
      >
        {(index) => {
          const entry = entries[index];
          return (
            entry && (
              <Row key={entry.id} index={index} entry={entry} folder={folder} actions={actions} />
            )
          );
        }}
      </VirtualRows>
    </div>
  );
}

/** Rows that one press of a page key passes. */
const PAGE_OF_ROWS = 10;

function onKey(event: KeyboardEvent, folder: Folder, actions: Actions): void {
  const target = event.target as HTMLElement;
  if (target.getAttribute("role") !== "row" || event.altKey) return;
  const entries = folder.entries.value;
  const focused = folder.focused.value;
  const entry = entries[focused];
  const moves: Record<string, number> = {
    ArrowDown: focused + 1,
    ArrowUp: focused - 1,
    Home: 0,
    End: entries.length - 1,
    PageDown: focused + PAGE_OF_ROWS,
    PageUp: focused - PAGE_OF_ROWS,
  };
  const to = moves[event.key];
  const command = event.ctrlKey || event.metaKey;
  if (to !== undefined) folder.walkTo(to, event.shiftKey);
  else if (event.key === "a" && command) folder.select(entries.map((one) => one.path));
  else if (event.key === "Escape") folder.select([]);
  else if (!entry || command) return;
  else if (event.key === " ") folder.toggle(entry.path);
  else if (event.key === "Enter") actions.open(entry);
  else if (event.key === "F2") actions.rename(entry);
  else if (event.key === "Delete") {
    const chosen = folder.chosen();
    actions.remove(chosen.length > 0 ? chosen : [entry]);
  } else return;
  event.preventDefault();
}

function Head({ folder }: { folder: Folder }) {
  const entries = folder.entries.value;
  const all = entries.length > 0 && folder.selected.value.size === entries.length;
  return (
    <div role="row" class="row head" aria-rowindex={1}>
      <Check
        label={t("drive.selectAll")}
        checked={all}
        onToggle={() => folder.select(all ? [] : entries.map((entry) => entry.path))}
        head
      />
      {folder.search.value === "" ? (
        <>
          <Column folder={folder} sort="name" text="drive.name" />
          <Column folder={folder} sort="size" text="drive.size" />
          <Column folder={folder} sort="modified" text="drive.modified" />
        </>
      ) : (
        <FoundColumns />
      )}
      <div role="columnheader" class="cell actions">
        <span class="unseen">{t("drive.actionsColumn")}</span>
      </div>
    </div>
  );
}

/** What is found comes in order of path, and cannot be sorted: it may not be all. */
function FoundColumns() {
  return (
    <>
      {(["name", "size", "place"] as const).map((column) => (
        <div role="columnheader" class={`cell plain ${column}`} key={column}>
          {t(`drive.${column}`)}
        </div>
      ))}
    </>
  );
}

function Column({ folder, sort, text }: { folder: Folder; sort: SortKey; text: Key }) {
  const { key, descending } = folder.order.value;
  const sorted = key === sort ? (descending ? "descending" : "ascending") : "none";
  return (
    <div role="columnheader" class={`cell ${sort}`} aria-sort={sorted}>
      <button
        type="button"
        class={`sort ${sorted}`}
        aria-label={t("drive.sortBy", { column: t(text) })}
        onClick={() => folder.sortBy(sort)}
      >
        {t(text)}
        <Icon name="down" />
      </button>
    </div>
  );
}

interface RowProps extends Props {
  index: number;
  entry: Entry;
}

function Row({ index, entry, folder, actions }: RowProps) {
  const selected = folder.selected.value.has(entry.path);
  const name = nameOf(entry.path);
  const file = entry.kind === "file" ? entry : undefined;
  const here = folder.focused.value === index;
  const row = useRef<HTMLDivElement>(null);
  // It may not have been drawn when the keyboard got here.
  useLayoutEffect(() => {
    if (here && folder.takeFocus()) row.current?.focus();
  }, [here]);
  const onClick = (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey) folder.toggle(entry.path);
    else if (event.shiftKey) folder.selectTo(index);
    else actions.open(entry);
    folder.focusOn(index);
  };
  const onDragStart = (event: DragEvent) => {
    const paths = selected ? [...folder.selected.value] : [entry.path];
    event.dataTransfer?.setData(DRAGGED, JSON.stringify(paths));
  };
  const into = file ? {} : dropInto((paths) => actions.moveInto(paths, entry.path));
  return (
    <div
      ref={row}
      role="row"
      class={selected ? "row selected" : "row"}
      aria-rowindex={index + 2}
      aria-selected={selected}
      tabIndex={here ? 0 : -1}
      draggable
      onClick={onClick}
      onFocus={() => folder.focusOn(index)}
      onKeyDown={() => {}}
      onDragStart={onDragStart}
      {...into}
    >
      <Check
        label={t("drive.select", { name: plain(name) })}
        checked={selected}
        onToggle={() => folder.toggle(entry.path)}
      />
      <div role="gridcell" class="cell name">
        <Icon name={file ? iconFor(file.media_type) : "folder"} class={file ? "" : "folder"} />
        {file ? (
          <Name name={name} />
        ) : (
          <a href={driveUrl(entry.path)} tabIndex={-1} onClick={followOnly}>
            <Name name={name} />
          </a>
        )}
      </div>
      <div role="gridcell" class="cell size">
        {file ? bytes(file.size) : ""}
      </div>
      {folder.search.value === "" ? (
        <div role="gridcell" class="cell modified">
          <time dateTime={entry.modified_at} title={fullDate(entry.modified_at)}>
            {date(entry.modified_at)}
          </time>
        </div>
      ) : (
        <Place path={entry.path} reachable={here} />
      )}
      <div role="gridcell" class="cell actions">
        <Menu
          label={t("drive.actions", { name: plain(name) })}
          class="quiet square"
          entries={actions.menu(entry)}
          tabIndex={here ? 0 : -1}
        >
          <Icon name="more" />
        </Menu>
      </div>
    </div>
  );
}

/** A link in a row is no click on the row. Without its way up to the page it has to be followed here. */
function followOnly(event: MouseEvent): void {
  event.stopPropagation();
  onLink(event);
}

/** The folder of something that was found, to go there. */
function Place({ path, reachable }: { path: string; reachable: boolean }) {
  const folder = parentOf(path);
  return (
    <div role="gridcell" class="cell place">
      <a href={driveUrl(folder)} tabIndex={reachable ? 0 : -1} onClick={followOnly}>
        {folder === "/" ? t("drive.home") : <Name name={folder} />}
      </a>
    </div>
  );
}

function Check(props: { label: string; checked: boolean; onToggle(): void; head?: boolean }) {
  return (
    <div role={props.head ? "columnheader" : "gridcell"} class="cell check">
      <input
        type="checkbox"
        aria-label={props.label}
        checked={props.checked}
        tabIndex={props.head ? 0 : -1}
        onClick={(event) => event.stopPropagation()}
        onChange={props.onToggle}
      />
    </div>
  );
}

/** Handlers of something that entries can be dropped into. */
export function dropInto(moved: (paths: string[]) => void) {
  const mine = (event: DragEvent) => event.dataTransfer?.types.includes(DRAGGED) ?? false;
  const target = (event: DragEvent) => event.currentTarget as HTMLElement;
  return {
    onDragOver: (event: DragEvent) => {
      if (!mine(event)) return;
      event.preventDefault();
      target(event).classList.add("drop-target");
    },
    onDragLeave: (event: DragEvent) => target(event).classList.remove("drop-target"),
    onDrop: (event: DragEvent) => {
      target(event).classList.remove("drop-target");
      if (!mine(event)) return;
      event.preventDefault();
      moved(JSON.parse(event.dataTransfer?.getData(DRAGGED) || "[]") as string[]);
    },
  };
}
