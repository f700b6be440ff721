/** Addresses of the app: `/` and `/drive/...` are folders, `/s/...` are links, the rest are single pages. */
import { computed, signal } from "@preact/signals";
import { decodePath, encodePath } from "../paths";

/** Characters of a query: whatever they are, the server takes as many. */
export const LONGEST_QUERY = 60;

export type Route =
  /** The query is what is searched for in the folder; empty for the folder itself. */
  | { page: "drive"; path: string; query: string }
  | { page: "uploads" }
  | { page: "shares" }
  | { page: "trash" }
  | { page: "account" }
  | { page: "signin" }
  | { page: "register" }
  /** For whoever has the link, signed in or not. */
  | { page: "link"; token: string }
  | { page: "missing" };

/** Path and query of where the page is. */
const here = () => location.pathname + location.search;
const address = signal(here());
window.addEventListener("popstate", () => {
  address.value = here();
});

export const route = computed(() => parse(address.value));

export function parse(url: string): Route {
  const [pathname = "", search = ""] = url.split("?", 2);
  const query = (new URLSearchParams(search).get("q") ?? "").slice(0, LONGEST_QUERY);
  if (pathname === "/") return { page: "drive", path: "/", query };
  if (pathname === "/drive" || pathname.startsWith("/drive/")) {
    const path = decodePath(pathname.slice(6));
    return path === undefined ? { page: "missing" } : { page: "drive", path, query };
  }
  const token = /^\/s\/([^/]+)\/?$/.exec(pathname)?.[1];
  if (token) return { page: "link", token };
  const page = pathname.slice(1);
  return isPage(page) ? { page } : { page: "missing" };
}

const PAGES = ["uploads", "shares", "trash", "account", "signin", "register"] as const;

function isPage(text: string): text is (typeof PAGES)[number] {
  return (PAGES as readonly string[]).includes(text);
}

/** Of a folder, or of a search in it. */
export function driveUrl(path: string, query = ""): string {
  const url = path === "/" ? "/" : `/drive${encodePath(path)}`;
  return query === "" ? url : `${url}?${new URLSearchParams({ q: query })}`;
}

export function go(url: string, replace = false): void {
  if (url !== here()) history[replace ? "replaceState" : "pushState"](null, "", url);
  address.value = url;
}

/** For links: they work as such when opened elsewhere, and without a reload here. */
export function onLink(event: MouseEvent): void {
  const link = (event.target as Element | null)?.closest("a");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
  if (!link || !plain || link.origin !== location.origin || link.target || link.download) return;
  if (event.defaultPrevented || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
}
