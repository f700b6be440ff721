import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../../api/error";
import type { Share } from "../../api/types";
import { day, fullDate, plain } from "../../app/format";
import { driveUrl } from "../../app/router";
import { api } from "../../app/services";
import { t, tn } from "../../i18n";
import { nameOf, parentOf } from "../../paths";
import { Confirm } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { tell, tellError } from "../parts/toast";

/** The links of the account, newest first; `undefined` until they have come. */
export function useShares() {
  const [shares, setShares] = useState<Share[]>();
  const [error, setError] = useState<unknown>();
  const load = async () => {
    try {
      const list = await api.shares();
      setShares(list.shares.reverse());
      setError(undefined);
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => void load(), []);
  return { shares, error, load };
}

interface Props {
  shares: Share[];
  changed(): void;
  /** The entry is known: only what is special about each link is told. */
  brief?: boolean;
}

export function ShareList({ shares, changed, brief = false }: Props) {
  const [revoking, setRevoking] = useState<Share>();
  const revoke = async (share: Share) => {
    setRevoking(undefined);
    try {
      await api.revokeShare(share.id);
      tell(t("shares.revoked"));
    } catch (error) {
      // It ended meanwhile: that is what was wanted.
      if (error instanceof ApiError && error.slug === "not-found") tell(t("shares.revoked"));
      else tellError(error);
    }
    changed();
  };
  return (
    <>
      <ul class={brief ? "tokens" : "cards"}>
        {shares.map((share) => (
          <Row key={share.id} share={share} brief={brief} revoke={() => setRevoking(share)} />
        ))}
      </ul>
      {revoking && (
        <Confirm
          title={t("shares.revokeTitle", { name: plain(nameOf(revoking.path)) })}
          text={t(revoking.uploads ? "shares.revokeUploads" : "shares.revokeText")}
          action={t("shares.revoke")}
          onConfirm={() => void revoke(revoking)}
          onClose={() => setRevoking(undefined)}
        />
      )}
    </>
  );
}

interface RowProps {
  share: Share;
  brief: boolean;
  revoke(): void;
}

function Row({ share, brief, revoke }: RowProps) {
  const icon = share.uploads ? "upload" : share.kind === "folder" ? "folder" : "file";
  const label = plain(nameOf(share.path));
  return (
    <li class={brief ? "" : "card upload-card"}>
      <Icon name={icon} class={icon === "folder" ? "folder" : ""} />
      <div class="upload-text share-text">
        {!brief && <Entry share={share} />}
        <p class={brief ? "" : "muted"}>{facts(share).join(" · ")}</p>
        <p class="muted">
          <time dateTime={share.created_at} title={fullDate(share.created_at)}>
            {t("shares.made", { date: day(share.created_at) })}
          </time>
        </p>
      </div>
      <button
        type="button"
        class="danger-text"
        aria-label={t("shares.revokeName", { name: label, date: day(share.created_at) })}
        onClick={revoke}
      >
        {t("shares.revoke")}
      </button>
    </li>
  );
}

/** Where it is, as a link to the folder that shows it. */
function Entry({ share: { path, kind } }: { share: Share }) {
  return (
    <>
      <a href={driveUrl(kind === "folder" ? path : parentOf(path))}>
        <Name name={nameOf(path)} />
      </a>
      <p class="muted">
        <Name name={parentOf(path)} />
      </p>
    </>
  );
}

function facts(share: Share): string[] {
  const { downloads, max_downloads: most } = share;
  const parts = [what(share)];
  if (share.has_password) parts.push(t("shares.hasPassword"));
  const until = share.expires_at;
  parts.push(until ? t("shares.until", { date: day(until) }) : t("shares.forever"));
  if (share.uploads) return parts;
  if (most === undefined) parts.push(tn("shares.downloads", downloads));
  else if (downloads >= most) parts.push(t("shares.usedUp", { most }));
  else parts.push(t("shares.downloadsOf", { n: downloads, most }));
  return parts;
}

function what({ uploads, kind }: Share): string {
  if (uploads) return t("shares.isUpload");
  return t(kind === "folder" ? "shares.isFolder" : "shares.isFile");
}
