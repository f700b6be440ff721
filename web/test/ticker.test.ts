import { signal } from "@preact/signals";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ticker } from "../src/app/ticker";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("what comes first shows at once, and what follows together", () => {
  const tick = signal(0);
  const tell = ticker(tick);
  tell("bytes");
  vi.advanceTimersByTime(0);
  expect(tick.value).toBe(1);
  for (let times = 0; times < 10; times++) tell("bytes");
  vi.advanceTimersByTime(499);
  expect(tick.value).toBe(1);
  vi.advanceTimersByTime(1);
  expect(tick.value).toBe(2);
  vi.advanceTimersByTime(5_000);
  expect(tick.value).toBe(2);
});

test("what can be done shows soon, whatever is waiting to be shown", () => {
  const tick = signal(0);
  const tell = ticker(tick);
  tell("state");
  vi.advanceTimersByTime(0);
  tell("bytes");
  vi.advanceTimersByTime(100);
  tell("state");
  tell("bytes");
  vi.advanceTimersByTime(20);
  expect(tick.value).toBe(2);
  vi.advanceTimersByTime(5_000);
  expect(tick.value).toBe(2);
});
