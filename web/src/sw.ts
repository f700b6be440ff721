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
const ARCHIVE = "/api/v1/archive";
/** What a request for a part needs, and nothing that would tell more. */
const PASSED_ON = ["Range", "If-Range"];

worker.addEventListener("install", () => void worker.skipWaiting());
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const tab = url.searchParams.get("tab");
  if (event.request.method !== "GET" || url.origin !== worker.location.origin) return;
  if (!tab || !(url.pathname.startsWith(CONTENT) || url.pathname === ARCHIVE)) return;
  event.respondWith(answer(event.request, url, tab));
});

async function answer(request: Request, url: URL, tab: string): Promise<Response> {
  const selection = url.searchParams.get("selection");
  const { token, body } = await ask(tab, selection);
  const isAllowed = token !== undefined && (selection === null || body !== undefined);
  const response = isAllowed
    ? await load(request, url, token, body)
    : new Response(null, { status: 401 });
  if (response.ok || request.destination !== "iframe") return response;
  const type = response.headers.get("Content-Type") ?? "";
  const text = await response.text().catch(() => "");
  // Why there is no token only the tab knows.
  const told = { tab, failed: response.status, type, text, asked: isAllowed };
  for (const client of await worker.clients.matchAll({ type: "window" })) client.postMessage(told);
  // 204: the frame stays as it is.
  return new Response(null, { status: 204 });
}

async function load(request: Request, url: URL, token: string, body?: string): Promise<Response> {
  url.searchParams.delete("tab");
  url.searchParams.delete("selection");
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
  if (body) {
    // An archive: what is to be in it is more than an address can say.
    headers.set("Content-Type", "application/json");
    Object.assign(init, { method: "POST", body });
  }
  return fetch(url, init).catch(() => new Response(null, { status: 504 }));
}

interface Answer {
  token?: string;
  /** Of the request for the selection. */
  body?: string;
}

async function ask(tab: string, selection: string | null): Promise<Answer> {
  const clients = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({}), PATIENCE);
    for (const client of clients) {
      const channel = new MessageChannel();
      channel.port1.onmessage = ({ data }: MessageEvent<Answer>) => {
        clearTimeout(timer);
        resolve(data);
      };
      client.postMessage({ ask: "token", tab, selection }, [channel.port2]);
    }
  });
}
