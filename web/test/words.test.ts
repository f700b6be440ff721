import { describe, expect, it } from "vitest";
import { ApiError, NetworkError } from "../src/api/error";
import { bytes, duration, percent, plain, reveal } from "../src/app/format";
import { wordsFor } from "../src/app/words";
import { tn } from "../src/i18n";
import { Changed } from "../src/upload/item";

describe("numbers", () => {
  it("have units that people know", () => {
    expect(bytes(0)).toBe("0\u00a0B");
    expect(bytes(1023)).toBe("1,023\u00a0B");
    expect(bytes(1536)).toBe("1.5\u00a0KiB");
    expect(bytes(107374182400)).toBe("100\u00a0GiB");
  });

  it("are times of two units at most", () => {
    expect(duration(0.2)).toBe("1s");
    expect(duration(61)).toBe("1m 1s");
    expect(duration(3600)).toBe("1h");
    expect(duration(7322)).toBe("2h 2m");
  });

  it("are never complete too early", () => {
    expect([percent(0, 0), percent(999, 1000), percent(5, 5)]).toEqual(["100%", "99%", "100%"]);
  });

  it("choose the form of the text", () => {
    expect(tn("delete.done", 1, { name: "a" })).toBe("“a” is in the trash");
    expect(tn("delete.done", 1200, { name: "a" })).toBe("1,200 items are in the trash");
  });
});

describe("names", () => {
  it("show what would deceive", () => {
    expect(reveal("safe\u202Egnp.exe")).toEqual([
      { text: "safe", hidden: false },
      { text: "U+202E", hidden: true },
      { text: "gnp.exe", hidden: false },
    ]);
    expect(plain("a\u200bb")).toBe("\u2068a[U+200B]b\u2069");
  });

  it("leave scripts and emoji alone", () => {
    for (const name of ["季度报告.pdf", "تقرير.txt", "👩‍👩‍👧.png", "naïve café"]) {
      const shown = reveal(name);
      expect(shown.every((piece) => !piece.hidden)).toBe(true);
      expect(shown.map((piece) => piece.text).join("")).toBe(name);
    }
    expect(plain("")).toBe("");
  });
});

describe("errors", () => {
  const problem = (slug: string, status: number) =>
    new ApiError({ type: `/problems/${slug}`, title: "", status, request_id: "r-1" });

  it("say what to do", () => {
    expect(wordsFor(problem("quota-exceeded", 413))).toMatch(/Empty the trash/);
    expect(wordsFor(problem("internal", 500))).toMatch(/r-1/);
    expect(wordsFor(new NetworkError())).toMatch(/connection/);
    expect(wordsFor(new Changed())).toMatch(/changed/);
  });

  it("have words when nobody has seen them before", () => {
    expect(wordsFor(problem("brand-new", 418))).toMatch(/Something went wrong/);
    expect(wordsFor(new ApiError({ type: "about:blank", title: "", status: 504 }))).toMatch(/away/);
    expect(wordsFor("?")).toMatch(/Something went wrong/);
  });
});
