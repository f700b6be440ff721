import { useEffect } from "preact/hooks";
import { go, onLink, route } from "../app/router";
import { engine, engineTick, session } from "../app/services";
import { wordsFor } from "../app/words";
import { t } from "../i18n";
import { Account } from "./account/account";
import { Drive } from "./drive/drive";
import { lazy } from "./parts/lazy";
import { Toasts } from "./parts/toast";
import { Shell } from "./shell";
import { SignIn } from "./signin";
import { UploadPanel } from "./uploads/panel";
import { Unfinished } from "./uploads/unfinished";

const LinkPage = lazy(() => import("./link/page").then(({ LinkPage }) => LinkPage));
const Shares = lazy(() => import("./shares/page").then(({ Shares }) => Shares));
const Trash = lazy(() => import("./trash/trash").then(({ Trash }) => Trash));

export function App() {
  const at = route.value;
  const state = session.state.value;
  const signing = at.page === "signin" || at.page === "register";
  useEffect(() => {
    if (state === "in" && signing) go("/", true);
  }, [state, signing]);
  return (
    // Links inside the app do not reload it.
    // biome-ignore lint/a11y/noStaticElementInteractions: the links are what is clicked
    // biome-ignore lint/a11y/useKeyWithClickEvents: browsers send clicks for keys on links
    <div class="app" onClick={onLink}>
      {at.page === "link" ? (
        <LinkPage key={at.token} token={at.token} />
      ) : state === "in" ? (
        <Shell>
          <Page />
          <UploadPanel queue={engine} tick={engineTick} words={wordsFor} />
        </Shell>
      ) : (
        <SignIn register={at.page === "register" && state === "out"} />
      )}
      <Toasts />
    </div>
  );
}

function Page() {
  const at = route.value;
  switch (at.page) {
    case "drive":
      return <Drive path={at.path} query={at.query} />;
    case "uploads":
      return <Unfinished />;
    case "shares":
      return <Shares />;
    case "trash":
      return <Trash />;
    case "account":
      return <Account />;
    default:
      return (
        <div class="blank">
          <h1>{t("app.notFound")}</h1>
          <a class="button primary" href="/">
            {t("app.toFiles")}
          </a>
        </div>
      );
  }
}
