import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError, NetworkError } from "../src/api/error";
import { orAborted } from "../src/upload/gate";
import type { Item } from "../src/upload/item";
import type { Answer, Request } from "../src/upload/transport";
import { metadata } from "../src/upload/tus";
import { Visit } from "../src/upload/visit";
import { content, fileOf } from "./fake";

const PIECE = 1_000;

interface Open {
  length: number;
  metadata: string;
  bytes: Uint8Array;
}

/** A server that speaks tus, in memory, and fails on demand. */
class FakeTus {
  readonly uploads = new Map<string, Open>();
  readonly log: string[] = [];
  /** Called before a request is answered; may throw, answer itself, or let it wait. */
  trouble: (call: string) => Answer | undefined | Promise<undefined> = () => undefined;
  there = true;
  inFlight = 0;
  mostInFlight = 0;
  ticket = "first";
  locked = false;
  private nextId = 1;

  readonly link = {
    credentials: () => ({ Authorization: "Bearer css_x", "Cloudstore-Share-Ticket": this.ticket }),
    isThere: async () => this.there,
    needsPassword: async () => this.locked,
  };

  readonly send = async (request: Request, signal: AbortSignal): Promise<Answer> => {
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    try {
      await Promise.resolve();
      signal.throwIfAborted();
      const answer = await orAborted(this.answer(request), signal);
      return request.method === "HEAD" ? { ...answer, text: "" } : answer;
    } finally {
      this.inFlight -= 1;
    }
  };

  private async answer({ method, url, headers, body }: Request): Promise<Answer> {
    const at = headers["Upload-Offset"] ?? "";
    const call = `${method} ${url} ${at}`.trim();
    this.log.push(call);
    expect(headers).toMatchObject({ "Tus-Resumable": "1.0.0", Authorization: "Bearer css_x" });
    if (!this.there) throw new NetworkError();
    const spoiled = await this.trouble(call);
    if (spoiled) return spoiled;
    if (method === "POST") return this.create(headers);
    const upload = this.uploads.get(url);
    if (!upload) return refusal(404, "not-found");
    if (method === "DELETE") this.uploads.delete(url);
    if (method === "PATCH" && body) {
      expect(headers["Content-Type"]).toBe("application/offset+octet-stream");
      if (Number(at) !== upload.bytes.length) return refusal(409, "offset-mismatch");
      const more = new Uint8Array(await body.blob.arrayBuffer());
      body.onSent(more.length);
      upload.bytes = Uint8Array.from([...upload.bytes, ...more]);
    }
    return answerOf(204, { "Upload-Offset": String(upload.bytes.length) });
  }

  private create(headers: Record<string, string>): Answer {
    const url = `/files/${this.nextId++}`;
    const length = Number(headers["Upload-Length"]);
    const metadata = headers["Upload-Metadata"] ?? "";
    this.uploads.set(url, { length, metadata, bytes: new Uint8Array() });
    return answerOf(201, { Location: `https://elsewhere.example${url}` });
  }

  get only(): Open | undefined {
    return [...this.uploads.values()][0];
  }
}

function answerOf(status: number, headers: Record<string, string> = {}, text = ""): Answer {
  return { status, text, get: (name) => headers[name] ?? null };
}

function refusal(status: number, slug: string, headers: Record<string, string> = {}): Answer {
  const text = JSON.stringify({ type: `/problems/${slug}`, title: slug, status });
  return answerOf(status, { "Content-Type": "application/problem+json", ...headers }, text);
}

const visitOf = (server: FakeTus) => new Visit(server.send, server.link, { piece: PIECE });

const count = (server: FakeTus, what: RegExp) =>
  server.log.filter((line) => what.test(line)).length;

/** Lets timers and promises run until the check holds: minutes pass in no time. */
async function until(check: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000; turn++) {
    if (check()) return;
    // A blob is read by a task of its own, which no false clock moves.
    await new Promise((resolve) => setImmediate(resolve));
    await vi.advanceTimersByTimeAsync(50);
  }
  throw new Error("waited in vain");
}

const over = (items: Item[]) =>
  until(() => items.every(({ state }) => ["done", "failed", "cancelled"].includes(state)));

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a file by tus", () => {
  it("arrives piece by piece", async () => {
    const server = new FakeTus();
    const bytes = content(2 * PIECE + 7);
    const [item] = visitOf(server).add([{ file: fileOf(bytes), path: "/a/ä.txt" }]);
    await over(item ? [item] : []);
    expect(item).toMatchObject({ state: "done", sent: bytes.length });
    expect(server.only?.bytes).toEqual(bytes);
    expect(server.only?.length).toBe(bytes.length);
    expect(server.log).toEqual([
      "POST /files/",
      "PATCH /files/1 0",
      "PATCH /files/1 1000",
      "PATCH /files/1 2000",
    ]);
  });

  it("of nothing is there once it was created", async () => {
    const server = new FakeTus();
    const items = visitOf(server).add([{ file: fileOf(content(0)), path: "/empty" }]);
    await over(items);
    expect(items[0]?.state).toBe("done");
    expect(server.log).toEqual(["POST /files/"]);
  });

  it("says its name and, in a folder, its path", () => {
    const utf8 = (text: string) => Buffer.from(text).toString("base64");
    expect(metadata("/ä b.txt")).toBe(`filename ${utf8("ä b.txt")}`);
    expect(metadata("/目录/<b>.txt")).toBe(
      `filename ${utf8("<b>.txt")},relativePath ${utf8("目录/<b>.txt")}`,
    );
  });

  it("goes on where it broke off, after asking", async () => {
    const server = new FakeTus();
    let broken = 0;
    server.trouble = (call) => {
      if (call !== "PATCH /files/1 1000" || broken > 0) return undefined;
      broken += 1;
      // Half of the piece had arrived.
      const upload = server.only;
      if (upload) upload.bytes = bytes.slice(0, 1_500);
      throw new NetworkError();
    };
    const bytes = content(3 * PIECE);
    const items = visitOf(server).add([{ file: fileOf(bytes), path: "/f" }]);
    await over(items);
    expect(items[0]?.state).toBe("done");
    expect(server.only?.bytes).toEqual(bytes);
    expect(server.log.slice(2)).toEqual([
      "PATCH /files/1 1000",
      "HEAD /files/1",
      "PATCH /files/1 1500",
      "PATCH /files/1 2500",
    ]);
  });

  it("whose last answer was lost asks for it again, with nothing", async () => {
    const server = new FakeTus();
    const bytes = content(PIECE);
    server.trouble = (call) => {
      if (call !== "PATCH /files/1 0" || !server.only || server.only.bytes.length > 0) return;
      server.only.bytes = bytes;
      throw new NetworkError();
    };
    const items = visitOf(server).add([{ file: fileOf(bytes), path: "/f" }]);
    await over(items);
    expect(items[0]?.state).toBe("done");
    expect(server.log.slice(-2)).toEqual(["HEAD /files/1", "PATCH /files/1 1000"]);
  });

  it("starts over when the server has lost it, and gives up in the end", async () => {
    const server = new FakeTus();
    server.trouble = (call) =>
      /^PATCH .* 1000/.test(call) ? refusal(410, "upload-gone") : undefined;
    const items = visitOf(server).add([{ file: fileOf(content(2 * PIECE)), path: "/f" }]);
    await over(items);
    expect(items[0]).toMatchObject({ state: "failed" });
    expect(count(server, /^POST/)).toBe(3);
  });

  it("waits as long as the server asks", async () => {
    const server = new FakeTus();
    let refused = 0;
    server.trouble = (call) => {
      if (!call.startsWith("POST") || refused++ > 0) return undefined;
      return refusal(503, "overloaded", { "Retry-After": "30" });
    };
    const before = Date.now();
    const items = visitOf(server).add([{ file: fileOf(content(5)), path: "/f" }]);
    await over(items);
    expect(items[0]?.state).toBe("done");
    expect(Date.now() - before).toBeGreaterThanOrEqual(30_000);
  });

  it("is not sent for ever to a server that takes nothing", async () => {
    const server = new FakeTus();
    server.trouble = (call) =>
      call.startsWith("PATCH") ? answerOf(204, { "Upload-Offset": "0" }) : undefined;
    const items = visitOf(server).add([{ file: fileOf(content(5)), path: "/f" }]);
    await over(items);
    expect(items[0]?.state).toBe("failed");
    expect(count(server, /^PATCH/)).toBe(4);
  });

  it("fails with what the server says", async () => {
    const server = new FakeTus();
    server.trouble = () => refusal(413, "quota-exceeded");
    const items = visitOf(server).add([{ file: fileOf(content(5)), path: "/f" }]);
    await over(items);
    expect(items[0]?.error).toBeInstanceOf(ApiError);
    expect(items[0]?.error).toMatchObject({ slug: "quota-exceeded" });
    expect(server.log.length).toBe(1);
  });
});

describe("files by a link", () => {
  const many = (server: FakeTus, number: number, size = 3 * PIECE) => {
    const visit = visitOf(server);
    const files = Array.from({ length: number }, (_, index) => ({
      file: fileOf(content(size, index + 1)),
      path: `/${index}`,
    }));
    return { visit, items: visit.add(files) };
  };

  it("go three at a time", async () => {
    const server = new FakeTus();
    const { visit, items } = many(server, 10);
    expect(visit.busy).toBe(true);
    await over(items);
    expect(items.every(({ state }) => state === "done")).toBe(true);
    expect(server.mostInFlight).toBe(3);
    expect(visit.totals(0)).toMatchObject({ done: 10, live: 0, sent: 30 * PIECE });
    expect(visit.busy).toBe(false);
  });

  it("wait while the server is away, and go on by themselves", async () => {
    const server = new FakeTus();
    server.trouble = (call) => {
      if (!/ 1000$/.test(call) || visit.gate.away) return undefined;
      server.there = false;
      throw new NetworkError();
    };
    const { visit, items } = many(server, 2);
    await until(() => visit.gate.away);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(items.every(({ state }) => state === "sending")).toBe(true);
    server.trouble = () => undefined;
    server.there = true;
    await over(items);
    expect(items.every(({ state }) => state === "done")).toBe(true);
  });

  it("are paused, resumed and cancelled", async () => {
    const server = new FakeTus();
    const { visit, items } = many(server, 2, 40 * PIECE);
    const [first, second] = items;
    if (!first || !second) throw new Error("no items");
    server.trouble = (call) => (/ 2000$/.test(call) ? new Promise(() => {}) : undefined);
    await until(() => count(server, / 2000$/) === 2);
    visit.pause(first);
    visit.cancel(second);
    await until(() => count(server, /^DELETE/) === 1);
    expect([first.state, second.state]).toEqual(["paused", "cancelled"]);
    expect(server.uploads.size).toBe(1);
    server.trouble = () => undefined;
    visit.resume(first);
    await over(items);
    expect(first.state).toBe("done");
    expect(server.only?.bytes).toEqual(content(40 * PIECE, 1));
    expect(count(server, /^POST/)).toBe(2);
    expect(server.log).toContain("HEAD /files/1");
    visit.all("retry");
    expect(second.state, "what was cancelled stays so").toBe("cancelled");
    visit.clear();
    expect(visit.items).toEqual([]);
  });

  /** Two files whose connection breaks in the middle, so that their uploads are asked for. */
  const broken = (server: FakeTus, refuse: () => Answer | undefined) => {
    let breaks = 0;
    server.trouble = (call) => {
      if (call.startsWith("HEAD")) return refuse();
      if (/ 1000$/.test(call) && breaks++ < 2) throw new NetworkError();
      return undefined;
    };
    return many(server, 2);
  };

  it("wait while a request whose connection broke holds the upload", async () => {
    const server = new FakeTus();
    let refused = 0;
    const { items } = broken(server, () =>
      refused++ < 4 ? refusal(409, "busy", { "Retry-After": "20" }) : undefined,
    );
    const before = Date.now();
    await over(items);
    expect(items.every(({ state }) => state === "done")).toBe(true);
    expect(Date.now() - before).toBeGreaterThanOrEqual(40_000);
  });

  it("stop for the password that only the state of the link tells of", async () => {
    const server = new FakeTus();
    const { visit, items } = broken(server, () => {
      server.locked = server.ticket === "first";
      return server.locked ? refusal(403, "password-required") : undefined;
    });
    let asked = 0;
    visit.onLocked = () => {
      asked += 1;
    };
    await until(() => asked > 0 && items.every(({ state }) => state === "waiting"));
    server.ticket = "second";
    visit.unlocked();
    await over(items);
    expect(items.every(({ state }) => state === "done")).toBe(true);
    expect(asked).toBe(1);
  });

  it("fail when the upload is refused for another reason", async () => {
    const server = new FakeTus();
    const { visit, items } = broken(server, () => refusal(403, "forbidden"));
    visit.onLocked = () => {
      throw new Error("locked");
    };
    await over(items);
    expect(items.map(({ error }) => (error as ApiError).status)).toEqual([403, 403]);
  });

  it("stop for the password once and go on with the new ticket", async () => {
    const server = new FakeTus();
    server.trouble = () =>
      server.ticket === "first" && server.log.length > 5
        ? refusal(403, "password-required")
        : undefined;
    const { visit, items } = many(server, 4);
    let asked = 0;
    visit.onLocked = () => {
      asked += 1;
    };
    await until(() => asked > 0 && items.every(({ state }) => state !== "sending"));
    expect(asked).toBe(1);
    const calls = server.log.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.log.length).toBe(calls);
    server.ticket = "second";
    visit.unlocked();
    await over(items);
    expect(items.every(({ state }) => state === "done")).toBe(true);
    expect(asked).toBe(1);
  });
});
