import { describe, expect, it } from "vitest";
import {
  accepts,
  type Event,
  isLive,
  isMeant,
  isOver,
  next,
  type State,
} from "../src/upload/state";

const run = (state: State, ...events: Event[]) => events.reduce(next, state);

describe("the life of a file", () => {
  it("goes the whole way", () => {
    expect(run("waiting", "start", "hashed", "send", "sent", "complete")).toBe("done");
    expect(run("waiting", "start", "hashed", "complete")).toBe("done");
    expect(run("waiting", "hashed", "prove", "complete")).toBe("done");
  });

  it("sends what it cannot prove", () => {
    expect(run("waiting", "hashed", "prove", "send", "sent")).toBe("finishing");
  });

  it("pauses and goes on from every working state", () => {
    for (const events of [[], ["start"], ["hashed"], ["hashed", "prove"], ["hashed", "send"]]) {
      const paused = run("waiting", ...(events as Event[]), "pause");
      expect(paused).toBe("paused");
      expect(next(paused, "resume")).toBe("waiting");
    }
  });

  it("ignores what comes too late", () => {
    expect(run("waiting", "cancel", "hashed", "complete")).toBe("cancelled");
    expect(run("waiting", "start", "pause", "hashed", "sent")).toBe("paused");
    expect(run("waiting", "hashed", "complete", "fail", "pause", "cancel")).toBe("done");
  });

  it("lets the user decide on conflicts", () => {
    const conflict = run("waiting", "hashed", "send", "sent", "conflict");
    expect(conflict).toBe("conflict");
    expect(next(conflict, "decide")).toBe("waiting");
    expect(next(conflict, "skip")).toBe("skipped");
    expect(accepts("done", "retry")).toBe(false);
    expect(accepts("failed", "retry")).toBe(true);
  });

  it("is taken up again with all others only if it has failed", () => {
    expect([accepts("cancelled", "retry"), isMeant("cancelled", "retry")]).toEqual([true, false]);
    expect(isMeant("failed", "retry")).toBe(true);
    expect(isMeant("failed", "cancel")).toBe(true);
  });

  it("knows what is alive and what is over", () => {
    expect(isLive("finishing")).toBe(true);
    expect(isLive("paused")).toBe(false);
    expect(isOver("failed")).toBe(false);
    expect(isOver("done")).toBe(true);
  });
});
