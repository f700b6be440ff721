import { beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError, NetworkError } from "../src/api/error";
import type { Change, Entry } from "../src/api/types";
import { forgetAll } from "../src/app/over";

const server = vi.hoisted(() => ({
  changes: [] as number[],
  restored: [] as string[],
  /** Calls that change something and are answered. */
  good: Number.POSITIVE_INFINITY,
}));
const told = vi.hoisted(() => ({
  offers: [] as { run(): void; open: boolean }[],
  bad: 0,
  texts: [] as string[],
}));

vi.mock("../src/app/router", () => ({ go() {} }));
vi.mock("../src/app/download", () => ({}));
vi.mock("../src/app/services", async () => {
  const { signal } = await import("@preact/signals");
  return {
    arrivals: signal({ count: 0, paths: [] }),
    api: {
      change: async (changes: Change[]) => {
        if (server.changes.length >= server.good) throw new NetworkError();
        server.changes.push(changes.length);
      },
      copy: async (from: string, to: string, rule: string) => {
        const problem = { type: "/problems/name-conflict", title: "", status: 409 };
        if (from.endsWith("taken") && rule === "fail") throw new ApiError(problem);
        return { path: to };
      },
      restore: async (id: string) => void server.restored.push(id),
    },
  };
});
vi.mock("../src/ui/parts/toast", () => ({
  tell: (text: string) => void told.texts.push(text),
  tellError: () => {
    told.bad += 1;
  },
  offer: (_text: string, { run }: { run(): void }) => {
    const one = { run, open: true };
    told.offers.push(one);
    return () => {
      one.open = false;
    };
  },
}));

const { arrivals } = await import("../src/app/services");
const { copyAll, removeAll, undo } = await import("../src/ui/drive/actions");
const entries = (...names: string[]) =>
  names.map((name) => ({ kind: "file", id: name, path: `/${name}` }) as Entry);
const settled = () => new Promise((resolve) => setTimeout(resolve));

beforeEach(() => {
  forgetAll();
  Object.assign(server, { changes: [], restored: [], good: Number.POSITIVE_INFINITY });
  Object.assign(told, { offers: [], bad: 0, texts: [] });
});

describe("undo", () => {
  it("is done once, by the key or by what is offered", async () => {
    await removeAll(entries("a"), () => {});
    undo();
    undo();
    told.offers[0]?.run();
    await settled();
    expect(server.restored).toEqual(["a"]);
    expect(told.offers[0]?.open).toBe(false);
  });

  it("of an earlier deletion leaves the later one to the key", async () => {
    await removeAll(entries("a"), () => {});
    await removeAll(entries("b"), () => {});
    told.offers[0]?.run();
    undo();
    await settled();
    expect(server.restored).toEqual(["a", "b"]);
  });

  it("is offered for what was deleted before something went wrong", async () => {
    server.good = 1;
    const many = Array.from({ length: 1_500 }, (_, index) => `f${index}`);
    await removeAll(entries(...many), () => {});
    expect(told.bad).toBe(1);
    undo();
    await settled();
    expect(server.restored.sort()).toEqual(many.slice(0, 1_000).sort());
  });

  it("is nothing for who signs in next", async () => {
    await removeAll(entries("a"), () => {});
    forgetAll();
    undo();
    await settled();
    expect(server.restored).toEqual([]);
  });
});

describe("a copy", () => {
  it("asks what to do with names that are taken, or tells if it cannot", async () => {
    const asked: string[][] = [];
    const ask = (paths: string[]) => asked.push(paths) === 1;
    const copy = () => copyAll(["/a", "/taken"], "/to", "fail", ask);
    await copy();
    expect(asked).toEqual([["/taken"]]);
    expect(told.texts).toEqual([expect.stringMatching(/a.* is now in .*to/)]);
    expect(arrivals.value.paths).toEqual(["/to/a"]);
    await copy();
    expect(told.texts.at(-1)).toMatch(/taken.* was not copied: .*to/);
  });
});
