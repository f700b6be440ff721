/** A bound on what runs at the same time; those who wait are served in order. */
import { orAborted } from "./gate";

export class Slots {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(count: number) {
    this.free = count;
  }

  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.take(signal);
    try {
      return await work();
    } finally {
      this.give();
    }
  }

  private async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.free > 0) {
      this.free -= 1;
      return;
    }
    let served = () => {};
    const turn = new Promise<void>((resolve) => {
      served = resolve;
      this.waiting.push(served);
    });
    try {
      await orAborted(turn, signal);
    } catch (error) {
      const at = this.waiting.indexOf(served);
      if (at >= 0) this.waiting.splice(at, 1);
      // Its turn came in the same moment: the slot is the next one's.
      else this.give();
      throw error;
    }
  }

  private give(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.free += 1;
  }
}
