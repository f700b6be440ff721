/** Addresses of the app: `/` and `/drive/...` are folders, the rest are single pages. */
import { computed, signal } from "@preact/signals";
import { decodePath, encodePath } from "../paths";

export type Route =
  | { page: "drive"; path: string }
  | { page: "uploads" }
  | { page: "trash" }
  | { page: "account" }
  | { page: "signin" }
  | { page: "register" }
  | { page: "missing" };

const address = signal(location.pathname);
window.addEventListener("popstate", () => {
  address.value = location.pathname;
});

export const route = computed(() => parse(address.value));

export function parse(pathname: string): Route {
  if (pathname === "/") return { page: "drive", path: "/" };
  if (pathname === "/drive" || pathname.startsWith("/drive/")) {
    const path = decodePath(pathname.slice(6));
    return path === undefined ? { page: "missing" } : { page: "drive", path };
  }
  const page = pathname.slice(1);
  return isPage(page) ? { page } : { page: "missing" };
}

const PAGES = ["uploads", "trash", "account", "signin", "register"] as const;

function isPage(text: string): text is (typeof PAGES)[number] {
  return (PAGES as readonly string[]).includes(text);
}

export function driveUrl(path: string): string {
  return path === "/" ? "/" : `/drive${encodePath(path)}`;
}

export function go(url: string, replace = false): void {
  if (url !== location.pathname) history[replace ? "replaceState" : "pushState"](null, "", url);
  address.value = url;
}

/** For links: they work as such when opened elsewhere, and without a reload here. */
export function onLink(event: MouseEvent): void {
  const link = (event.target as Element | null)?.closest("a");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
  if (!link || !plain || link.origin !== location.origin || link.target || link.download) return;
  if (event.defaultPrevented || link.hash) return;
  event.preventDefault();
  go(link.pathname);
}
