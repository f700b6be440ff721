import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";

const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);

describe("the languages", () => {
  it("have the same keys", () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  });

  it("have the same placeholders", () => {
    for (const [key, text] of Object.entries(en)) {
      const other = zh[key as keyof typeof en];
      expect(new Set(placeholders(other)), key).toEqual(new Set(placeholders(text)));
    }
  });

  it("have words for every problem the server knows", () => {
    const table = new URL("../../service/src/problem/kind.rs", import.meta.url);
    const rows = readFileSync(table, "utf8").matchAll(/^ {4}[A-Z]\w+ "([a-z0-9-]+)" "/gm);
    const slugs = [...rows].map(([, slug]) => slug);
    expect(slugs.length).toBeGreaterThan(40);
    for (const slug of slugs) expect(en, slug).toHaveProperty([`problem.${slug}`]);
  });
});
