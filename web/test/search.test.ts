import { beforeAll, describe, expect, it, vi } from "vitest";
import type { Entry } from "../src/api/types";
import type { Folder as FolderType } from "../src/ui/drive/folder";

/** A search that is answered when the test says so. */
interface Asked {
  q: string;
  signal: AbortSignal;
  answer(names: string[], more?: boolean): void;
}

const asked: Asked[] = [];
let listed = ["all"];
/** The second page. */
let rest: string[] = [];
const entry = (name: string) => ({ kind: "folder", id: name, path: `/${name}` }) as Entry;

vi.mock("../src/app/services", () => ({
  api: {
    list: async (_path: string, { cursor }: { cursor?: string }, signal: AbortSignal) => {
      await settled();
      signal.throwIfAborted();
      return {
        kind: "folder",
        entries: (cursor ? rest : listed).map(entry),
        next_cursor: cursor || rest.length === 0 ? undefined : "next",
      };
    },
    search: (_path: string, q: string, _limit: number, signal: AbortSignal) =>
      new Promise((resolve) => {
        const answer = (names: string[], more = false) =>
          resolve({ entries: names.map(entry), more });
        asked.push({ q, signal, answer });
      }),
  },
}));

const settled = () => new Promise((resolve) => setTimeout(resolve));
const shown = (folder: FolderType) => folder.entries.value.map((one) => one.id);

describe("a search", () => {
  it("shows what was asked for last, whatever is answered last", async () => {
    const { Folder } = await import("../src/ui/drive/folder");
    const folder = new Folder("/");
    folder.find("");
    await settled();
    expect(shown(folder)).toEqual(["all"]);
    folder.find("a");
    expect(shown(folder), "a folder is no result").toEqual([]);
    folder.find("ab");
    const [first, second] = asked;
    expect([first?.q, second?.q]).toEqual(["a", "ab"]);
    expect(first?.signal.aborted).toBe(true);
    second?.answer(["ab"], true);
    await settled();
    first?.answer(["a", "ab"]);
    await settled();
    expect(shown(folder)).toEqual(["ab"]);
    expect(folder.isCutOff.value).toBe(true);
    expect(folder.hasMore).toBe(false);
    expect(folder.loading.value).toBe(false);
    folder.find("abc");
    expect(shown(folder), "they stay until others are there").toEqual(["ab"]);
    folder.find("");
    await settled();
    asked[2]?.answer(["abc"]);
    await settled();
    expect(shown(folder)).toEqual(["all"]);
    expect(folder.isCutOff.value).toBe(false);
  });
});

describe("the next page", () => {
  it("comes also when the folder was loaded anew while it was wanted", async () => {
    const { Folder } = await import("../src/ui/drive/folder");
    listed = ["a"];
    rest = ["b"];
    const folder = new Folder("/");
    await folder.reload();
    expect(shown(folder)).toEqual(["a"]);
    // Before it has come, and before it is asked for.
    for (const first of [() => folder.more(), () => folder.reload()]) {
      const under = first();
      const anew = folder.reload();
      void folder.more();
      // And again.
      await Promise.all([under, anew, folder.reload()]);
      expect(shown(folder)).toEqual(["a", "b"]);
    }
    expect(folder.loading.value).toBe(false);
    rest = [];
    await folder.reload();
    expect(shown(folder)).toEqual(["a"]);
  });
});

describe("the keyboard", () => {
  const folderOf = async (names: string[]) => {
    const { Folder } = await import("../src/ui/drive/folder");
    listed = names;
    const folder = new Folder("/");
    await folder.reload();
    const change = async (names: string[]) => {
      listed = names;
      await folder.reload();
      return folder.entries.value[folder.focused.value]?.id;
    };
    return { folder, change };
  };

  it("stays on its entry when others come and go, and beside it when it is gone", async () => {
    const { folder, change } = await folderOf(["b", "c", "d"]);
    folder.walkTo(1, false);
    expect(await change(["a", "b", "c", "d"]), "one has arrived").toBe("c");
    expect(await change(["d", "c", "b", "a"]), "in another order").toBe("c");
    expect(await change(["d", "b", "a"]), "the next").toBe("b");
    expect(await change(["d"]), "the last").toBe("d");
    expect(await change([])).toBeUndefined();
    expect(folder.focused.value).toBe(0);
  });

  it("begins at the first entry, whichever that is by then", async () => {
    const { folder, change } = await folderOf(["b"]);
    expect(await change(["a", "b"])).toBe("a");
    folder.focusOn(0);
    expect(await change(["0", "a", "b"])).toBe("a");
  });
});

describe("addresses", () => {
  beforeAll(() => {
    vi.stubGlobal("location", { pathname: "/", search: "" });
    vi.stubGlobal("window", { addEventListener() {} });
  });

  it("say what is searched for, and where", async () => {
    const { driveUrl, parse } = await import("../src/app/router");
    for (const [path, query] of [
      ["/", ""],
      ["/", "a b&q=c?#%2F+"],
      ["/a?b/c&d", "季度 é"],
    ] as const) {
      expect(parse(driveUrl(path, query))).toEqual({ page: "drive", path, query });
    }
    expect(parse("/trash")).toEqual({ page: "trash" });
    expect(parse("/account?q=x")).toEqual({ page: "account" });
    const long = parse(driveUrl("/", "x".repeat(500)));
    expect(long).toMatchObject({ query: "x".repeat(60) });
  });
});
