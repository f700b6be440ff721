import { describe, expect, it } from "vitest";
import { DAY, dayOf, isRequest, requestOf, type Wanted } from "../src/ui/shares/form";
import { pathOf } from "../src/ui/shares/qr";

const NOW = new Date("2026-03-10T12:00:00").getTime();

const form = (some: Partial<Wanted>) =>
  requestOf(
    { path: "/a", uploads: false, password: "", end: "never", date: "", downloads: "", ...some },
    NOW,
  );

describe("the form for a link", () => {
  it("asks for what was chosen and nothing else", () => {
    expect(form({})).toEqual({ path: "/a" });
    expect(form({ password: "12345678", end: "7", downloads: " 20 " })).toEqual({
      path: "/a",
      password: "12345678",
      expires_in: 7 * DAY,
      max_downloads: 20,
    });
    expect(form({ uploads: true, downloads: "no number" })).toEqual({ path: "/a", uploads: true });
  });

  it("ends with the last second of a day", () => {
    expect(form({ end: "date", date: "2026-03-10" })).toMatchObject({ expires_in: DAY / 2 - 1 });
    expect(form({ end: "date", date: "2026-03-11" })).toMatchObject({ expires_in: 1.5 * DAY - 1 });
    expect(dayOf(new Date(NOW))).toBe("2026-03-10");
  });

  it("says what is wrong, all of it", () => {
    for (const date of ["2026-03-09", "2036-03-10", "", "soon"]) {
      expect(form({ end: "date", date })).toEqual({ date: "shares.dateWrong" });
    }
    for (const downloads of ["0", "-1", "1.5", "1e3", "many", "1000000001"]) {
      expect(form({ downloads })).toEqual({ downloads: "shares.downloadsWrong" });
    }
    const all = form({ password: "short", end: "date", downloads: "0" });
    expect(isRequest(all)).toBe(false);
    expect(Object.keys(all).sort()).toEqual(["date", "downloads", "password"]);
    // Eight bytes, as the server counts.
    expect(isRequest(form({ password: "密码密" }))).toBe(true);
  });
});

describe("a QR code", () => {
  it("is one path of runs", () => {
    const [x, o] = [true, false];
    expect(
      pathOf([
        [x, x, o],
        [o, o, x],
        [o, o, o],
      ]),
    ).toBe("M0 0h2v1h-2zM2 1h1v1h-1z");
  });
});
