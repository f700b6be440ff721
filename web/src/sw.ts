/**
 * Adds credentials to requests that elements and downloads make, and does nothing else: no cache,
 * no other address. Only requests with `tab` are touched; the tab of that name is asked for a token
 * each time, so nothing is remembered here.
 */
export {};

const worker = self as unknown as ServiceWorkerGlobalScope;

/** A tab that does not answer within this time is gone. Milliseconds. */
const PATIENCE = 10_000;
const CONTENT = "/api/v1/content/";
/** What a request for a part needs, and nothing that would tell more. */
const PASSED_ON = ["Range", "If-Range"];

worker.addEventListener("install", () => void worker.skipWaiting());
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const tab = url.searchParams.get("tab");
  if (event.request.method !== "GET" || url.origin !== worker.location.origin) return;
  if (!tab || !url.pathname.startsWith(CONTENT)) return;
  event.respondWith(answer(event.request, url, tab));
});

async function answer(request: Request, url: URL, tab: string): Promise<Response> {
  const token = await tokenOf(tab);
  if (!token) return new Response(null, { status: 401 });
  url.searchParams.delete("tab");
  // The store's own address would need other credentials, so the server sends the content itself.
  const headers = new Headers({
    Authorization: `Bearer ${token}`,
    "Cloudstore-Delivery": "stream",
  });
  for (const name of PASSED_ON) {
    const value = request.headers.get(name);
    if (value) headers.set(name, value);
  }
  const init: RequestInit = { headers, credentials: "omit", signal: request.signal };
  const response = await fetch(url, init).catch(() => new Response(null, { status: 504 }));
  if (response.ok || request.destination !== "iframe") return response;
  for (const client of await worker.clients.matchAll({ type: "window" })) {
    client.postMessage({ tab, failed: response.status });
  }
  // 204: the frame stays as it is.
  return new Response(null, { status: 204 });
}

async function tokenOf(tab: string): Promise<string | undefined> {
  const clients = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), PATIENCE);
    for (const client of clients) {
      const channel = new MessageChannel();
      channel.port1.onmessage = ({ data }: MessageEvent<{ token?: string }>) => {
        clearTimeout(timer);
        resolve(data.token);
      };
      client.postMessage({ ask: "token", tab }, [channel.port2]);
    }
  });
}
