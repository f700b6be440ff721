import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../../i18n";
import { Icon } from "./icons";
import { tell } from "./toast";

/**
 * A component that is fetched when it is first shown, so that the first load stays small. Browsers
 * remember a module that could not be fetched, so trying again means loading the page again.
 *
 * What is over a page, such as a dialog, takes no room on it while it is being fetched. If it does
 * not come, `close` says how to close it, so that it can be asked for again.
 */
export function lazy<P extends object>(
  load: () => Promise<ComponentType<P>>,
  close?: (props: P) => void,
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
          if (!close) return;
          close(props);
          const reload = { text: t("app.reload"), run: () => location.reload() };
          tell(t("app.unreached"), true, reload);
        },
      );
    }, []);
    if (Loaded) return <Loaded {...props} />;
    if (close) return null;
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
      <p>{t("app.unreached")}</p>
      <button type="button" onClick={() => location.reload()}>
        {t("app.reload")}
      </button>
    </div>
  );
}
