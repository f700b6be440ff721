/**
 * Downloads and previews. The API wants a header that links and media elements cannot send, so the
 * service worker adds it: content then streams to disk, and films seek by ranges. Browsers have
 * service workers only on HTTPS and on this machine; elsewhere content passes through memory.
 */
import { contentUrl } from "../api/client";
import { api, session } from "./services";

/** Above this a download through memory may end the tab. */
export const MEMORY_LIMIT = 256 << 20;
/** A frame is removed when its download has surely begun. Milliseconds. */
const FRAME_LIFE = 60_000;

/** Tells this tab from the others, which may belong to another user. */
const tab = crypto.getRandomValues(new Uint32Array(4)).join("-");

export async function startServiceWorker(failed: (status: number) => void): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  navigator.serviceWorker.addEventListener("message", (event: MessageEvent) => {
    const { data, ports } = event;
    if (data?.tab !== tab) return;
    if (data.ask === "token") {
      session.token().then(
        (token) => ports[0]?.postMessage({ token }),
        () => ports[0]?.postMessage({}),
      );
    } else if (data.failed) failed(data.failed);
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
  if (canStream()) {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.title = name;
    frame.src = streamUrl(path, false);
    document.body.append(frame);
    setTimeout(() => frame.remove(), FRAME_LIFE);
    return;
  }
  if (size > MEMORY_LIMIT) throw new TooLargeForMemory();
  const url = URL.createObjectURL(await api.blob(path));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), FRAME_LIFE);
}
