import { describe, expect, it } from "vitest";
import { ApiError } from "../src/api/error";
import { Link } from "../src/api/link";
import type { SharedEntry } from "../src/api/types";
import { Look } from "../src/ui/link/state";
import { linkWords, unlockWords } from "../src/ui/link/words";
import { until } from "./fake";

const TOKEN = "css_token";
const BASE = `/api/v1/public/shares/${TOKEN}`;

const refusal = (status: number, slug: string, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify({ type: `/problems/${slug}`, title: slug, status }), {
    status,
    headers: { "Content-Type": "application/problem+json", ...headers },
  });

/** A folder of three entries behind a password, two on a page. */
class Shared {
  readonly asked: string[] = [];
  password = "";
  gone = false;

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    this.asked.push(`${init.method ?? "GET"} ${url}`);
    const open = !this.password || new Headers(init.headers).has("Cloudstore-Share-Ticket");
    const { pathname, searchParams } = new URL(url, "http://x");
    if (this.gone) return refusal(404, "not-found");
    if (pathname === `${BASE}/unlock`) {
      const { password } = JSON.parse(String(init.body)) as { password: string };
      if (password !== this.password) return refusal(422, "invalid-fields");
      return Response.json({ ticket: "t", expires_in: 3600 });
    }
    if (!open) {
      return pathname === BASE
        ? Response.json({ needs_password: true })
        : refusal(403, "password-required");
    }
    const second = searchParams.get("cursor") === "2";
    const entries = second ? [entry("c")] : [entry("a"), entry("b")];
    const more = second ? {} : { next_cursor: "2" };
    return Response.json({ needs_password: false, entry: entry("/"), entries, ...more });
  };
}

const entry = (name: string): SharedEntry => ({
  kind: "file",
  name,
  path: `/${name}`,
  modified_at: "2026-01-01T00:00:00Z",
});

const names = (look: Look) => look.entries.value.map(({ name }) => name).join("");

describe("a link", () => {
  it("shows a folder page by page, and reloads as far as it was shown", async () => {
    const shared = new Shared();
    const look = new Look(new Link(shared.fetch, TOKEN), "/d e", false);
    await look.reload();
    expect(names(look)).toBe("ab");
    expect(shared.asked[0]).toBe(`GET ${BASE}/files/d%20e?limit=500`);
    await look.more();
    await look.more();
    expect(names(look)).toBe("abc");
    await look.reload();
    expect(names(look)).toBe("abc");
    expect(shared.asked.length).toBe(4);
  });

  it("is locked until the password was told, at any place", async () => {
    const shared = new Shared();
    shared.password = "right";
    const link = new Link(shared.fetch, TOKEN);
    for (const path of ["/", "/below"]) {
      const look = new Look(link, path, false);
      await look.reload();
      expect([look.locked.value, look.error.value]).toEqual([true, undefined]);
    }
    const wrong = await link.unlock("wrong").catch((error: unknown) => error);
    expect(unlockWords(wrong)).toMatch(/password is wrong/);
    await link.unlock("right");
    const look = new Look(link, "/", false);
    await look.reload();
    expect([look.locked.value, names(look)]).toEqual([false, "ab"]);
    expect(link.credentials()).toEqual({
      Authorization: `Bearer ${TOKEN}`,
      "Cloudstore-Share-Ticket": "t",
    });
  });

  it("tells in words that it is gone, and how long to wait", async () => {
    const shared = new Shared();
    shared.gone = true;
    const look = new Look(new Link(shared.fetch, TOKEN), "/", false);
    await look.reload();
    expect(linkWords(look.error.value)).toMatch(/Ask whoever sent it/);
    const many = { type: "/problems/rate-limited", title: "", status: 429 };
    expect(linkWords(new ApiError(many, 42_000))).toMatch(/Wait 42s/);
  });

  it("asks once whether there are archives", async () => {
    const shared = new Shared();
    const link = new Link(shared.fetch, TOKEN);
    let answers = 0;
    for (let time = 0; time < 2; time++) void link.hasArchive().then(() => answers++);
    await until(() => answers === 2, "the answers");
    expect(shared.asked).toEqual([`HEAD ${BASE}/archive`]);
  });

  it("asks again whether there are archives after nobody has answered", async () => {
    const shared = new Shared();
    let away = true;
    const fetch = (url: string, init: RequestInit) =>
      away ? Promise.reject(new TypeError("offline")) : shared.fetch(url, init);
    const link = new Link(fetch, TOKEN);
    expect(await link.hasArchive()).toBe(false);
    away = false;
    expect(await link.hasArchive()).toBe(true);
  });
});
