import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { NetworkError } from "../../api/error";
import { t } from "../../i18n";
import { Icon } from "./icons";
import { tellError } from "./toast";

/**
 * A component that is fetched when it is first shown, so that the first load stays small. Browsers
 * remember a module that could not be fetched, so trying again means loading the page again.
 *
 * What is `over` a page, such as a dialog, takes no room on it while it is being fetched.
 */
export function lazy<P extends object>(
  load: () => Promise<ComponentType<P>>,
  over = false,
): ComponentType<P> {
  let Loaded: ComponentType<P> | undefined;
  return function Lazy(props: P) {
    const [, setArrived] = useState(false);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (Loaded) return;
      load().then(
        (component) => {
          Loaded = component;
          setArrived(true);
        },
        () => {
          setFailed(true);
          if (over) tellError(new NetworkError());
        },
      );
    }, []);
    if (Loaded) return <Loaded {...props} />;
    if (over) return null;
    if (failed) return <Unreached />;
    return (
      <div class="blank" role="status">
        <p class="muted late">{t("app.loading")}</p>
      </div>
    );
  };
}

function Unreached() {
  return (
    <div class="blank" role="alert">
      <Icon name="alert" />
      <p>{t("problem.network")}</p>
      <button type="button" onClick={() => location.reload()}>
        {t("app.retry")}
      </button>
    </div>
  );
}
