import type { Signal } from "@preact/signals";
import type { Change } from "../upload/item";

/**
 * How long a change may wait for others to be shown together with it, in milliseconds. Who pauses
 * an upload wants to see it paused; who watches it does not read numbers any faster, and without a
 * graphics processor a frame takes 20 ms that the upload could have.
 */
const SHOWN_WITHIN: Record<Change, number> = { state: 120, bytes: 500 };

/** Counts a signal up. What comes first shows at once; what comes in crowds is merged. */
export function ticker(tick: Signal<number>): (change: Change) => void {
  let shown = Number.NEGATIVE_INFINITY;
  let due = Number.POSITIVE_INFINITY;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const show = () => {
    due = Number.POSITIVE_INFINITY;
    shown = performance.now();
    tick.value += 1;
  };
  return (change) => {
    const now = performance.now();
    const at = Math.max(now, shown + SHOWN_WITHIN[change]);
    if (at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(show, at - now);
  };
}
