import type { Signal } from "@preact/signals";

/** What is shown changes this often at most, in milliseconds. */
const SHOW_EVERY = 120;

/** Counts a signal up. What the user does shows at once; what comes in crowds is merged. */
export function ticker(tick: Signal<number>): () => void {
  let shown = 0;
  let showing = false;
  return () => {
    if (showing) return;
    showing = true;
    const wait = Math.max(0, shown + SHOW_EVERY - performance.now());
    setTimeout(() => {
      showing = false;
      shown = performance.now();
      tick.value += 1;
    }, wait);
  };
}
