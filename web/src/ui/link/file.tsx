import { useState } from "preact/hooks";
import type { Link } from "../../api/link";
import type { SharedEntry } from "../../api/types";
import { bytes, date, fullDate } from "../../app/format";
import { t } from "../../i18n";
import { Icon, iconFor } from "../parts/icons";
import { Name } from "../parts/name";
import { kindOf, type Viewed, Viewer } from "../parts/viewer";
import { save } from "./save";
import type { Look } from "./state";

/** The shared file, or one that somebody went to below a shared folder. */
export function SharedFile({ look, file }: { look: Look; file: SharedEntry }) {
  return (
    <section class="card link-file" aria-labelledby="file-name">
      <div class="link-file-head">
        <Icon name={iconFor(file.media_type ?? "")} />
        <div class="upload-text">
          <h1 id="file-name">
            <Name name={file.name} />
          </h1>
          <p class="muted">
            {bytes(file.size ?? 0)} ·{" "}
            <time dateTime={file.modified_at} title={fullDate(file.modified_at)}>
              {date(file.modified_at)}
            </time>
          </p>
        </div>
        <button type="button" class="primary" onClick={() => void save(look, file)}>
          <Icon name="download" />
          {t("drive.download")}
        </button>
      </div>
      <SharedPreview look={look} file={file} />
    </section>
  );
}

/** Where downloads are counted, looking is one: then the visitor decides. */
export function SharedPreview({ look, file }: { look: Look; file: SharedEntry }) {
  const left = look.shown.value?.downloads_left;
  const [wanted, setWanted] = useState(left === undefined);
  if (wanted) return <Viewer file={viewedOf(look.link, file)} />;
  if (kindOf(file.media_type ?? "") === undefined || left === 0) {
    return <p class="muted">{t(left === 0 ? "problem.share-exhausted" : "preview.none")}</p>;
  }
  return (
    <div class="link-counted">
      <p class="muted">{t("link.previewCounts")}</p>
      <button type="button" onClick={() => setWanted(true)}>
        <Icon name="eye" />
        {t("drive.preview")}
      </button>
    </div>
  );
}

function viewedOf(link: Link, { path, name, size = 0, media_type = "" }: SharedEntry): Viewed {
  return {
    path,
    name,
    size,
    mediaType: media_type,
    url: link.contentUrl(path, true),
    blob: () => link.blob(path),
    head: (count, signal) => link.head(path, count, signal),
  };
}
