import { render } from "preact";
import { startServiceWorker } from "./app/download";
import { route } from "./app/router";
import { follow, refreshAccount, refreshUnfinished, session } from "./app/services";
import { applyTheme } from "./app/theme";
import { startLanguage } from "./i18n";
import "./styles/index.css";
import { App } from "./ui/app";
import { tellError } from "./ui/parts/toast";

applyTheme();
follow();
void startServiceWorker(tellError);
await startLanguage();

const root = document.getElementById("app");
if (root) render(<App />, root);

// Who opens a link needs nothing of the account.
if (session.state.value === "in" && route.value.page !== "link") {
  void refreshAccount();
  void refreshUnfinished().catch(() => {});
}
