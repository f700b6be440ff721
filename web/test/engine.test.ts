import { blake3 } from "hash-wasm";
import { describe, expect, it } from "vitest";
import { NetworkError } from "../src/api/error";
import { Engine } from "../src/upload/engine";
import type { Hasher } from "../src/upload/hasher";
import { Changed, type Item } from "../src/upload/item";
import {
  CHUNK,
  content,
  engineOf,
  FakeMemory,
  FakeServer,
  fileOf,
  hasher,
  problem,
  settled,
  until,
} from "./fake";

const one = (items: Item[]): Item => {
  const [item] = items;
  if (!item) throw new Error("no item");
  return item;
};

/** A file whose content is another one after it was hashed. */
class Changing extends File {
  static reads = 0;
  override slice(): Blob {
    Changing.reads += 1;
    return new Blob([content(10, Changing.reads)]);
  }
}

describe("an upload", () => {
  it("arrives in chunks, a few at a time", async () => {
    const server = new FakeServer();
    const bytes = content(20 * CHUNK + 7);
    const engine = engineOf(server);
    const items = engine.add([{ file: fileOf(bytes), path: "/f" }]);
    await settled(items);
    expect(one(items).state).toBe("done");
    expect(one(items).sent).toBe(bytes.length);
    expect(server.files.get("/f")).toEqual(bytes);
    expect(server.mostInFlight).toBe(4);
    expect(engine.totals(0)).toMatchObject({ done: 1, live: 0, sent: bytes.length });
  });

  it("sends no byte of what the account has", async () => {
    const server = new FakeServer();
    await server.hold("/old", content(5_000));
    const items = engineOf(server).add([{ file: fileOf(content(5_000)), path: "/new" }]);
    await settled(items);
    expect(one(items)).toMatchObject({ state: "done", instant: true, sent: 5_000 });
    expect(server.log).toEqual(["batch 1"]);
  });

  it("proves that it has what others have", async () => {
    const server = new FakeServer();
    const bytes = content(5_000);
    server.foreign.set(await blake3(bytes), bytes);
    const items = engineOf(server).add([{ file: fileOf(bytes), path: "/f" }]);
    await settled(items);
    expect(one(items)).toMatchObject({ state: "done", instant: true });
    expect(server.log.some((line) => line.startsWith("chunk"))).toBe(false);
  });

  it("sends what it cannot prove", async () => {
    const server = new FakeServer();
    const bytes = content(3 * CHUNK);
    server.foreign.set(await blake3(bytes), content(3 * CHUNK, 9));
    const items = engineOf(server).add([{ file: fileOf(bytes), path: "/f" }]);
    await settled(items);
    expect(one(items)).toMatchObject({ state: "done", instant: false });
    expect(server.files.get("/f")).toEqual(bytes);
  });

  it("of thousands of small files asks in batches and sends them whole", async () => {
    const server = new FakeServer();
    server.directBelow = CHUNK;
    const files = Array.from({ length: 2_000 }, (_, index) => ({
      file: fileOf(content(16, index), `f${index}`),
      path: `/d/${index}`,
    }));
    const items = engineOf(server).add(files);
    await settled(items);
    expect(items.every((item) => item.state === "done")).toBe(true);
    expect(server.files.size).toBe(2_000);
    expect(server.mostInFlight).toBeLessThanOrEqual(4);
    expect(server.log.filter((line) => line.startsWith("batch")).length).toBeLessThan(60);
  });

  it("of nothing works", async () => {
    const server = new FakeServer();
    const items = engineOf(server).add([{ file: fileOf(content(0)), path: "/empty" }]);
    await settled(items);
    expect(one(items).state).toBe("done");
    expect(server.files.get("/empty")).toEqual(content(0));
  });
});

describe("trouble", () => {
  it("is outlived: errors of the server, broken connections", async () => {
    const server = new FakeServer();
    let count = 0;
    server.trouble = () => {
      count += 1;
      if (count % 5 === 0) throw problem(503, "unavailable");
      if (count % 7 === 0) throw new NetworkError();
    };
    const bytes = content(12 * CHUNK);
    const items = engineOf(server).add([{ file: fileOf(bytes), path: "/f" }]);
    await settled(items);
    expect(one(items).state).toBe("done");
    expect(server.files.get("/f")).toEqual(bytes);
  });

  it("of a server that is away pauses everything until it is back", async () => {
    const server = new FakeServer();
    const engine = engineOf(server);
    const items = engine.add([{ file: fileOf(content(9 * CHUNK)), path: "/f" }]);
    server.trouble = (call) => {
      if (call.endsWith("/3")) server.there = false;
      server.trouble = () => {};
      if (!server.there) throw new NetworkError();
    };
    await until(() => server.log.some((line) => line.startsWith("chunk")));
    server.there = false;
    await until(() => engine.gate.away, "the gate to close");
    expect(engine.busy).toBe(true);
    const asked = server.log.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.log.length - asked).toBeLessThan(5);
    server.there = true;
    engine.gate.hurry();
    await settled(items);
    expect(one(items).state).toBe("done");
  });

  it("that will not go away is a failure, and can be tried again", async () => {
    const server = new FakeServer();
    server.trouble = () => {
      throw problem(413, "quota-exceeded");
    };
    const engine = engineOf(server);
    const items = engine.add([{ file: fileOf(content(CHUNK)), path: "/f" }]);
    await settled(items);
    expect(one(items)).toMatchObject({ state: "failed", error: { slug: "quota-exceeded" } });
    server.trouble = () => {};
    engine.all("retry");
    await settled(items);
    expect(one(items).state).toBe("done");
  });

  it("starts over when the upload is gone", async () => {
    const server = new FakeServer();
    let dropped = false;
    server.trouble = (call) => {
      if (dropped || !call.endsWith("/2")) return;
      dropped = true;
      server.open.clear();
    };
    const items = engineOf(server).add([{ file: fileOf(content(6 * CHUNK)), path: "/f" }]);
    await settled(items);
    expect(one(items).state).toBe("done");
  });

  it("asks again by hash when it is unknown whether a small file has arrived", async () => {
    const server = new FakeServer();
    server.directBelow = CHUNK;
    const store = server.putContent.bind(server);
    server.putContent = async (...args) => {
      await store(...args);
      throw new NetworkError();
    };
    const items = engineOf(server).add([{ file: fileOf(content(100)), path: "/f" }]);
    await settled(items);
    expect(one(items)).toMatchObject({ state: "done", instant: true });
  });

  it("sends again what the server has lost", async () => {
    const server = new FakeServer();
    let lost = false;
    server.trouble = (call) => {
      const [open] = server.open.values();
      if (lost || !call.startsWith("complete")) return;
      lost = true;
      open?.chunks.delete(1);
    };
    const items = engineOf(server).add([{ file: fileOf(content(4 * CHUNK)), path: "/f" }]);
    await settled(items);
    expect(one(items).state).toBe("done");
    expect(server.log.filter((line) => line.startsWith("complete"))).toHaveLength(2);
  });

  it("notices that the file changed between hashing and sending", async () => {
    const server = new FakeServer();
    const file = new Changing([content(10)], "f");
    const engine = engineOf(server);
    const items = engine.add([{ file, path: "/f" }]);
    await settled(items);
    expect(one(items).error).toBeInstanceOf(Changed);
    expect(server.files.size).toBe(0);
    expect(server.open.size).toBe(0);
  });
});

describe("the user", () => {
  const held = async () => {
    const server = new FakeServer();
    let release = () => {};
    const holding = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.trouble = (call) => (/chunk .*\/[4-9]/.test(call) ? holding : undefined);
    const memory = new FakeMemory();
    const engine = engineOf(server, memory);
    const bytes = content(10 * CHUNK);
    const items = engine.add([{ file: fileOf(bytes), path: "/f" }]);
    await until(() => server.log.filter((line) => line.startsWith("chunk")).length >= 5);
    return { server, engine, item: one(items), bytes, memory, release };
  };

  it("pauses, and goes on with what is missing", async () => {
    const { server, engine, item, bytes, release } = await held();
    engine.pause(item);
    expect(item.state).toBe("paused");
    expect(engine.busy).toBe(false);
    release();
    await until(() => server.inFlight === 0);
    const before = server.log.length;
    engine.resume(item);
    await settled([item]);
    expect(item.state).toBe("done");
    expect(server.files.get("/f")).toEqual(bytes);
    const after = server.log.slice(before);
    expect(after.some((line) => line.startsWith("status"))).toBe(true);
    expect(after.filter((line) => line.startsWith("chunk")).length).toBeLessThan(10);
  });

  it("cancels, and nothing stays behind", async () => {
    const { server, engine, item, release } = await held();
    engine.cancel(item);
    release();
    await until(() => server.open.size === 0, "the upload to go");
    expect(item.state).toBe("cancelled");
    engine.clear();
    expect(engine.items).toHaveLength(0);
  });

  it("comes back after a crash and goes on with the same file", async () => {
    const first = await held();
    first.engine.reset();
    first.release();
    await until(() => first.server.inFlight === 0);
    const [left] = first.server.open.keys();
    const engine = engineOf(first.server, first.memory);
    engine.setUnfinished([first.server.view(left ?? "")]);
    const before = first.server.log.length;
    const items = engine.add([{ file: fileOf(first.bytes), path: "/f" }]);
    await settled(items);
    expect(one(items).state).toBe("done");
    expect(first.server.files.get("/f")).toEqual(first.bytes);
    const after = first.server.log.slice(before);
    expect(after.some((line) => line.startsWith("create"))).toBe(false);
    expect(after.filter((line) => line.startsWith("chunk")).length).toBeLessThan(10);
  });

  it("comes back with another file, which does not go on there", async () => {
    const { server, engine, item, memory, release } = await held();
    engine.pause(item);
    release();
    const [left] = server.open.keys();
    memory.set(left ?? "", { digest: "another", key: "" });
    const again = engineOf(server, memory);
    again.setUnfinished([server.view(left ?? "")]);
    const other = content(10 * CHUNK, 5);
    const items = again.add([{ file: fileOf(other), path: "/f" }]);
    await settled(items);
    expect(server.files.get("/f")).toEqual(other);
  });

  it("decides on conflicts, once or for all", async () => {
    const server = new FakeServer();
    for (const path of ["/a", "/b", "/c"]) await server.hold(path, content(50));
    const engine = engineOf(server);
    const [a, b, c] = engine.add(
      ["/a", "/b", "/c"].map((path, index) => ({ file: fileOf(content(60, index + 5)), path })),
    );
    if (!a || !b || !c) throw new Error("no items");
    await settled([a, b, c]);
    expect([a, b, c].map((item) => item.state)).toEqual(["conflict", "conflict", "conflict"]);
    engine.decide(a, "skip", false);
    engine.decide(b, "rename", true);
    await settled([b, c]);
    expect(a.state).toBe("skipped");
    expect([...server.files.keys()].sort()).toEqual(["/a", "/b", "/b (1)", "/c", "/c (1)"]);
    const later = engine.add([{ file: fileOf(content(70, 3)), path: "/a" }]);
    await settled(later);
    expect(one(later).state).toBe("done");
  });

  it("pauses while a batch is being asked about", async () => {
    const server = new FakeServer();
    let answer = () => {};
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    server.trouble = (call) => (call.startsWith("batch") ? asked : undefined);
    const engine = engineOf(server);
    const item = one(engine.add([{ file: fileOf(content(3 * CHUNK)), path: "/f" }]));
    await until(() => server.log.length > 0);
    engine.pause(item);
    engine.resume(item);
    answer();
    await settled([item]);
    expect(item.state).toBe("done");
    await until(() => server.open.size === 0, "the forgotten upload to go");
  });
});

describe("a large file", () => {
  /** Everything above a few chunks is large here. */
  const LARGE = 4 * CHUNK;

  /** Hashing ends when it is told to. */
  const heldHash = () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow: Hasher = {
      ...hasher,
      hash: async (file, signal, onBytes) => {
        await held;
        return hasher.hash(file, signal, onBytes);
      },
    };
    return { slow, release };
  };

  it("is sent while it is being hashed", async () => {
    const server = new FakeServer();
    const { slow, release } = heldHash();
    const engine = new Engine(server, slow, new FakeMemory().port, { sideBySide: LARGE });
    const bytes = content(9 * CHUNK);
    const items = engine.add([{ file: fileOf(bytes), path: "/f" }]);
    await until(() => one(items).sent === bytes.length, "every byte to be sent");
    expect(one(items).state).toBe("sending");
    expect(server.log.some((line) => line.startsWith("complete"))).toBe(false);
    release();
    await settled(items);
    expect(one(items).state).toBe("done");
    expect(server.files.get("/f")).toEqual(bytes);
    expect(server.log.filter((line) => line.startsWith("create"))).toHaveLength(1);
  });

  it("stops being sent when the server turns out to have it", async () => {
    const server = new FakeServer();
    const bytes = content(40 * CHUNK);
    server.foreign.set(await blake3(bytes), bytes);
    const { slow, release } = heldHash();
    server.trouble = (call) => {
      if (call.endsWith("/4")) release();
      // Whatever comes later is in the air for as long as it takes.
      return /chunk .*\/([5-9]|\d\d)$/.test(call) ? new Promise<void>(() => {}) : undefined;
    };
    const engine = new Engine(server, slow, new FakeMemory().port, { sideBySide: LARGE });
    const sent = server.putChunk.bind(server);
    server.putChunk = (id, index, body, signal) =>
      Promise.race([
        sent(id, index, body, signal),
        new Promise<never>((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        }),
      ]);
    const items = engine.add([{ file: fileOf(bytes), path: "/f" }]);
    await settled(items);
    expect(one(items)).toMatchObject({ state: "done", instant: true });
    await until(() => server.open.size === 0, "the upload under way to be cancelled");
  });

  it("that changed meanwhile does not stay", async () => {
    const server = new FakeServer();
    const engine = engineOf(server, new FakeMemory(), 10);
    const items = engine.add([{ file: new Changing([content(10)], "f"), path: "/f" }]);
    await settled(items);
    expect(one(items).error).toBeInstanceOf(Changed);
    expect(server.files.size).toBe(0);
  });

  it("that is there already is no conflict", async () => {
    const server = new FakeServer();
    const bytes = content(9 * CHUNK);
    await server.hold("/f", bytes);
    await server.hold("/g", content(5));
    const engine = engineOf(server, new FakeMemory(), LARGE);
    const items = engine.add([
      { file: fileOf(bytes), path: "/f" },
      { file: fileOf(content(9 * CHUNK, 3)), path: "/g" },
    ]);
    await settled(items);
    expect(items.map((item) => item.state)).toEqual(["done", "conflict"]);
  });

  it("is paused with its hash, and goes on", async () => {
    const server = new FakeServer();
    const { slow, release } = heldHash();
    const engine = new Engine(server, slow, new FakeMemory().port, { sideBySide: LARGE });
    const bytes = content(9 * CHUNK);
    const items = engine.add([{ file: fileOf(bytes), path: "/f" }]);
    await until(() => one(items).sent > 0);
    engine.pause(one(items));
    release();
    await until(() => server.inFlight === 0);
    engine.resume(one(items));
    await settled(items);
    expect(one(items).state).toBe("done");
    expect(server.files.get("/f")).toEqual(bytes);
    expect(server.log.filter((line) => line.startsWith("create"))).toHaveLength(1);
  });
});
