import { describe, expect, it } from "vitest";
import { placeIn, readTree, type TreeEntry } from "../src/upload/tree";

const file = (name: string): TreeEntry => ({
  name,
  isFile: true,
  isDirectory: false,
  file: (resolve) => resolve(new File(["x"], name)),
});

/** A folder that hands its entries out in twos, as browsers do in hundreds. */
const folder = (name: string, children: TreeEntry[]): TreeEntry => ({
  name,
  isFile: false,
  isDirectory: true,
  createReader: () => {
    const rest = [...children];
    return { readEntries: (resolve) => resolve(rest.splice(0, 2)) };
  },
});

describe("a drop", () => {
  it("keeps its tree, reads every page of a folder, and names empty folders", async () => {
    const many = Array.from({ length: 7 }, (_, index) => file(`f${index}`));
    const drop = await readTree([
      file("top"),
      folder("a", [folder("b", many), folder("empty", []), file("x")]),
      new File(["y"], "plain"),
    ]);
    const names = drop.files.map((item) => item.relative).sort();
    expect(names).toEqual([...many.map((entry) => `a/b/${entry.name}`), "a/x", "plain", "top"]);
    expect(drop.emptyFolders).toEqual(["a/empty"]);
    expect(drop.unreadable).toEqual([]);
  });

  it("goes on past what cannot be read", async () => {
    const locked: TreeEntry = {
      name: "locked",
      isFile: false,
      isDirectory: true,
      createReader: () => ({ readEntries: (_, reject) => reject(new Error("denied")) }),
    };
    const gone: TreeEntry = {
      name: "gone",
      isFile: true,
      isDirectory: false,
      file: (_, reject) => reject(new Error("gone")),
    };
    const drop = await readTree([folder("d", [locked, gone, file("ok")])]);
    expect(drop.files.map((item) => item.relative)).toEqual(["d/ok"]);
    expect(drop.unreadable.sort()).toEqual(["d/gone", "d/locked"]);
  });

  it("ends in a tree that never does", async () => {
    const endless: TreeEntry = folder("d", []);
    endless.createReader = () => {
      const rest = [endless];
      return { readEntries: (resolve) => resolve(rest.splice(0, 1)) };
    };
    const drop = await readTree([endless]);
    expect(drop.unreadable).toHaveLength(1);
  });

  it("finds its place", () => {
    expect(placeIn("/", "a/b")).toBe("/a/b");
    expect(placeIn("/x", "a")).toBe("/x/a");
    expect(placeIn("/", "e\u0301")).toBe("/\u00e9");
  });
});
