/** Speed and remaining time that people can read: smoothed, and silent until they mean something. */

/** After this long an old sample counts half. Shorter jumps with every chunk, longer lags. */
const HALF_LIFE = 4_000;
/** Samples closer together than this are merged: a burst of events is no speed. */
const SHORTEST_SAMPLE = 250;
/** No estimate before so much time has been measured. */
const WARM_UP = 2_000;
/** A new estimate replaces the shown one only when it differs by more than this part. */
const HYSTERESIS = 0.1;

export class SpeedMeter {
  private pending = 0;
  private last: number | undefined;
  private measured = 0;
  private weighted = 0;
  private shown: { eta: number; at: number } | undefined;

  /** `bytes` were moved since the last call; `now` in milliseconds of a clock that never jumps. */
  add(bytes: number, now: number): void {
    this.pending += bytes;
    if (this.last === undefined) {
      this.last = now;
      return;
    }
    const elapsed = now - this.last;
    if (elapsed < SHORTEST_SAMPLE) return;
    const decay = 0.5 ** (elapsed / HALF_LIFE);
    // The weight of all samples so far sums up to 1 - 0.5^(measured / HALF_LIFE), which `speed`
    // divides by, so the first seconds are not biased towards zero.
    this.weighted = this.weighted * decay + (this.pending / elapsed) * (1 - decay);
    this.measured += elapsed;
    this.pending = 0;
    this.last = now;
  }

  /** Nothing is being measured for a while: the pause is no slowness. */
  pause(): void {
    this.last = undefined;
    this.pending = 0;
    this.shown = undefined;
  }

  /** Bytes per second; `undefined` until enough was measured. */
  speed(): number | undefined {
    if (this.measured < WARM_UP) return undefined;
    return (this.weighted / (1 - 0.5 ** (this.measured / HALF_LIFE))) * 1000;
  }

  /** Seconds until `remaining` bytes are moved. It counts down and only jumps when it was wrong. */
  eta(remaining: number, now: number): number | undefined {
    const speed = this.speed();
    if (speed === undefined || speed < 1) return undefined;
    const fresh = remaining / speed;
    const old = this.shown && Math.max(0, this.shown.eta - (now - this.shown.at) / 1000);
    const keep = old !== undefined && Math.abs(fresh - old) <= Math.max(2, fresh * HYSTERESIS);
    if (!keep) this.shown = { eta: fresh, at: now };
    return keep ? old : fresh;
  }
}
