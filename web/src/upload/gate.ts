/**
 * The server is away, or it is not. When a request cannot reach it, all of them wait here, one
 * question is repeated until it is answered, and then everything goes on.
 */
import { Backoff } from "./retry";

/** While the server is away it is asked at least this often: ten seconds, the longest wait. */
const FOREVER = Number.POSITIVE_INFINITY;

export class Gate {
  /** Told whenever the server goes away or comes back. */
  onChange: (away: boolean) => void = () => {};
  private troubled = 0;
  private closed: { until: Promise<void>; hurry: () => void } | undefined;
  private readonly ask: () => Promise<boolean>;

  /** `ask` says whether the server answers. */
  constructor(ask: () => Promise<boolean>) {
    this.ask = ask;
  }

  get away(): boolean {
    return this.closed !== undefined || this.troubled > 0;
  }

  /** Waits because a part of the server is away; others may fare better and need not. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    this.troubled += 1;
    if (this.troubled === 1) this.onChange(this.away);
    try {
      await pause(ms, signal);
    } finally {
      this.troubled -= 1;
      if (this.troubled === 0) this.onChange(this.away);
    }
  }

  /** Returns once the server is there. */
  async pass(signal: AbortSignal): Promise<void> {
    while (this.closed) await orAborted(this.closed.until, signal);
    signal.throwIfAborted();
  }

  /** The server does not answer. */
  close(): void {
    if (this.closed) return;
    let hurry = () => {};
    const until = this.reopen((wake) => {
      hurry = wake;
    }).finally(() => {
      this.closed = undefined;
      this.onChange(false);
    });
    this.closed = { until, hurry: () => hurry() };
    this.onChange(true);
  }

  /** The network may be back: ask now. */
  hurry(): void {
    this.closed?.hurry();
  }

  private async reopen(onWait: (wake: () => void) => void): Promise<void> {
    const backoff = new Backoff(FOREVER);
    do {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, backoff.next());
        onWait(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    } while (!(await this.ask()));
  }
}

/** The outcome of a promise, or the signal's reason if that comes first. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Waits, unless aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const waited = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return orAborted(waited, signal).finally(() => clearTimeout(timer));
}
