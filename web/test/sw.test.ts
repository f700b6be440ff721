import { beforeEach, describe, expect, it, vi } from "vitest";

type Listener = (event: unknown) => void;

/** What the worker is told by the tab, and tells it. */
const tab = { answer: {} as object, told: [] as Record<string, unknown>[] };
const client = {
  postMessage(message: Record<string, unknown>, ports?: MessagePort[]) {
    if (message.ask === "token") ports?.[0]?.postMessage(tab.answer);
    else tab.told.push(message);
  },
};
const listeners = new Map<string, Listener>();
vi.stubGlobal("self", {
  location: { origin: "http://x" },
  clients: { matchAll: async () => [client] },
  addEventListener: (name: string, listener: Listener) => listeners.set(name, listener),
});
await import("../src/sw");

async function load(destination: string): Promise<Response> {
  const request = new Request("http://x/api/v1/content/f?disposition=attachment&tab=t");
  Object.defineProperty(request, "destination", { value: destination });
  return new Promise((resolve) => {
    listeners.get("fetch")?.({ request, respondWith: resolve });
  });
}

beforeEach(() => {
  tab.answer = {};
  tab.told = [];
});

describe("the worker", () => {
  it("tells the tab that a download got no token", async () => {
    expect((await load("iframe")).status, "the frame stays as it is").toBe(204);
    expect(tab.told).toMatchObject([{ tab: "t", failed: 401, asked: false }]);
  });

  it("leaves it to elements to show that they have nothing", async () => {
    expect((await load("image")).status).toBe(401);
    expect(tab.told).toEqual([]);
  });

  it("tells the tab what the server has said, and asks with the token alone", async () => {
    tab.answer = { token: "secret" };
    const asked: { url: string; token: string | null }[] = [];
    vi.stubGlobal("fetch", async (url: URL, { headers }: { headers: Headers }) => {
      asked.push({ url: String(url), token: headers.get("Authorization") });
      return new Response("gone", { status: 404, headers: { "Content-Type": "text/plain" } });
    });
    expect((await load("iframe")).status).toBe(204);
    const url = "http://x/api/v1/content/f?disposition=attachment";
    expect(asked).toEqual([{ url, token: "Bearer secret" }]);
    expect(tab.told).toMatchObject([{ failed: 404, text: "gone", asked: true }]);
  });
});
