import { describe, expect, it } from "vitest";
import { ApiError, problemOf } from "../src/api/error";
import {
  decodePath,
  encodePath,
  isBelow,
  isTooDeep,
  join,
  nameFault,
  nameOf,
  outermost,
  parentOf,
} from "../src/paths";
import { BadRuns, chunksOf, missingBytes } from "../src/upload/ranges";
import { Backoff, isAway, isRetryable, parseRetryAfter, waitBefore } from "../src/upload/retry";
import { SpeedMeter } from "../src/upload/speed";

describe("repetition", () => {
  it("waits longer each time, within bounds", () => {
    expect(waitBefore(0, 0)).toBe(100);
    expect(waitBefore(0, 1)).toBe(200);
    expect(waitBefore(3, 1)).toBe(1600);
    expect(waitBefore(1e9, 1)).toBe(10_000);
  });

  it("gives up after its limit, and at once when asked for too much patience", () => {
    const backoff = new Backoff(2, () => 1);
    expect(backoff.next()).toBe(200);
    expect(backoff.next(7_000)).toBe(7_000);
    expect(backoff.next()).toBeUndefined();
    expect(new Backoff(9).next(3_600_000)).toBeUndefined();
  });

  it("repeats only what may be different next time", () => {
    for (const status of [408, 425, 429, 500, 502, 503, 504]) {
      expect(isRetryable(status, "")).toBe(true);
    }
    for (const status of [400, 401, 403, 404, 409, 410, 412, 413, 422, 501, 507]) {
      expect(isRetryable(status, "")).toBe(false);
    }
    expect(isRetryable(409, "busy")).toBe(true);
    expect(isRetryable(429, "too-many-uploads")).toBe(false);
    expect(isAway(503) && !isAway(500)).toBe(true);
  });

  it("reads Retry-After in both forms", () => {
    const now = 784_111_777_000;
    expect(parseRetryAfter(" 3 ", now)).toBe(3_000);
    expect(parseRetryAfter("Sun, 06 Nov 1994 08:49:47 GMT", now)).toBe(10_000);
    expect(parseRetryAfter("Sun, 06 Nov 1994 08:00:00 GMT", now)).toBe(0);
    expect(parseRetryAfter("soon", now)).toBeUndefined();
    expect(parseRetryAfter(null, now)).toBeUndefined();
  });
});

describe("missing chunks", () => {
  it("are what the server asks for, the last one shorter", () => {
    const chunks = [
      ...chunksOf(
        [
          [0, 0],
          [2, 3],
        ],
        35,
        10,
      ),
    ];
    expect(chunks).toEqual([
      { index: 0, offset: 0, length: 10 },
      { index: 2, offset: 20, length: 10 },
      { index: 3, offset: 30, length: 5 },
    ]);
    expect(
      missingBytes(
        [
          [0, 0],
          [2, 3],
        ],
        35,
        10,
      ),
    ).toBe(25);
    expect([...chunksOf([], 0, 10)]).toEqual([]);
  });

  it("are refused when they cannot exist", () => {
    for (const run of [
      [2, 1],
      [0, 4],
      [-1, 0],
      [0.5, 1],
    ] as [number, number][]) {
      expect(() => [...chunksOf([run], 35, 10)]).toThrow(BadRuns);
    }
    expect(() => missingBytes([[0, 0]], 35, 0)).toThrow(BadRuns);
  });
});

describe("speed", () => {
  const fed = (meter: SpeedMeter, seconds: number, bytesPerSecond: number, from = 0) => {
    for (let now = from; now <= from + seconds * 1000; now += 100) {
      meter.add(bytesPerSecond / 10, now);
    }
    return meter;
  };

  it("is silent until it means something, then right", () => {
    expect(fed(new SpeedMeter(), 1, 1e6).speed()).toBeUndefined();
    const speed = fed(new SpeedMeter(), 5, 1e6).speed();
    expect(speed).toBeGreaterThan(0.9e6);
    expect(speed).toBeLessThan(1.2e6);
  });

  it("does not jump when one chunk comes late", () => {
    const meter = fed(new SpeedMeter(), 20, 1e6);
    meter.add(0, 21_000);
    const dipped = meter.speed() ?? 0;
    expect(dipped).toBeGreaterThan(0.8e6);
  });

  it("counts down instead of flickering", () => {
    const meter = fed(new SpeedMeter(), 10, 1e6);
    const first = meter.eta(60e6, 10_000) ?? 0;
    expect(meter.eta(59.5e6, 11_000)).toBeCloseTo(first - 1, 5);
    expect(meter.eta(600e6, 12_000)).toBeGreaterThan(first * 5);
  });

  it("does not count pauses", () => {
    const meter = fed(new SpeedMeter(), 10, 1e6);
    const before = meter.speed();
    meter.pause();
    meter.add(0, 500_000);
    expect(meter.speed()).toBe(before);
  });
});

describe("paths", () => {
  it("refuse names the server would refuse", () => {
    expect(nameFault("")).toBe("empty");
    expect(nameFault("..")).toBe("relative");
    expect(nameFault("a/b")).toBe("slash");
    expect(nameFault("a\u0085")).toBe("control");
    expect(nameFault("é".repeat(128))).toBe("long");
    expect(nameFault("<b>\u202Egnp.exe")).toBeUndefined();
    expect(isTooDeep("/d".repeat(65))).toBe(true);
  });

  it("survive an address", () => {
    for (const path of ["/", "/a b/#?%2F&=+", "/\u202Egnp.exe", "/目录/<b>.txt", "/\\back"]) {
      expect(decodePath(encodePath(path))).toBe(path);
    }
    expect(decodePath("/%zz")).toBeUndefined();
  });

  it("have parts", () => {
    expect([nameOf("/a/b"), parentOf("/a/b"), parentOf("/a"), nameOf("/")]).toEqual([
      "b",
      "/a",
      "/",
      "",
    ]);
    expect(outermost(["/a/b", "/a", "/ab", "/c/d/e", "/c/d/e/f/g"])).toEqual([
      "/a",
      "/ab",
      "/c/d/e",
    ]);
    expect(outermost(["/"])).toEqual(["/"]);
    expect([join("/", "a"), join("/a", "b")]).toEqual(["/a", "/a/b"]);
    expect([isBelow("/a/b", "/a"), isBelow("/ab", "/a"), isBelow("/a", "/")]).toEqual([
      true,
      false,
      true,
    ]);
  });
});

describe("problems", () => {
  it("are understood whoever sends them", () => {
    const body = JSON.stringify({ type: "/problems/busy", title: "x", status: 409, detail: "y" });
    const error = new ApiError(problemOf(409, "application/problem+json", body));
    expect([error.slug, error.status, error.message]).toEqual(["busy", 409, "y"]);
    for (const garbage of ["", "{", "[]", "null"]) {
      expect(new ApiError(problemOf(502, "application/problem+json", garbage)).slug).toBe("");
    }
    expect(new ApiError(problemOf(504, "text/html", "<h1>")).status).toBe(504);
  });
});
