import type { OnConflict } from "../../api/types";
import { plain } from "../../app/format";
import { t, tn } from "../../i18n";
import { nameOf } from "../../paths";
import { Dialog } from "../parts/dialog";
import { folderName } from "./actions";

interface Props {
  /** What could not be copied. */
  paths: string[];
  folder: string;
  decide(onConflict: OnConflict): void;
  onClose(): void;
}

/** Copies whose names are taken: somebody has to decide. */
export function Taken({ paths, folder, decide, onClose }: Props) {
  const buttons = (
    <>
      <button type="button" onClick={onClose}>
        {t("conflict.skip")}
      </button>
      <button type="button" class="danger-text" onClick={() => decide("replace")}>
        {t("conflict.replace")}
      </button>
      <button type="button" class="primary" onClick={() => decide("rename")}>
        {t("conflict.rename")}
      </button>
    </>
  );
  const title = tn("copy.taken", paths.length, { name: plain(nameOf(paths[0] ?? "")) });
  return (
    <Dialog title={title} onClose={onClose} actions={buttons}>
      <p>{t("copy.takenText", { folder: folderName(folder) })}</p>
    </Dialog>
  );
}
