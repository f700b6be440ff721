import { blake3 } from "hash-wasm";
import { describe, expect, it } from "vitest";
import { Api } from "../src/api/client";
import { isCovered, Position } from "../src/api/position";
import { type Keeper, type Kept, Session } from "../src/api/session";
import { Gate } from "../src/upload/gate";
import { hashFile, NoChallenge, prove, type Remembered, Stopped } from "../src/upload/hashing";
import { Unreadable } from "../src/upload/hashing-errors";
import { Slots } from "../src/upload/slots";
import { content, fileOf, until } from "./fake";

class Accounts {
  kept: Kept | undefined;
  refreshes = 0;
  valid = new Set<string>();
  refresh = "";
  private count = 0;

  readonly keeper: Keeper = {
    read: () => this.kept,
    write: (kept) => {
      this.kept = kept;
    },
    exclusive: (work) => work(),
  };

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    if (url === "/api/v1/sessions") {
      const { password } = JSON.parse(String(init.body)) as { password: string };
      return password === "x" ? this.pair(201) : refused();
    }
    if (url === "/api/v1/sessions/refresh") {
      this.refreshes += 1;
      const { refresh_token } = JSON.parse(String(init.body)) as { refresh_token: string };
      const good = refresh_token === this.refresh;
      await new Promise((resolve) => setTimeout(resolve, 5));
      return good ? this.pair(200) : refused();
    }
    const header = new Headers(init.headers).get("Authorization") ?? "";
    return this.valid.has(header.slice(7)) ? Response.json({ username: "a" }) : refused();
  };

  private pair(status: number): Response {
    this.count += 1;
    this.refresh = `refresh${this.count}`;
    const access_token = `access${this.count}`;
    this.valid.add(access_token);
    const body = { access_token, expires_in: 600, refresh_token: this.refresh };
    return Response.json(body, { status });
  }
}

const refused = () =>
  new Response('{"type":"/problems/unauthenticated","title":"","status":401}', {
    status: 401,
    headers: { "Content-Type": "application/problem+json" },
  });

async function signedIn() {
  const accounts = new Accounts();
  const clock = { now: 0 };
  const session = new Session(accounts.fetch, accounts.keeper, () => clock.now);
  await session.signIn("alice", "x");
  return { accounts, clock, session, api: new Api(accounts.fetch, session) };
}

describe("the session", () => {
  it("exchanges its token once, however many ask", async () => {
    const { accounts, clock, session } = await signedIn();
    expect(await session.token()).toBe("access1");
    clock.now = 550_000;
    const tokens = await Promise.all([session.token(), session.token(), session.token()]);
    expect(new Set(tokens)).toEqual(new Set(["access2"]));
    expect(accounts.refreshes).toBe(1);
  });

  it("needs no exchange after a reload", async () => {
    const { accounts, clock, session } = await signedIn();
    const reloaded = new Session(accounts.fetch, accounts.keeper, () => clock.now);
    expect(await reloaded.token()).toBe(await session.token());
    expect(accounts.refreshes).toBe(0);
  });

  it("repeats a request whose token the server did not take", async () => {
    const { accounts, api } = await signedIn();
    accounts.valid.clear();
    expect(await api.me()).toEqual({ username: "a" });
    expect(accounts.refreshes).toBe(1);
  });

  it("goes on with the token that another tab has exchanged", async () => {
    const { accounts, clock, session } = await signedIn();
    const other = new Session(accounts.fetch, accounts.keeper, () => clock.now);
    clock.now = 550_000;
    const shared = await other.token();
    expect(await session.token()).toBe(shared);
    expect(accounts.refreshes).toBe(1);
    accounts.valid.clear();
    session.refused(shared);
    other.refused(shared);
    expect(await session.token()).toBe(await other.token());
    expect(accounts.refreshes).toBe(2);
    expect(session.state.value).toBe("in");
  });

  it("that has ended waits for a new login and goes on", async () => {
    const { accounts, session, api } = await signedIn();
    accounts.valid.clear();
    accounts.refresh = "revoked";
    const answer = api.me();
    await until(() => session.state.value === "expired");
    await session.signIn("Alice", "x");
    expect(await answer).toEqual({ username: "a" });
  });

  it("of somebody else does not go on", async () => {
    const { accounts, session, api } = await signedIn();
    accounts.valid.clear();
    accounts.refresh = "revoked";
    const answer = expect(api.me()).rejects.toThrow("signed out");
    await until(() => session.state.value === "expired");
    await session.signIn("bob", "x");
    await answer;
  });
});

describe("a change of accounts", () => {
  it("is told of once the server has let somebody else in", async () => {
    const { accounts, session } = await signedIn();
    const told: (string | undefined)[] = [];
    const onOther = () => told.push(accounts.kept?.username);
    await expect(session.signIn("bob", "typo", onOther)).rejects.toThrow();
    await session.signIn("ALICE", "x", onOther);
    expect(told).toEqual([]);
    await session.signIn("bob", "x", onOther);
    expect(told, "before anything of the other is used").toEqual(["ALICE"]);
  });
});

describe("another tab", () => {
  it("that signs in as somebody else ends this one", async () => {
    const { accounts, session, api } = await signedIn();
    const replaced: (string | undefined)[] = [];
    session.onReplaced = (by) => replaced.push(by);
    const other = new Session(accounts.fetch, accounts.keeper, () => 0);
    other.forget();
    accounts.valid.clear();
    await other.signIn("bob", "x");
    // Its request is refused, and what it finds in place of its own tokens is not its own.
    await expect(api.me()).rejects.toThrow("signed out");
    expect(session.state.value).toBe("out");
    await expect(session.token()).rejects.toThrow("signed out");
    expect(replaced).toEqual(["bob"]);
    expect(accounts.kept?.username).toBe("bob");
    expect(await other.token()).toBe("access2");
  });

  it("that signs in while this one exchanges is not overwritten", async () => {
    const { accounts, clock, session } = await signedIn();
    clock.now = 550_000;
    const exchanged = expect(session.token()).rejects.toThrow("signed out");
    const other = new Session(accounts.fetch, accounts.keeper, () => clock.now);
    other.forget();
    await other.signIn("bob", "x");
    await exchanged;
    expect(accounts.kept?.username).toBe("bob");
    expect(session.state.value).toBe("out");
  });

  it("of the same account changes nothing, however the name is written", async () => {
    const { accounts, session } = await signedIn();
    const other = new Session(accounts.fetch, accounts.keeper, () => 0);
    await other.signIn("ALICE", "x");
    session.follow();
    expect(session.state.value).toBe("in");
  });

  it("that signs in again lets this one go on", async () => {
    const { accounts, session, api } = await signedIn();
    const other = new Session(accounts.fetch, accounts.keeper, () => 0);
    accounts.valid.clear();
    accounts.refresh = "revoked";
    const answers = [api.me(), new Api(accounts.fetch, other).me()];
    const both = [session, other];
    await until(() => both.every(({ state }) => state.value === "expired"));
    session.follow();
    expect(session.state.value, "the old tokens are of no use").toBe("expired");
    await other.signIn("alice", "x");
    session.follow();
    expect(await Promise.all(answers)).toEqual([{ username: "a" }, { username: "a" }]);
    expect(session.state.value).toBe("in");
    expect(await session.token()).toBe(await other.token());
  });

  it("keeps its new tokens when somebody else is to sign in here", async () => {
    const { accounts, session, api } = await signedIn();
    accounts.valid.clear();
    accounts.refresh = "revoked";
    const answer = api.me();
    await until(() => session.state.value === "expired");
    await new Session(accounts.fetch, accounts.keeper, () => 0).signIn("alice", "x");
    session.leave();
    expect([session.state.value, accounts.kept?.access]).toEqual(["in", "access2"]);
    await answer;
    accounts.valid.clear();
    accounts.refresh = "revoked";
    const refused = expect(api.me()).rejects.toThrow("signed out");
    await until(() => session.state.value === "expired");
    session.leave();
    await refused;
    expect([session.state.value, accounts.kept]).toEqual(["out", undefined]);
  });

  it("that signs out ends this one", async () => {
    const { accounts, session } = await signedIn();
    const replaced: (string | undefined)[] = [];
    session.onReplaced = (by) => replaced.push(by);
    new Session(accounts.fetch, accounts.keeper, () => 0).forget();
    session.follow();
    session.follow();
    expect(session.state.value).toBe("out");
    expect(replaced).toEqual([undefined]);
  });
});

describe("signing out", () => {
  it("tells the server", async () => {
    const { accounts, session, api } = await signedIn();
    expect(await api.signOut(false)).toBe(true);
    expect([session.state.value, accounts.kept]).toEqual(["out", undefined]);
  });

  it("forgets the tokens although the server does not answer, and says so", async () => {
    for (const answer of [
      () => Promise.reject(new TypeError("offline")),
      () => Promise.resolve(new Response("", { status: 503 })),
    ]) {
      const { accounts, session } = await signedIn();
      expect(await new Api(answer, session).signOut(true)).toBe(false);
      expect([session.state.value, accounts.kept]).toEqual(["out", undefined]);
    }
  });

  it("does not wait for a session that has ended", async () => {
    const { accounts, session, api } = await signedIn();
    accounts.valid.clear();
    accounts.refresh = "revoked";
    expect(await api.signOut(false)).toBe(true);
    expect([session.state.value, accounts.kept]).toEqual(["out", undefined]);
  });
});

describe("positions", () => {
  it("only move forward", () => {
    const position = new Position();
    const learn = (value: string) => position.learn({ get: () => value });
    learn("0-1-99");
    learn("0-1-100");
    learn("0-1-98");
    learn("not valid");
    let told = "";
    position.tell((_, value) => {
      told = value;
    });
    expect(told).toBe("0-1-100");
    expect(isCovered("0-1-18446744073709551616", "0-1-18446744073709551617")).toBe(true);
    expect(isCovered("ab:1-5", "ac:1-9")).toBe(false);
  });
});

/** Part of a file that streams what it is given, and cannot be read otherwise: it has changed. */
function streaming(...parts: Uint8Array<ArrayBuffer>[]): Blob {
  const blob = new Blob();
  blob.stream = () =>
    new ReadableStream({
      start(controller) {
        for (const part of parts) controller.enqueue(part);
        controller.close();
      },
    });
  blob.arrayBuffer = () => Promise.reject(new DOMException("changed", "NotReadableError"));
  return blob;
}

describe("hashing", () => {
  it("is BLAKE3, in pieces", async () => {
    const bytes = content(9_000_000);
    expect(await hashFile(fileOf(bytes))).toBe(await blake3(bytes));
    expect(await hashFile(fileOf(content(0)))).toBe(await blake3(""));
  });

  it("reads files also where streams cannot read in place", async () => {
    const bytes = content(300_000);
    const file = fileOf(bytes);
    file.slice = () => streaming(bytes.subarray(0, 100_000), bytes.subarray(100_000));
    expect(await hashFile(file)).toBe(await blake3(bytes));
  });

  it("notices a file that ends early, goes on, or changes while it is read", async () => {
    const bytes = content(3 << 20);
    const shorter = fileOf(bytes);
    shorter.slice = () => streaming(bytes.subarray(1));
    await expect(hashFile(shorter)).rejects.toBeInstanceOf(Unreadable);
    const longer = fileOf(bytes);
    longer.slice = () => streaming(content((3 << 20) + 1));
    await expect(hashFile(longer)).rejects.toBeInstanceOf(Unreadable);
    const changing = fileOf(bytes);
    changing.slice = () => streaming(bytes);
    await expect(hashFile(changing)).rejects.toBeInstanceOf(Unreadable);
  });

  it("goes on where it was stopped, and remembers what is finished", async () => {
    // Only long files are remembered.
    const bytes = content(65 << 20);
    const file = fileOf(bytes);
    const kept = new Map<string, Remembered>();
    const memory = {
      get: async (key: string) => kept.get(key),
      put: async (key: string, value: Remembered) => void kept.set(key, value),
    };
    let seen = 0;
    const stop = hashFile(file, {
      memory,
      onProgress: (done) => {
        seen = done;
      },
      isStopped: () => seen > 20 << 20,
    });
    await expect(stop).rejects.toBeInstanceOf(Stopped);
    let first: number | undefined;
    const onProgress = (done: number) => {
      first ??= done;
    };
    expect(await hashFile(file, { memory, onProgress })).toBe(await blake3(bytes));
    expect(first).toBeGreaterThan(20 << 20);
    first = undefined;
    await hashFile(file, { memory, onProgress });
    expect(first).toBe(file.size);
    const other = fileOf(content(65 << 20, 7));
    expect(await hashFile(other, { memory })).not.toBe(await blake3(bytes));
  });

  it("proves possession of windows, and refuses challenges that make no sense", async () => {
    const bytes = content(10_000);
    const key = new Uint8Array(32);
    const challenge = (windows: [number, number][], nonce = "00".repeat(32)) => ({
      nonce,
      windows,
      expires_at: "",
    });
    const both = new Uint8Array([...bytes.slice(5, 15), ...bytes.slice(100, 200)]);
    const proof = await prove(
      new Blob([bytes]),
      challenge([
        [5, 10],
        [100, 100],
      ]),
    );
    expect(proof).toBe(await blake3(both, 256, key));
    for (const wrong of [
      challenge([], "short"),
      challenge([[0, 10_001]]),
      challenge([[0, (1 << 20) + 1]]),
      challenge(Array.from({ length: 2_000 }, () => [0, 1])),
    ]) {
      await expect(prove(new Blob([bytes]), wrong)).rejects.toBeInstanceOf(NoChallenge);
    }
  });
});

describe("bounds", () => {
  it("serve in order, and forget who has gone", async () => {
    const slots = new Slots(1);
    const forever = new AbortController().signal;
    const gone = new AbortController();
    const order: string[] = [];
    let release = () => {};
    const first = slots.run(
      forever,
      () =>
        new Promise<void>((resolve) => {
          release = resolve;
        }),
    );
    const second = slots.run(gone.signal, async () => void order.push("gone"));
    const third = slots.run(forever, async () => void order.push("third"));
    gone.abort(new Error("gone"));
    await expect(second).rejects.toThrow("gone");
    release();
    await Promise.all([first, third]);
    expect(order).toEqual(["third"]);
  });

  it("open again when the server answers", async () => {
    let there = false;
    const gate = new Gate(async () => there);
    const seen: boolean[] = [];
    gate.onChange = (away) => seen.push(away);
    gate.close();
    gate.close();
    const passed = gate.pass(new AbortController().signal);
    await expect(gate.pass(AbortSignal.abort(new Error("stop")))).rejects.toThrow("stop");
    there = true;
    gate.hurry();
    await passed;
    expect(seen).toEqual([true, false]);
  });
});
