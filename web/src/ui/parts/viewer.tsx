import { useEffect, useState } from "preact/hooks";
import { MEMORY_LIMIT } from "../../app/download";
import { t } from "../../i18n";

/** Text beyond this is not shown: nobody reads on, and the page would become slow. */
const TEXT_BYTES = 256 * 1024;

export type Kind = "image" | "audio" | "video" | "text";

/**
 * What can be shown without running anything: pictures of points, sound, film, and text as text.
 * Nothing is ever loaded as a document. SVG and HTML are text here.
 */
export function kindOf(mediaType: string): Kind | undefined {
  const [kind = "", rest = ""] = mediaType.toLowerCase().split(";")[0]?.trim().split("/") ?? [];
  if (kind === "image" && !rest.includes("svg") && !rest.includes("xml")) return "image";
  if (kind === "audio" || kind === "video") return kind;
  const textual = /json|xml|javascript|x-sh|yaml|toml|sql|svg/.test(rest);
  return kind === "text" || textual ? "text" : undefined;
}

/** A file to look at, and ways to its content. */
export interface Viewed {
  path: string;
  name: string;
  size: number;
  mediaType: string;
  /** An address for elements, which send no fields of ours; without one it goes through memory. */
  url: string | undefined;
  blob(): Promise<Blob>;
  /** The first bytes. */
  head(bytes: number, signal: AbortSignal): Promise<Uint8Array>;
}

export function Viewer({ file }: { file: Viewed }) {
  const kind = kindOf(file.mediaType);
  if (kind === undefined) return <p class="muted">{t("preview.none")}</p>;
  return kind === "text" ? <Text file={file} /> : <Media file={file} kind={kind} />;
}

function Media({ file, kind }: { file: Viewed; kind: Exclude<Kind, "text"> }) {
  const [failed, setFailed] = useState(false);
  const url = useMedia(file, () => setFailed(true));
  if (failed) return <p class="muted">{t("preview.failed")}</p>;
  if (!url) return <p class="muted">{t("app.loading")}</p>;
  const { name } = file;
  const onError = () => setFailed(true);
  if (kind === "image") return <img class="preview" src={url} alt={name} onError={onError} />;
  if (kind === "audio") {
    // biome-ignore lint/a11y/useMediaCaption: it is a file of the user
    return <audio class="preview" src={url} controls aria-label={name} onError={onError} />;
  }
  // biome-ignore lint/a11y/useMediaCaption: it is a file of the user
  return <video class="preview" src={url} controls aria-label={name} onError={onError} />;
}

/** An address for media elements: streamed by ranges, or from memory. */
function useMedia(file: Viewed, failed: () => void): string | undefined {
  const [url, setUrl] = useState(file.url);
  useEffect(() => {
    if (file.url) return setUrl(file.url);
    if (file.size > MEMORY_LIMIT) return failed();
    let made: string | undefined;
    file.blob().then((blob) => {
      made = URL.createObjectURL(blob);
      setUrl(made);
    }, failed);
    return () => made && URL.revokeObjectURL(made);
  }, [file.path]);
  return url;
}

function Text({ file }: { file: Viewed }) {
  const [text, setText] = useState<string>();
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    if (file.size === 0) return setText("");
    const request = new AbortController();
    file.head(TEXT_BYTES, request.signal).then(
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
