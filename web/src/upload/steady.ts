/** Requests that outlive bad networks. */
import { ApiError, NetworkError } from "../api/error";
import { type Gate, pause } from "./gate";
import { Unreadable } from "./hashing-errors";
import { Backoff, isAway, isRetryable } from "./retry";

/** How often a request is repeated that the server answers, but with an error of its own. */
const REPEATS = 8;
/** Broken connections in a row, with a server that answers in between, until it must be us. */
const BREAKS = 20;

/**
 * Repeats a request until it is answered: while the server is away for as long as it takes,
 * otherwise a few times, with growing pauses.
 *
 * `check` is called after a broken connection: browsers report a file that can no longer be read
 * as just that.
 */
export async function steady<T>(
  gate: Gate,
  signal: AbortSignal,
  request: () => Promise<T>,
  check?: () => Promise<void>,
): Promise<T> {
  const backoff = new Backoff(REPEATS);
  const patience = new Backoff(Number.POSITIVE_INFINITY);
  for (let breaks = 0; ; ) {
    await gate.pass(signal);
    try {
      return await request();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof NetworkError) {
        await check?.();
        if (++breaks > BREAKS) throw error;
        gate.close();
        continue;
      }
      if (!(error instanceof ApiError) || !isRetryable(error.status, error.slug)) throw error;
      const away = isAway(error.status);
      const wait = (away ? patience : backoff).next(error.retryAfter);
      if (wait === undefined) throw error;
      await (away ? gate.wait(wait, signal) : pause(wait, signal));
    }
  }
}

/** Fails if this byte of the file cannot be read any more. */
export async function checkReadable(file: Blob, offset: number): Promise<void> {
  if (file.size === 0) return;
  try {
    await file.slice(offset, offset + 1).arrayBuffer();
  } catch {
    throw new Unreadable();
  }
}
