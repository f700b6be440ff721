/**
 * Downloads and previews. The API wants a header that links and media elements cannot send, so the
 * service worker adds it: content then streams to disk, and films seek by ranges. Browsers have
 * service workers only on HTTPS and on this machine; elsewhere content passes through memory.
 *
 * Archives of selections are asked for with a body, which links cannot send either: the worker gets it
 * from the page, together with the token.
 */
import { ARCHIVE, contentUrl } from "../api/client";
import { ApiError, problemOf } from "../api/error";
import { SignedOut } from "../api/session";
import { api, session } from "./services";

/** Above this a download through memory may end the tab. */
export const MEMORY_LIMIT = 256 << 20;
/** A frame is removed when its download has surely begun. Milliseconds. */
const FRAME_LIFE = 60_000;

/** Tells this tab from the others, which may belong to another user. */
const tab = crypto.getRandomValues(new Uint32Array(4)).join("-");

/** Bodies of requests for archives that the worker will come for. */
const selections = new Map<string, string>();
let selected = 0;

export async function startServiceWorker(failed: (error: unknown) => void): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  // Why the worker got no token, unless it waits for one in vain.
  let refused: unknown;
  navigator.serviceWorker.addEventListener("message", (event: MessageEvent) => {
    const { data, ports } = event;
    if (data?.tab !== tab) return;
    if (data.ask === "token") {
      session.token().then(
        (token) => ports[0]?.postMessage({ token, body: selections.get(data.selection) }),
        (error: unknown) => {
          refused = error;
          ports[0]?.postMessage({});
        },
      );
    } else if (data.asked === false) {
      failed(refused ?? new SignedOut());
      refused = undefined;
    } else if (data.failed) {
      failed(new ApiError(problemOf(data.failed, String(data.type), String(data.text))));
    }
  });
  await navigator.serviceWorker.register("/sw.js", { type: "module" }).catch(() => {});
}

/** Is there a worker that adds the credentials? */
export function canStream(): boolean {
  return Boolean(navigator.serviceWorker?.controller);
}

export function streamUrl(path: string, inline: boolean): string {
  const disposition = inline ? "inline" : "attachment";
  return `${contentUrl(path)}?${new URLSearchParams({ disposition, tab })}`;
}

export class TooLargeForMemory extends Error {}

export async function download(path: string, name: string, size: number): Promise<void> {
  if (canStream()) return stream(streamUrl(path, false), name);
  if (size > MEMORY_LIMIT) throw new TooLargeForMemory();
  keep(await api.blob(path), name);
}

/** Several entries, or a folder, as one zip archive with this name. */
export async function downloadArchive(paths: string[], name: string): Promise<void> {
  if (canStream()) {
    selected += 1;
    const selection = String(selected);
    selections.set(selection, JSON.stringify({ paths }));
    setTimeout(() => selections.delete(selection), FRAME_LIFE);
    return stream(`${ARCHIVE}?${new URLSearchParams({ tab, selection })}`, name);
  }
  const archive = await api.archive(paths, MEMORY_LIMIT);
  if (!archive) throw new TooLargeForMemory();
  keep(archive, name);
}

/** In a frame that turns into a download as soon as the answer begins. */
function stream(url: string, name: string): void {
  const frame = document.createElement("iframe");
  frame.hidden = true;
  frame.title = name;
  frame.src = url;
  document.body.append(frame);
  setTimeout(() => frame.remove(), FRAME_LIFE);
}

function keep(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), FRAME_LIFE);
}
