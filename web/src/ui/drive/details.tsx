import type { ComponentChildren } from "preact";
import type { Entry } from "../../api/types";
import { bytes, fullDate } from "../../app/format";
import { t, tn } from "../../i18n";
import { nameOf, parentOf } from "../../paths";
import { Dialog } from "../parts/dialog";
import { Icon, iconFor } from "../parts/icons";
import { Name } from "../parts/name";
import { tell } from "../parts/toast";

/** Everything the server says of an entry. */
export function Details(props: { entry: Entry; onClose(): void; onShare(): void }) {
  const { entry, onClose, onShare } = props;
  const file = entry.kind === "file" ? entry : undefined;
  const buttons = (
    <button type="button" onClick={onShare}>
      <Icon name="link" />
      {t("drive.share")}
    </button>
  );
  return (
    <Dialog title={t("details.title")} onClose={onClose} size="medium" actions={buttons}>
      <div class="details-head">
        <Icon name={file ? iconFor(file.media_type) : "folder"} class={file ? "" : "folder"} />
        <Name name={nameOf(entry.path)} />
      </div>
      <dl class="facts">
        <Fact name={t("details.path")}>
          <Name name={parentOf(entry.path)} />
        </Fact>
        {file && (
          <>
            <Fact name={t("details.size")}>
              {bytes(file.size)}
              {file.size >= 1024 && <span class="muted"> · {tn("details.bytes", file.size)}</span>}
            </Fact>
            <Fact name={t("details.type")}>{file.media_type}</Fact>
          </>
        )}
        <Fact name={t("details.modified")}>{fullDate(entry.modified_at)}</Fact>
        <Fact name={t("details.created")}>{fullDate(entry.created_at)}</Fact>
        {file && (
          <>
            <Fact name={t("details.state")}>
              {t(file.state === "stored" ? "details.stored" : "details.staged")}
            </Fact>
            <Digest name="BLAKE3" value={file.blake3} />
            <Digest name="SHA-256" value={file.sha256} />
            <Digest name="SHA-1" value={file.sha1} />
          </>
        )}
      </dl>
    </Dialog>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Digest({ name, value }: { name: string; value: string | undefined }) {
  if (!value) {
    return (
      <Fact name={name}>
        <span class="muted">{t("details.later")}</span>
      </Fact>
    );
  }
  return (
    <Fact name={name}>
      <span class="digest">
        <code>{value}</code>
        <button type="button" class="quiet small" onClick={() => void copy(value)}>
          {t("app.copy")}
          <span class="unseen"> {name}</span>
        </button>
      </span>
    </Fact>
  );
}

export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    tell(t("app.copied"));
  } catch {
    // Browsers have no clipboard on plain HTTP: the text can be selected.
  }
}
