import type { Item } from "./item";
import type { SpeedMeter } from "./speed";

/** All files together. */
export interface Totals {
  items: number;
  live: number;
  done: number;
  instant: number;
  failed: number;
  conflicts: number;
  paused: number;
  bytes: number;
  sent: number;
  speed: number | undefined;
  eta: number | undefined;
}

/** `meter` is that of all files, unless nothing moves. */
export function totalsOf(items: Item[], meter: SpeedMeter | undefined, now: number): Totals {
  const counts = { items: 0, live: 0, done: 0, instant: 0, failed: 0, conflicts: 0, paused: 0 };
  let [bytes, sent, left] = [0, 0, 0];
  for (const item of items) {
    if (item.state === "cancelled" || item.state === "skipped") continue;
    counts.items += 1;
    bytes += item.size;
    sent += item.sent;
    if (item.state === "done") {
      counts.done += 1;
      if (item.instant) counts.instant += 1;
    } else if (item.state === "failed") counts.failed += 1;
    else if (item.state === "conflict") counts.conflicts += 1;
    else if (item.state === "paused") counts.paused += 1;
    else {
      counts.live += 1;
      left += item.size - item.sent;
    }
  }
  const speed = meter?.speed();
  const eta = speed === undefined ? undefined : meter?.eta(left, now);
  return { ...counts, bytes, sent, speed, eta };
}
