/** Hashes files and answers challenges off the main thread. One file at a time. */

import type { Answer, Order } from "./hasher";
import { hashFile, prove, type Remembered, Stopped } from "./hashing";
import { Kv } from "./kv";

/** Progress is told this often at most, in milliseconds: nobody sees more. */
const TELL_EVERY = 100;

const memory = new Kv<Remembered>("hashes");
const stopped = new Set<number>();
const orders: Order[] = [];
let busy = false;

self.onmessage = ({ data }: MessageEvent<Order>) => {
  if (data.op === "stop") {
    stopped.add(data.id);
    return;
  }
  orders.push(data);
  if (!busy) void work();
};

async function work(): Promise<void> {
  busy = true;
  for (let order = orders.shift(); order; order = orders.shift()) {
    if (order.op === "stop") continue;
    const { id } = order;
    try {
      const digest = order.op === "hash" ? await hash(id, order.file) : await proof(order);
      tell({ id, digest });
    } catch (error) {
      const why = error instanceof Stopped ? "Stopped" : error instanceof Error ? error.name : "";
      tell({ id, error: why });
    }
    stopped.delete(id);
  }
  busy = false;
}

function proof(order: Order & { op: "prove" }): Promise<string> {
  return prove(order.file, order.challenge);
}

function hash(id: number, file: File): Promise<string> {
  let told = 0;
  return hashFile(file, {
    memory,
    isStopped: () => stopped.has(id),
    onProgress: (bytes) => {
      const now = performance.now();
      if (now - told < TELL_EVERY) return;
      told = now;
      tell({ id, bytes });
    },
  });
}

function tell(answer: Answer): void {
  self.postMessage(answer);
}
