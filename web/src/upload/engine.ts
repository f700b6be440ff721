/**
 * The queue: files are hashed a few at a time, small ones are asked about in batches, and what has
 * to be sent is sent by a few lanes. Everything is bounded, and no content is held in memory: a
 * `File` is a reference, and bodies are slices that the browser reads while it sends them.
 */
import { ApiError, NetworkError } from "../api/error";
import type { Created, FileEntry, OnConflict, Upload } from "../api/types";
import { Gate } from "./gate";
import type { Hasher } from "./hasher";
import { Unreadable } from "./hashing-errors";
import { type Change, Changed, type Item, keyOf } from "./item";
import { type Context, deliver, entryOf, isConflict, PARALLEL_CHUNKS } from "./send";
import type { Server } from "./server";
import { deliverWhileHashing } from "./side";
import { Slots } from "./slots";
import { SpeedMeter } from "./speed";
import { accepts, type Event, isLive, isMeant, isOver, next } from "./state";
import { steady } from "./steady";
import { type Totals, totalsOf } from "./totals";

/**
 * Files in transfer at a time: while one waits for an answer, others send. Browsers open six
 * connections for HTTP/1.1, of which two stay free for the page.
 */
const FILES_AT_ONCE = 4;
/** HTTP/2 has no such bound; the server takes 32 requests at a time on one connection. */
export const FILES_AT_ONCE_HTTP2 = 16;
/** Orders each hash worker has, so that it does not wait for this thread between small files. */
const ORDERS_PER_WORKER = 4;
/** Entries asked about at once. The server takes 1,000, but challenges expire after a minute. */
const BATCH = 250;
/** When no more files come for so long, what there is is asked about. Milliseconds. */
const BATCH_PAUSE = 50;
/** Files hashed ahead of those being sent; what is changed meanwhile would be hashed in vain. */
const AHEAD = 2 * BATCH;
/**
 * Larger files need several requests anyway; asking for each alone when its turn has come keeps
 * the number of uploads open at the same time small. It is the server's chunk size.
 */
const BATCHED_BELOW = 8 << 20;

/**
 * From this size on files are sent while they are being hashed. Shorter ones are hashed in less
 * than a second, and are more often what the server has already.
 */
const SIDE_BY_SIDE = 64 << 20;

/** What an upload is of: the hash, or as long as that is not known, name, size and time. */
export interface KnownUpload {
  digest?: string | undefined;
  key: string;
  handle?: FileSystemFileHandle | undefined;
}

/** Uploads of this browser, by id: a later visit can tell whether it has the right file. */
export interface UploadMemory {
  get(id: string): Promise<KnownUpload | undefined>;
  put(id: string, value: KnownUpload): Promise<void>;
  delete(id: string): Promise<void>;
}

/** What a lane is to do, unless the item has been paused or the like meanwhile (`turn`). */
interface Work {
  item: Item;
  turn: number;
  created?: Created;
}

export interface NewFile {
  file: File;
  path: string;
  handle?: FileSystemFileHandle | undefined;
}

export interface Options {
  /** Bytes from which on files are sent while they are being hashed. */
  sideBySide?: number;
  filesAtOnce?: number;
}

export class Engine {
  readonly items: Item[] = [];
  readonly gate: Gate;
  /** Something to be seen has changed. Called often. */
  onChange: (change: Change) => void = () => {};
  /** A file has arrived. */
  onDone: (item: Item) => void = () => {};

  private readonly sideBySide: number;
  private readonly filesAtOnce: number;
  private readonly server: Server;
  private readonly hasher: Hasher;
  private readonly memory: UploadMemory;
  private readonly context: Context;
  private readonly meter = new SpeedMeter();
  private readonly running = new Map<Item, AbortController>();
  /** What earlier visits left on the server, by path. */
  private unfinished = new Map<string, Upload>();
  private rule: OnConflict | undefined;
  private waiting: Item[] = [];
  private toAsk: Item[] = [];
  private ready: Work[] = [];
  private hashing = 0;
  private sending = 0;
  private asking = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private nextId = 1;

  constructor(server: Server, hasher: Hasher, memory: UploadMemory, options: Options = {}) {
    this.sideBySide = options.sideBySide ?? SIDE_BY_SIDE;
    this.filesAtOnce = options.filesAtOnce ?? FILES_AT_ONCE;
    this.server = server;
    this.hasher = hasher;
    this.memory = memory;
    this.gate = new Gate(() => server.isThere());
    this.gate.onChange = () => this.changed();
    this.context = {
      server,
      hasher,
      gate: this.gate,
      chunks: new Slots(PARALLEL_CHUNKS),
      wholes: new Slots(this.filesAtOnce),
      on: (item, event) => this.on(item, event),
      moved: (item, bytes) => this.moved(item, bytes),
      remember: (item, upload) => this.remember(item, upload),
      forget: (item, id) => this.forget(item, id),
    };
  }

  /** Queues files. */
  add(files: NewFile[]): Item[] {
    const items = files.map(({ file, path, handle }): Item => {
      const rule = "fail";
      const id = this.nextId++;
      const size = file.size;
      const fresh = {
        state: "waiting",
        rule,
        turn: 0,
        hashed: 0,
        sent: 0,
        instant: false,
      } as const;
      return { id, file, path, size, handle, ...fresh };
    });
    for (const item of items) {
      this.items.push(item);
      this.waiting.push(item);
    }
    this.pump();
    return items;
  }

  /** What the server has of earlier visits: files with the same place and size go on there. */
  setUnfinished(uploads: Upload[]): void {
    const usable = uploads.filter((upload) => !upload.length_unknown && !upload.unreachable);
    this.unfinished = new Map(usable.map((upload) => [upload.path, upload]));
  }

  /** Is this upload being worked on here? */
  owns(uploadId: string): boolean {
    return this.items.some((item) => item.upload === uploadId && !isOver(item.state));
  }

  pause(item: Item): void {
    if (!accepts(item.state, "pause")) return;
    this.on(item, "pause");
    this.stop(item);
  }

  resume(item: Item): void {
    this.again(item, "resume");
  }

  retry(item: Item): void {
    // A changed file has another hash now.
    if (item.error instanceof Changed) item.digest = undefined;
    this.again(item, "retry");
  }

  cancel(item: Item): void {
    if (!accepts(item.state, "cancel")) return;
    this.on(item, "cancel");
    this.stop(item);
    this.abandon(item);
  }

  /** Decides a conflict; `always` decides all of them, now and later. */
  decide(item: Item, rule: OnConflict | "skip", always: boolean): void {
    const same = always ? this.items.filter((other) => other.state === "conflict") : [item];
    if (always && rule !== "skip") this.rule = rule;
    for (const one of same) {
      if (rule === "skip") this.on(one, "skip");
      else {
        one.rule = rule;
        this.again(one, "decide");
      }
    }
  }

  /** Applies one of the above to every item that takes it. */
  all(action: "pause" | "resume" | "retry" | "cancel"): void {
    for (const item of [...this.items]) if (isMeant(item.state, action)) this[action](item);
  }

  /** Removes what is over from the list. */
  clear(): void {
    const kept = this.items.filter((item) => !isOver(item.state));
    this.items.splice(0, this.items.length, ...kept);
    if (kept.length === 0) this.rule = undefined;
    this.changed();
  }

  /** Ends everything, for instance because somebody else signs in. The server keeps what it has. */
  reset(): void {
    for (const controller of this.running.values()) controller.abort();
    this.items.splice(0);
    this.waiting = [];
    this.toAsk = [];
    this.ready = [];
    this.rule = undefined;
    this.changed();
  }

  get busy(): boolean {
    return this.items.some((item) => isLive(item.state));
  }

  totals(now: number): Totals {
    const moving = this.sending > 0 && !this.gate.away;
    return totalsOf(this.items, moving ? this.meter : undefined, now);
  }

  // What follows moves items through the queues.

  private again(item: Item, event: Event): void {
    if (!accepts(item.state, event)) return;
    this.on(item, event);
    item.turn += 1;
    item.error = undefined;
    item.sent = 0;
    // It comes next: somebody has just asked for it.
    this.waiting.unshift(item);
    this.pump();
  }

  private pump(): void {
    const orders = this.hasher.width * ORDERS_PER_WORKER;
    while (this.hashing < orders && this.ready.length + this.toAsk.length < AHEAD) {
      const item = this.waiting.shift();
      if (!item) break;
      if (item.state !== "waiting") continue;
      if (item.digest !== undefined) this.route(item);
      else if (this.goesSideBySide(item)) void this.sendWhileHashing(item);
      else void this.hash(item);
    }
    this.ask();
    while (this.sending < this.filesAtOnce) {
      const work = this.ready.shift();
      if (!work) break;
      void this.send(work);
    }
    if (this.sending === 0) this.meter.pause();
    this.changed();
  }

  private goesSideBySide(item: Item): boolean {
    // What takes the place of another file must be known to be right before it does.
    if (item.size < this.sideBySide || item.rule === "replace" || item.upload) return false;
    if (this.unfinished.get(item.path)?.size === item.size) return false;
    return this.sending < this.filesAtOnce && this.ready.length === 0;
  }

  private async hash(item: Item): Promise<void> {
    this.on(item, "start");
    const signal = this.start(item);
    try {
      await this.digestOf(item, signal);
      if (!signal.aborted) await this.findUnfinished(item);
      if (!signal.aborted && item.state === "hashing") this.route(item);
    } catch (error) {
      if (!signal.aborted) this.fail(item, error);
    } finally {
      this.pump();
    }
  }

  private async digestOf(item: Item, signal: AbortSignal): Promise<string> {
    this.hashing += 1;
    try {
      const digest = await this.hasher.hash(item.file, signal, (bytes) => {
        item.hashed = bytes;
        this.onChange("bytes");
      });
      // Paused at the last moment: the work is not lost.
      item.digest = digest;
      item.hashed = item.size;
      return digest;
    } finally {
      this.hashing -= 1;
    }
  }

  private async sendWhileHashing(item: Item): Promise<void> {
    this.on(item, "start");
    const signal = this.start(item);
    const hash = this.digestOf(item, signal);
    // The place of the hash is free before the file has arrived.
    hash.then(() => this.pump()).catch(() => {});
    await this.bring(item, signal, () => deliverWhileHashing(this.context, item, hash, signal));
  }

  /** Goes on with an upload of an earlier visit if it is, as far as can be told, of this file. */
  private async findUnfinished(item: Item): Promise<void> {
    const left = this.unfinished.get(item.path);
    if (!left || left.size !== item.size || item.upload) return;
    const known = await this.memory.get(left.id);
    const same = known?.digest ? known.digest === item.digest : known?.key === keyOf(item.file);
    if (known && !same) return;
    item.upload = left.id;
    this.unfinished.delete(item.path);
  }

  private route(item: Item): void {
    this.on(item, "hashed");
    if (item.upload || item.size >= BATCHED_BELOW) this.ready.push({ item, turn: item.turn });
    else this.toAsk.push(item);
  }

  /** Asks about a batch when it is full, or when nothing more comes. */
  private ask(): void {
    clearTimeout(this.timer);
    if (this.asking || this.toAsk.length === 0 || this.ready.length >= BATCH) return;
    if (this.toAsk.length >= BATCH) void this.askNow();
    else this.timer = setTimeout(() => void this.askNow(), BATCH_PAUSE);
  }

  private async askNow(): Promise<void> {
    if (this.asking) return;
    const some = this.toAsk.splice(0, BATCH).filter((item) => item.state === "asking");
    const batch = [...new Set(some)];
    const turns = batch.map((item) => item.turn);
    if (batch.length === 0) return;
    this.asking = true;
    const forever = new AbortController().signal;
    try {
      const ask = () => this.server.createBatch(batch.map(entryOf));
      const answers = await steady(this.gate, forever, ask);
      if (answers.length !== batch.length) throw new Error("a batch was answered in part");
      for (const [index, item] of batch.entries()) {
        this.answered(item, turns[index], answers[index]);
      }
    } catch (error) {
      for (const [index, item] of batch.entries()) {
        if (item.state === "asking" && item.turn === turns[index]) this.fail(item, error);
      }
    } finally {
      this.asking = false;
      this.pump();
    }
  }

  private answered(item: Item, turn: number | undefined, created: Created | undefined): void {
    const upload = created && "id" in created ? created.id : undefined;
    if (item.turn !== turn || isOver(item.state)) {
      // The item was paused and resumed, or cancelled, before the answer came.
      if (upload) void this.server.cancel(upload).catch(() => {});
      return;
    }
    item.upload = upload;
    if (item.state !== "asking") return;
    // Too many at the same time is no verdict on the file: it is asked about again, alone.
    const later = created?.status === "problem" && [429, 503].includes(created.problem.status);
    this.ready.push(later || !created ? { item, turn } : { item, turn, created });
  }

  private async send({ item, turn, created }: Work): Promise<void> {
    if (item.state !== "asking" || item.turn !== turn) return;
    const signal = this.start(item);
    await this.bring(item, signal, () => deliver(this.context, item, created, signal));
  }

  private async bring(
    item: Item,
    signal: AbortSignal,
    delivery: () => Promise<FileEntry>,
  ): Promise<void> {
    this.sending += 1;
    try {
      item.result = await delivery();
      item.sent = item.size;
      this.on(item, "complete");
      this.onDone(item);
    } catch (error) {
      if (!signal.aborted) this.fail(item, error);
    } finally {
      item.meter = undefined;
      this.sending -= 1;
      this.pump();
    }
  }

  private fail(item: Item, error: unknown): void {
    if (isConflict(error) && item.rule === "fail") {
      item.error = error;
      item.upload = undefined;
      this.on(item, "conflict");
      if (this.rule) this.decide(item, this.rule, false);
      return;
    }
    item.error = error;
    this.on(item, "fail");
    // What was sent is of no content that exists any more.
    if (error instanceof Changed || error instanceof Unreadable) this.abandon(item);
  }

  /** Frees what the server has of it. If the server is away, it expires by itself. */
  private abandon(item: Item): void {
    const id = item.upload;
    if (!id) return;
    this.forget(item, id);
    void this.server.cancel(id).catch(() => {});
  }

  private start(item: Item): AbortSignal {
    const controller = new AbortController();
    this.running.set(item, controller);
    return controller.signal;
  }

  private stop(item: Item): void {
    this.running.get(item)?.abort(new Stop());
    this.running.delete(item);
  }

  private on(item: Item, event: Event): void {
    item.state = next(item.state, event);
    this.changed();
  }

  private moved(item: Item, bytes: number): void {
    const now = performance.now();
    this.meter.add(bytes, now);
    item.meter ??= new SpeedMeter();
    item.meter.add(bytes, now);
    this.onChange("bytes");
  }

  private remember(item: Item, upload: Upload): void {
    item.upload = upload.id;
    // Small files are hashed again in no time, and there may be thousands of them.
    if (item.size < BATCHED_BELOW) return;
    const { digest, handle } = item;
    void this.memory.put(upload.id, { digest, key: keyOf(item.file), handle });
  }

  private forget(item: Item, id: string): void {
    if (item.upload === id) item.upload = undefined;
    void this.memory.delete(id);
  }

  private changed(): void {
    this.onChange("state");
  }
}

/** The user paused or cancelled. */
class Stop extends Error {}

/** Would another try make sense? Not for what is wrong with the request itself. */
export function mayRetry(error: unknown): boolean {
  if (error instanceof ApiError) return error.slug !== "invalid-path";
  return error instanceof NetworkError || error instanceof Error;
}
