import { useEffect, useRef, useState } from "preact/hooks";
import type { SharedEntry } from "../../api/types";
import { bytes, date, fullDate, plain } from "../../app/format";
import { t } from "../../i18n";
import { encodePath, join, segments } from "../../paths";
import { Dialog } from "../parts/dialog";
import { Icon, iconFor } from "../parts/icons";
import { Name } from "../parts/name";
import { kindOf } from "../parts/viewer";
import { VirtualRows } from "../parts/virtual";
import { SharedPreview } from "./file";
import { save, saveAll } from "./save";
import type { Look } from "./state";

const ROW = 56;

interface Props {
  look: Look;
  folder: SharedEntry;
  /** Name of what is shared, if it is known. */
  top: string;
}

/** A folder that is shared, or one below it. */
export function SharedFolder({ look, folder, top }: Props) {
  const [opened, setOpened] = useState<SharedEntry>();
  const entries = look.entries.value;
  return (
    <div class="link-folder">
      <Head look={look} folder={folder} top={top} />
      {entries.length === 0 ? (
        <div class="blank">
          <Icon name="folder" />
          <h2>{t("link.empty")}</h2>
        </div>
      ) : (
        <div class="list">
          <VirtualRows
            count={entries.length}
            rowHeight={ROW}
            onEnd={() => void look.more()}
            wrap={(rows) => (
              <ul aria-label={t("drive.list", { folder: plain(folder.name) })}>{rows}</ul>
            )}
          >
            {(index) => {
              const entry = entries[index];
              return (
                entry && (
                  <Row key={entry.path} look={look} entry={entry} open={() => setOpened(entry)} />
                )
              );
            }}
          </VirtualRows>
        </div>
      )}
      {opened && <Opened look={look} file={opened} onClose={() => setOpened(undefined)} />}
    </div>
  );
}

function Head({ look, folder, top }: Props) {
  const title = useRef<HTMLHeadingElement>(null);
  const [archive, setArchive] = useState(false);
  useEffect(() => void look.link.hasArchive().then(setArchive), [look.link]);
  // Who went here by the keyboard goes on from here.
  useEffect(() => {
    if (look.followed) title.current?.focus();
  }, [look]);
  return (
    <div class="link-title">
      <div>
        {folder.path !== "/" && <Crumbs path={folder.path} top={top} />}
        <h1 ref={title} tabIndex={-1}>
          <Name name={folder.name} />
        </h1>
      </div>
      {archive && (
        <button type="button" class="primary" onClick={() => void saveAll(look, folder)}>
          <Icon name="download" />
          {t("link.downloadAll")}
        </button>
      )}
    </div>
  );
}

/** The folders above this one, from the shared one on. */
function Crumbs({ path, top }: { path: string; top: string }) {
  const names = segments(path).slice(0, -1);
  const above = names.map((name, index) => ({
    name,
    href: `#${encodePath(names.slice(0, index + 1).reduce(join, "/"))}`,
  }));
  return (
    <nav class="crumbs" aria-label={t("drive.path")}>
      <ol>
        {[{ name: top, href: "#/" }, ...above].map(({ name, href }) => (
          <li key={href}>
            <a href={href}>{name === "" ? t("link.toTop") : <Name name={name} />}</a>
            <Icon name="chevron" />
          </li>
        ))}
      </ol>
    </nav>
  );
}

interface RowProps {
  look: Look;
  entry: SharedEntry;
  open(): void;
}

function Row({ look, entry, open }: RowProps) {
  const { kind, name, path, size = 0, modified_at: modified } = entry;
  const isFile = kind === "file";
  return (
    <li class="link-row">
      <Icon
        name={isFile ? iconFor(entry.media_type ?? "") : "folder"}
        class={isFile ? "" : "folder"}
      />
      <div class="upload-text">
        {isFile ? (
          <button type="button" class="link-name" onClick={open}>
            <Name name={name} />
          </button>
        ) : (
          <a class="link-name" href={`#${encodePath(path)}`}>
            <Name name={name} />
          </a>
        )}
        <p class="muted">
          {isFile && `${bytes(size)} · `}
          <time dateTime={modified} title={fullDate(modified)}>
            {date(modified)}
          </time>
        </p>
      </div>
      {isFile && (
        <button
          type="button"
          class="quiet square"
          aria-label={t("link.downloadName", { name: plain(name) })}
          onClick={() => void save(look, entry)}
        >
          <Icon name="download" />
        </button>
      )}
    </li>
  );
}

function Opened(props: { look: Look; file: SharedEntry; onClose(): void }) {
  const { look, file, onClose } = props;
  const buttons = (
    <button type="button" class="primary" onClick={() => void save(look, file)}>
      <Icon name="download" />
      {t("drive.download")}
    </button>
  );
  const known = kindOf(file.media_type ?? "") !== undefined;
  return (
    <Dialog
      title={<Name name={file.name} />}
      onClose={onClose}
      actions={buttons}
      size={known ? "large" : "small"}
    >
      <SharedPreview look={look} file={file} />
    </Dialog>
  );
}
