import { useEffect, useState } from "preact/hooks";
import type { FileEntry } from "../../api/types";
import { canStream, MEMORY_LIMIT, streamUrl } from "../../app/download";
import { api } from "../../app/services";
import { t } from "../../i18n";
import { nameOf } from "../../paths";
import { Dialog } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";

/** Text beyond this is not shown: nobody reads on, and the page would become slow. */
const TEXT_BYTES = 256 * 1024;

export type Kind = "image" | "audio" | "video" | "text";

/**
 * What can be shown without running anything: pictures of points, sound, film, and text as text.
 * Nothing is ever loaded as a document. SVG and HTML are text here.
 */
export function kindOf({ media_type: type }: FileEntry): Kind | undefined {
  const [kind = "", rest = ""] = type.toLowerCase().split(";")[0]?.trim().split("/") ?? [];
  if (kind === "image" && !rest.includes("svg") && !rest.includes("xml")) return "image";
  if (kind === "audio" || kind === "video") return kind;
  const textual = /json|xml|javascript|x-sh|yaml|toml|sql|svg/.test(rest);
  return kind === "text" || textual ? "text" : undefined;
}

interface Props {
  file: FileEntry;
  onClose(): void;
  onDownload(): void;
}

export function Preview({ file, onClose, onDownload }: Props) {
  const kind = kindOf(file);
  const buttons = (
    <button type="button" class="primary" onClick={onDownload}>
      <Icon name="download" />
      {t("drive.download")}
    </button>
  );
  const name = <Name name={nameOf(file.path)} />;
  return (
    <Dialog title={name} onClose={onClose} actions={buttons} size={kind ? "large" : "small"}>
      {kind === "text" ? (
        <Text file={file} />
      ) : kind ? (
        <Media file={file} kind={kind} />
      ) : (
        <p class="muted">{t("preview.none")}</p>
      )}
    </Dialog>
  );
}

function Media({ file, kind }: { file: FileEntry; kind: Exclude<Kind, "text"> }) {
  const [failed, setFailed] = useState(false);
  const url = useMedia(file, () => setFailed(true));
  if (failed) return <p class="muted">{t("preview.failed")}</p>;
  if (!url) return <p class="muted">{t("app.loading")}</p>;
  const name = nameOf(file.path);
  const onError = () => setFailed(true);
  if (kind === "image") return <img class="preview" src={url} alt={name} onError={onError} />;
  if (kind === "audio") {
    // biome-ignore lint/a11y/useMediaCaption: it is the user's own file
    return <audio class="preview" src={url} controls aria-label={name} onError={onError} />;
  }
  // biome-ignore lint/a11y/useMediaCaption: it is the user's own file
  return <video class="preview" src={url} controls aria-label={name} onError={onError} />;
}

/** An address for media elements: streamed by ranges, or from memory. */
function useMedia(file: FileEntry, failed: () => void): string | undefined {
  const [url, setUrl] = useState(() => (canStream() ? streamUrl(file.path, true) : undefined));
  useEffect(() => {
    if (canStream()) return;
    if (file.size > MEMORY_LIMIT) return failed();
    let made: string | undefined;
    api.blob(file.path).then((blob) => {
      made = URL.createObjectURL(blob);
      setUrl(made);
    }, failed);
    return () => made && URL.revokeObjectURL(made);
  }, [file.path]);
  return url;
}

function Text({ file }: { file: FileEntry }) {
  const [text, setText] = useState<string>();
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    if (file.size === 0) return setText("");
    const request = new AbortController();
    api.head(file.path, TEXT_BYTES, request.signal).then(
      (bytes) => setText(new TextDecoder().decode(bytes)),
      () => request.signal.aborted || setFailed(true),
    );
    return () => request.abort();
  }, [file.path]);
  if (failed) return <p class="muted">{t("preview.failed")}</p>;
  if (text === undefined) return <p class="muted">{t("app.loading")}</p>;
  if (text === "") return <p class="muted">{t("preview.empty")}</p>;
  return (
    <>
      {file.size > TEXT_BYTES && <p class="muted">{t("preview.long")}</p>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard must be able to scroll it */}
      <pre class="preview" dir="auto" tabIndex={0}>
        {text}
      </pre>
    </>
  );
}
