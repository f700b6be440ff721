/** The main thread's side of the hash workers. */
import type { Challenge } from "../api/types";
import { Unreadable } from "./hashing-errors";

export type Order =
  | { op: "hash"; id: number; file: File }
  | { op: "prove"; id: number; file: File; challenge: Challenge }
  | { op: "stop"; id: number };

export type Answer =
  | { id: number; bytes: number }
  | { id: number; digest: string }
  | { id: number; error: string };

export interface Hasher {
  /** Files it works on at a time. */
  readonly width: number;
  hash(file: File, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<string>;
  prove(file: File, challenge: Challenge): Promise<string>;
}

/** More would starve the page and the disk; a single one leaves a core idle. */
const MAX_WORKERS = 2;

interface Job {
  resolve(digest: string): void;
  reject(error: Error): void;
  onBytes(bytes: number): void;
}

/** Workers that start when the first file comes. */
export class WorkerHasher implements Hasher {
  readonly width = Math.max(1, Math.min(MAX_WORKERS, navigator.hardwareConcurrency - 1));
  private readonly workers: Worker[] = [];
  private readonly jobs = new Map<number, Job & { worker: Worker }>();
  private nextId = 1;
  private turn = 0;
  private prover: Worker | undefined;

  hash(file: File, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<string> {
    return this.order(this.pick(), (id) => ({ op: "hash", id, file }), onBytes, signal);
  }

  prove(file: File, challenge: Challenge): Promise<string> {
    // A challenge expires after a minute, so it must not wait behind a file that takes longer.
    this.prover ??= this.start();
    return this.order(
      this.prover,
      (id) => ({ op: "prove", id, file, challenge }),
      () => {},
    );
  }

  private pick(): Worker {
    if (this.workers.length < this.width) this.workers.push(this.start());
    this.turn = (this.turn + 1) % this.workers.length;
    const idle = this.workers.find((worker) => !this.isBusy(worker));
    return idle ?? (this.workers[this.turn] as Worker);
  }

  private isBusy(worker: Worker): boolean {
    return [...this.jobs.values()].some((job) => job.worker === worker);
  }

  private order(
    worker: Worker,
    make: (id: number) => Order,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<string> {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.jobs.set(id, { worker, resolve, reject, onBytes });
      const stop = () => worker.postMessage({ op: "stop", id } satisfies Order);
      signal?.addEventListener("abort", stop, { once: true });
      worker.postMessage(make(id));
    });
  }

  private start(): Worker {
    const worker = new Worker(new URL("./hash.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.answered(data);
    worker.onerror = () => this.broken(worker);
    return worker;
  }

  private answered(answer: Answer): void {
    const job = this.jobs.get(answer.id);
    if (!job) return;
    if ("bytes" in answer) {
      job.onBytes(answer.bytes);
      return;
    }
    this.jobs.delete(answer.id);
    if ("digest" in answer) job.resolve(answer.digest);
    else job.reject(answer.error === "Unreadable" ? new Unreadable() : new Error(answer.error));
  }

  /** The worker could not be loaded, or died: its files fail and can be tried again. */
  private broken(worker: Worker): void {
    for (const [id, job] of this.jobs) {
      if (job.worker !== worker) continue;
      this.jobs.delete(id);
      job.reject(new Error("the worker that hashes files has stopped"));
    }
    const at = this.workers.indexOf(worker);
    if (at >= 0) this.workers.splice(at, 1);
    if (this.prover === worker) this.prover = undefined;
    worker.terminate();
  }
}
