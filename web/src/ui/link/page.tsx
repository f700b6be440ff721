import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Link } from "../../api/link";
import { day, plain } from "../../app/format";
import { t, tn } from "../../i18n";
import { decodePath } from "../../paths";
import { Icon } from "../parts/icons";
import { SharedFile } from "./file";
import { SharedFolder } from "./folder";
import { Inbox } from "./inbox";
import { Look } from "./state";
import { Unlock } from "./unlock";
import { isGone, linkWords } from "./words";
import "../../styles/shares.css";
import "../../styles/link.css";

/** What somebody sees who was given a link: nothing of the app around it, and no login. */
export function LinkPage({ token }: { token: string }) {
  const link = useMemo(() => new Link((url, init) => fetch(url, init), token), [token]);
  const path = useHashPath();
  const count = useRef(0);
  const look = useMemo(() => new Look(link, path, count.current++ > 0), [link, path]);
  const top = useRef("");
  useEffect(() => {
    void look.reload();
    return () => look.close();
  }, [look]);
  const { name, path: shownPath } = look.shown.value?.entry ?? {};
  if (name && shownPath === "/") top.current = name;
  useEffect(() => {
    document.title = name ? `${plain(name)} · ${t("app.title")}` : t("app.title");
  }, [name]);
  return (
    <div class="link-page">
      <header class="link-head">
        <div class="brand">
          <Icon name="cloud" />
          <span>{t("app.title")}</span>
        </div>
        <Terms look={look} />
      </header>
      <main id="main">
        <Content look={look} top={top.current} />
      </main>
    </div>
  );
}

/** `top` is the name of what is shared, once known: paths below it do not have it. */
function Content({ look, top }: { look: Look; top: string }) {
  const shown = look.shown.value;
  const error = look.error.value;
  if (error !== undefined) return <Failed look={look} error={error} />;
  if (look.locked.value) {
    const gone = (problem: unknown) => {
      look.error.value = problem;
    };
    return <Unlock link={look.link} opened={() => void look.reload()} gone={gone} />;
  }
  if (!shown?.entry) {
    return (
      <div class="blank" role="status">
        <p class="muted late">{t("app.loading")}</p>
      </div>
    );
  }
  const { entry } = shown;
  if (shown.uploads) return <Inbox look={look} folder={entry} />;
  if (entry.kind === "file") return <SharedFile look={look} file={entry} />;
  return <SharedFolder look={look} folder={entry} top={top} />;
}

function Failed({ look, error }: { look: Look; error: unknown }) {
  const below = look.path !== "/";
  const gone = isGone(error);
  return (
    <div class="blank" role="alert">
      <Icon name="alert" />
      <h1>{t(gone && below ? "link.missing" : gone ? "link.goneTitle" : "link.failed")}</h1>
      <p class="muted">{gone && below ? t("link.missingHint") : linkWords(error)}</p>
      <div class="row-of-buttons">
        {!gone && (
          <button type="button" onClick={() => void look.reload()}>
            {t("app.retry")}
          </button>
        )}
        {below && (
          <a class="button" href="#/">
            {t("link.toTop")}
          </a>
        )}
      </div>
    </div>
  );
}

/** Until when, and how often. */
function Terms({ look }: { look: Look }) {
  const { expires_at: until, downloads_left: left } = look.shown.value ?? {};
  const parts: string[] = [];
  if (left !== undefined) parts.push(left > 0 ? tn("link.left", left) : t("link.noneLeft"));
  if (until) parts.push(t("shares.until", { date: day(until) }));
  return <p class="muted">{parts.join(" · ")}</p>;
}

/** Where one is below the share. It stays in the browser: the server is asked for it by other ways. */
function useHashPath(): string {
  const here = () => decodePath(location.hash.slice(1)) ?? "/";
  const [path, setPath] = useState(here);
  useEffect(() => {
    const look = () => setPath(here());
    window.addEventListener("hashchange", look);
    return () => window.removeEventListener("hashchange", look);
  }, []);
  return path;
}
