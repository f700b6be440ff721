/** The one session, API client and upload engine of the page. */
import { signal } from "@preact/signals";
import { Api } from "../api/client";
import { browserKeeper, onOtherTab, Session } from "../api/session";
import type { Account, Upload } from "../api/types";
import { Engine, FILES_AT_ONCE_HTTP2, type KnownUpload } from "../upload/engine";
import { WorkerHasher } from "../upload/hasher";
import { Kv } from "../upload/kv";
import { serverOf } from "../upload/server";
import { forgetAll } from "./over";
import { route } from "./router";
import { ticker } from "./ticker";

/** After a file has arrived, how long to wait for more before asking what has changed: ms. */
const SETTLE = 400;
/** The same while many arrive: asking each time would slow them down. */
const SETTLE_MANY = 2_000;
const MANY = 50;

const fetcher = (url: string, init: RequestInit) => fetch(url, init);
export const session = new Session(fetcher, browserKeeper);
export const api = new Api(fetcher, session);
/** What this browser knows of uploads that it has begun. */
export const begun = new Kv<KnownUpload>("uploads");
export const engine = new Engine(serverOf(api), new WorkerHasher(), begun, {
  ...(overHttp2() ? { filesAtOnce: FILES_AT_ONCE_HTTP2 } : {}),
});

/** Counts what the engine has to show; components that read it follow the engine. */
export const engineTick = signal(0);
export const account = signal<Account | undefined>(undefined);
/** Unfinished uploads on the server that this page does not work on. */
export const unfinished = signal<Upload[]>([]);
/** Entries that were copied or cut, to be pasted into another folder. */
export const clipboard = signal<{ how: "copy" | "move"; paths: string[] } | undefined>(undefined);
/** Counts changes to files that this page did not make by itself, such as arrived uploads. */
export const arrivals = signal<{ count: number; paths: string[] }>({ count: 0, paths: [] });

/** Has the page come by a protocol that carries many requests on one connection? */
function overHttp2(): boolean {
  const [page] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  return page?.nextHopProtocol === "h2" || page?.nextHopProtocol === "h3";
}

engine.onChange = ticker(engineTick);

let arrived: string[] = [];
let settling: ReturnType<typeof setTimeout> | undefined;
engine.onDone = (item) => {
  arrived.push(item.result?.path ?? item.path);
  if (settling !== undefined) return;
  const settle = engine.items.length < MANY ? SETTLE : SETTLE_MANY;
  settling = setTimeout(() => {
    settling = undefined;
    arrivals.value = { count: arrivals.value.count + 1, paths: arrived };
    arrived = [];
    void refreshAccount();
    // One of them may be what was just finished.
    if (unfinished.value.length > 0) void refreshUnfinished().catch(() => {});
  }, settle);
};

export async function refreshAccount(): Promise<void> {
  account.value = await api.me().catch(() => account.value);
}

/** Asks the server what earlier visits, or other devices, have left. */
export async function refreshUnfinished(): Promise<void> {
  const { uploads } = await api.uploads();
  const others = uploads.filter((upload) => !engine.owns(upload.id));
  engine.setUnfinished(others);
  unfinished.value = others;
}

/** A new user begins with nothing of the one before. */
export function startOver(): void {
  engine.reset();
  account.value = undefined;
  unfinished.value = [];
  clipboard.value = undefined;
  forgetAll();
}

export function follow(): void {
  session.onReplaced = (by) => {
    // What a link shows is nobody's in particular, and may be in the middle of an upload.
    if (route.value.page === "link") return;
    // Nothing of the other user stays on the page, and what it shows may not be the new one's.
    startOver();
    if (by === undefined) location.reload();
    else location.replace("/");
  };
  onOtherTab(() => session.follow());
  // A page that was put aside has heard nothing of other tabs.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) session.follow();
  });
  window.addEventListener("online", () => engine.gate.hurry());
  window.addEventListener("beforeunload", (event) => {
    if (engine.busy) event.preventDefault();
  });
}
