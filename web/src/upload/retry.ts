/** When and how long to wait before a request is repeated. The rules are those of the CLI. */

/** The first wait; each further one is twice as long. */
const FIRST_WAIT = 200;
/** No wait of ours is longer. */
const LONGEST_WAIT = 10_000;
/** A server that asks for more patience than this gets none: the user may try again later. */
const LONGEST_RETRY_AFTER = 120_000;

/** Answers that may be different next time. 501 and 507 do not go away by waiting. */
export function isRetryable(status: number, slug: string): boolean {
  if (status === 408 || status === 425) return true;
  if (status === 429) return slug !== "too-many-uploads" && slug !== "too-many-tokens";
  // Another request of ours, whose connection broke, still holds the chunk.
  if (status === 409) return slug === "busy" || slug === "preempted";
  return status >= 500 && status !== 501 && status !== 505 && status !== 507;
}

/** The service itself is away, so other requests would fare no better. */
export function isAway(status: number): boolean {
  return status === 502 || status === 503 || status === 504;
}

/**
 * The wait before repetition `number` (from 0), between half of the full wait and all of it as
 * `fraction` goes from 0 to 1: many clients of one server must not come back in step.
 */
export function waitBefore(number: number, fraction: number): number {
  const full = Math.min(FIRST_WAIT * 2 ** Math.min(number, 16), LONGEST_WAIT);
  return full * (0.5 + fraction / 2);
}

/** `Retry-After`: seconds or an HTTP date, in milliseconds from `now`. */
export function parseRetryAfter(value: string | null, now: number): number | undefined {
  const text = value?.trim() ?? "";
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // Only what looks like a date of HTTP: Date.parse takes almost anything.
  const date = /^[A-Z][a-z]{2}, .* GMT$/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Counts the repetitions of one request. */
export class Backoff {
  private done = 0;
  private readonly limit: number;
  private readonly random: () => number;

  constructor(limit: number, random: () => number = Math.random) {
    this.limit = limit;
    this.random = random;
  }

  /** How long to wait before the next repetition; `undefined` when it is time to give up. */
  next(retryAfter?: number): number | undefined {
    if (this.done >= this.limit || (retryAfter ?? 0) > LONGEST_RETRY_AFTER) return undefined;
    const wait = waitBefore(this.done, this.random());
    this.done += 1;
    return Math.max(wait, retryAfter ?? 0);
  }
}
