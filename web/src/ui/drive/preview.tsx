import type { FileEntry } from "../../api/types";
import { canStream, streamUrl } from "../../app/download";
import { api } from "../../app/services";
import { t } from "../../i18n";
import { nameOf } from "../../paths";
import { Dialog } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { kindOf, type Viewed, Viewer } from "../parts/viewer";

interface Props {
  file: FileEntry;
  onClose(): void;
  onDownload(): void;
}

export function Preview({ file, onClose, onDownload }: Props) {
  const { path, size, media_type: mediaType } = file;
  const viewed: Viewed = {
    path,
    name: nameOf(path),
    size,
    mediaType,
    url: canStream() ? streamUrl(path, true) : undefined,
    blob: () => api.blob(path),
    head: (bytes, signal) => api.head(path, bytes, signal),
  };
  const buttons = (
    <button type="button" class="primary" onClick={onDownload}>
      <Icon name="download" />
      {t("drive.download")}
    </button>
  );
  const known = kindOf(mediaType) !== undefined;
  return (
    <Dialog
      title={<Name name={viewed.name} />}
      onClose={onClose}
      actions={buttons}
      size={known ? "large" : "small"}
    >
      <Viewer file={viewed} />
    </Dialog>
  );
}
