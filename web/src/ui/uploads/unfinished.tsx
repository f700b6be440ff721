import { useEffect, useRef, useState } from "preact/hooks";
import type { Upload } from "../../api/types";
import { bytes, day, plain } from "../../app/format";
import { api, begun, engine, refreshUnfinished, unfinished } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";
import { nameOf, parentOf } from "../../paths";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { Progress } from "../parts/progress";
import { tell, tellError } from "../parts/toast";

/** Uploads that were interrupted, here or on other devices. */
export function Unfinished() {
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    document.title = `${t("nav.uploads")} · ${t("app.title")}`;
    refreshUnfinished().catch(setError);
  }, []);
  const uploads = unfinished.value;
  return (
    <div class="page">
      <h1>{t("nav.uploads")}</h1>
      <p class="muted">{t("unfinished.intro")}</p>
      {error !== undefined && (
        <p class="alert" role="alert">
          {wordsFor(error)}
        </p>
      )}
      {uploads.length === 0 && error === undefined && (
        <div class="blank">
          <Icon name="clock" />
          <h2>{t("unfinished.none")}</h2>
          <p class="muted">{t("unfinished.noneHint")}</p>
        </div>
      )}
      <ul class="cards">
        {uploads.map((upload) => (
          <Row key={upload.id} upload={upload} />
        ))}
      </ul>
    </div>
  );
}

function Row({ upload }: { upload: Upload }) {
  const input = useRef<HTMLInputElement>(null);
  const name = nameOf(upload.path);
  const label = plain(name);
  const usable = !upload.length_unknown && !upload.unreachable;
  const [handle, setHandle] = useState<FileSystemFileHandle>();
  useEffect(() => {
    void begun.get(upload.id).then((known) => setHandle(known?.handle));
  }, [upload.id]);
  const goOn = (file: File | undefined) => {
    if (!file) return;
    if (file.size !== upload.size) {
      const [expected, found] = [bytes(upload.size), bytes(file.size)];
      tell(t("unfinished.otherFile", { expected, found }), true);
      return;
    }
    engine.add([{ file, path: upload.path, handle }]);
    unfinished.value = unfinished.value.filter((other) => other.id !== upload.id);
  };
  const choose = async () => {
    const file = handle && (await reopen(handle));
    if (file) goOn(file);
    // It was moved, or may not be read: the user knows where it is.
    else input.current?.click();
  };
  const discard = async () => {
    try {
      await api.cancelUpload(upload.id);
      tell(t("unfinished.discarded"));
      await refreshUnfinished();
    } catch (error) {
      tellError(error);
    }
  };
  return (
    <li class="card upload-card">
      <Icon name="file" />
      <div class="upload-text">
        <Name name={name} />
        <p class="muted">
          <Name name={parentOf(upload.path)} /> · {state(upload)} ·{" "}
          {t("unfinished.expires", { date: day(upload.expires_at) })}
        </p>
        {usable && <Progress value={upload.received} max={upload.size} label={label} />}
      </div>
      <div class="row-of-buttons">
        {usable && (
          <button
            type="button"
            class="primary"
            aria-label={t(handle ? "unfinished.continueFor" : "unfinished.chooseFor", {
              name: label,
            })}
            onClick={() => void choose()}
          >
            {t(handle ? "unfinished.continue" : "unfinished.choose")}
          </button>
        )}
        <button
          type="button"
          aria-label={t("unfinished.discardFor", { name: label })}
          onClick={() => void discard()}
        >
          {t("unfinished.discard")}
        </button>
        <input
          ref={input}
          type="file"
          hidden
          onChange={() => goOn(input.current?.files?.[0])}
          data-pick="resume"
        />
      </div>
    </li>
  );
}

/** Not in every browser's types yet. */
type Askable = FileSystemFileHandle & {
  requestPermission?: (wanted: { mode: "read" }) => Promise<PermissionState>;
};

/** The file that was dropped on an earlier visit, if it is still there and the user agrees. */
async function reopen(handle: Askable): Promise<File | undefined> {
  try {
    const allowed = await handle.requestPermission?.({ mode: "read" });
    return allowed === "denied" ? undefined : await handle.getFile();
  } catch {
    return undefined;
  }
}

function state(upload: Upload): string {
  if (upload.length_unknown) return t("unfinished.unknown");
  if (upload.unreachable) return t("unfinished.unreachable");
  const [received, total] = [bytes(upload.received), bytes(upload.size)];
  return t("unfinished.progress", { received, total });
}
