import { useRef, useState } from "preact/hooks";
import type { CreatedShare } from "../../api/types";
import { plain } from "../../app/format";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";
import { nameOf } from "../../paths";
import { Dialog } from "../parts/dialog";
import { tell } from "../parts/toast";
import { Create } from "./create";
import { ShareList, useShares } from "./list";
import { Qr } from "./qr";
import "../../styles/shares.css";

interface Props {
  path: string;
  kind: "file" | "folder";
  onClose(): void;
}

/** Links of one entry: a new one, and those there are. */
export function ShareDialog({ path, kind, onClose }: Props) {
  const { shares, error, load } = useShares();
  const [created, setCreated] = useState<CreatedShare>();
  const here = shares?.filter((share) => share.path === path && share.id !== created?.id);
  return (
    <Dialog
      title={t("shares.title", { name: plain(nameOf(path)) })}
      onClose={onClose}
      size="medium"
    >
      {created ? (
        <Created share={created} another={() => setCreated(undefined)} />
      ) : (
        <Create
          path={path}
          kind={kind}
          created={(share) => {
            setCreated(share);
            void load();
          }}
        />
      )}
      {error !== undefined && (
        <p class="alert" role="alert">
          {wordsFor(error)}
        </p>
      )}
      {here && here.length > 0 && (
        <section class="share-others" aria-labelledby="share-others">
          <h3 id="share-others">{t("shares.others")}</h3>
          <ShareList shares={here} changed={() => void load()} brief />
        </section>
      )}
    </Dialog>
  );
}

/** The link itself. It is in no other answer, so it is shown until the user is done with it. */
function Created({ share, another }: { share: CreatedShare; another(): void }) {
  const field = useRef<HTMLInputElement>(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(share.url);
    } catch {
      // Browsers have no clipboard on plain HTTP, but this they have.
      field.current?.select();
      if (!document.execCommand("copy")) return tell(t("shares.copyByHand"), true);
    }
    tell(t("app.copied"));
  };
  return (
    <div class="share-created">
      <p role="status">{t("shares.created")}</p>
      <div class="share-link">
        <input
          ref={(element) => {
            if (element && !field.current) setTimeout(() => element.select());
            field.current = element;
          }}
          value={share.url}
          readOnly
          aria-label={t("shares.link")}
          onFocus={(event) => event.currentTarget.select()}
        />
        <button type="button" class="primary" onClick={() => void copy()}>
          {t("app.copy")}
        </button>
      </div>
      <Qr text={share.url} />
      <button type="button" class="link" onClick={another}>
        {t("shares.another")}
      </button>
    </div>
  );
}
