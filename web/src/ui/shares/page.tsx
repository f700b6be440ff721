import { useEffect } from "preact/hooks";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";
import { Icon } from "../parts/icons";
import { ShareList, useShares } from "./list";
import "../../styles/shares.css";

/** Every link of the account. */
export function Shares() {
  const { shares, error, load } = useShares();
  useEffect(() => {
    document.title = `${t("nav.shares")} · ${t("app.title")}`;
  }, []);
  return (
    <div class="page">
      <h1>{t("nav.shares")}</h1>
      <p class="muted">{t("shares.intro")}</p>
      {error !== undefined && (
        <p class="alert" role="alert">
          {wordsFor(error)}
          <button type="button" class="small" onClick={() => void load()}>
            {t("app.retry")}
          </button>
        </p>
      )}
      {!shares && error === undefined && (
        <p class="muted late" role="status">
          {t("app.loading")}
        </p>
      )}
      {shares?.length === 0 && (
        <div class="blank">
          <Icon name="link" />
          <h2>{t("shares.none")}</h2>
          <p class="muted">{t("shares.noneHint")}</p>
        </div>
      )}
      {shares && shares.length > 0 && <ShareList shares={shares} changed={() => void load()} />}
    </div>
  );
}
