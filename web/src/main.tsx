import { render } from "preact";
import { startServiceWorker } from "./app/download";
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

if (session.state.value === "in") {
  void refreshAccount();
  void refreshUnfinished().catch(() => {});
}
