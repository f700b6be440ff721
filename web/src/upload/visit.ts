/**
 * The queue of whoever adds files by a link. It knows no account: nothing is hashed, because the
 * server tells strangers nothing of what it has, and each file is sent by tus.
 */
import { ApiError } from "../api/error";
import { Gate } from "./gate";
import type { Change, Item } from "./item";
import { Slots } from "./slots";
import { SpeedMeter } from "./speed";
import { accepts, type Event, isLive, isMeant, isOver, next } from "./state";
import { type Totals, totalsOf } from "./totals";
import { type Transport, Tus } from "./tus";

/** Files in transfer at a time: while one waits for an answer, others send. */
const FILES_AT_ONCE = 3;
/** Uploads that are given up at the same time, after a click that cancels thousands. */
const GOODBYES = 2;

/** What is needed of a link. */
export interface Visitable {
  credentials(): Record<string, string>;
  isThere(): Promise<boolean>;
  needsPassword(signal: AbortSignal): Promise<boolean>;
}

export interface VisitOptions {
  filesAtOnce?: number;
  /** Bytes of one request. */
  piece?: number;
}

export class Visit {
  readonly items: Item[] = [];
  readonly gate: Gate;
  /** Something to be seen has changed. Called often. */
  onChange: (change: Change) => void = () => {};
  /** The password has to be told again; `unlocked` goes on. */
  onLocked: () => void = () => {};

  private readonly tus: Tus;
  private readonly filesAtOnce: number;
  private readonly meter = new SpeedMeter();
  private readonly running = new Map<Item, AbortController>();
  private readonly goodbyes = new Slots(GOODBYES);
  private waiting: Item[] = [];
  private sending = 0;
  private locked = false;
  private nextId = 1;

  constructor(transport: Transport, link: Visitable, options: VisitOptions = {}) {
    this.filesAtOnce = options.filesAtOnce ?? FILES_AT_ONCE;
    this.gate = new Gate(() => link.isThere());
    this.gate.onChange = () => this.onChange("state");
    const { piece } = options;
    this.tus = new Tus({
      transport,
      gate: this.gate,
      credentials: () => link.credentials(),
      needsPassword: (signal) => link.needsPassword(signal),
      ...(piece ? { piece } : {}),
    });
  }

  /** Queues files; paths are absolute below the folder that takes them. */
  add(files: { file: File; path: string }[]): Item[] {
    const fresh = { state: "waiting", rule: "rename", turn: 0, hashed: 0, sent: 0 } as const;
    const items = files.map(({ file, path }): Item => {
      return { id: this.nextId++, file, path, size: file.size, instant: false, ...fresh };
    });
    for (const item of items) {
      this.items.push(item);
      this.waiting.push(item);
    }
    this.pump();
    return items;
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
    this.again(item, "retry");
  }

  cancel(item: Item): void {
    if (!accepts(item.state, "cancel")) return;
    this.on(item, "cancel");
    this.stop(item);
    item.sent = 0;
    const url = item.upload;
    item.upload = undefined;
    if (!url) return;
    // If the server is away, it expires by itself.
    const forever = new AbortController().signal;
    void this.goodbyes.run(forever, () => this.tus.terminate(url)).catch(() => {});
  }

  all(action: "pause" | "resume" | "retry" | "cancel"): void {
    for (const item of [...this.items]) if (isMeant(item.state, action)) this[action](item);
  }

  /** Removes what is over from the list. */
  clear(): void {
    const kept = this.items.filter((item) => !isOver(item.state));
    this.items.splice(0, this.items.length, ...kept);
    this.onChange("state");
  }

  /** The password was told. */
  unlocked(): void {
    this.locked = false;
    this.pump();
  }

  get busy(): boolean {
    return this.items.some((item) => isLive(item.state));
  }

  totals(now: number): Totals {
    const moving = this.sending > 0 && !this.gate.away;
    return totalsOf(this.items, moving ? this.meter : undefined, now);
  }

  private again(item: Item, event: Event): void {
    if (!accepts(item.state, event)) return;
    this.on(item, event);
    item.turn += 1;
    item.error = undefined;
    // It comes next: somebody has just asked for it.
    this.waiting.unshift(item);
    this.pump();
  }

  private pump(): void {
    while (!this.locked && this.sending < this.filesAtOnce) {
      const item = this.waiting.shift();
      if (!item) break;
      if (item.state === "waiting") void this.send(item);
    }
    if (this.sending === 0) this.meter.pause();
    this.onChange("state");
  }

  private async send(item: Item): Promise<void> {
    const controller = new AbortController();
    const { signal } = controller;
    this.running.set(item, controller);
    this.sending += 1;
    this.on(item, "hashed");
    try {
      await this.tus.send(this.fileOf(item, signal), signal);
      if (!signal.aborted) {
        item.sent = item.size;
        this.on(item, "complete");
      }
    } catch (error) {
      if (!signal.aborted) this.failed(item, error);
    } finally {
      // It may have been resumed already, before this turn of it had ended.
      if (this.running.get(item) === controller) {
        this.running.delete(item);
        item.meter = undefined;
      }
      this.sending -= 1;
      this.pump();
    }
  }

  /** The item for the protocol, which must not touch it any more once it was stopped. */
  private fileOf(item: Item, signal: AbortSignal) {
    const unless = (work: () => void) => {
      if (!signal.aborted) work();
    };
    return {
      file: item.file,
      path: item.path,
      url: item.upload,
      onUrl: (url: string | undefined) => this.took(item, url, signal),
      onSent: (bytes: number) => unless(() => this.moved(item, bytes)),
      onWhole: () => unless(() => this.on(item, "sent")),
    };
  }

  private took(item: Item, url: string | undefined, signal: AbortSignal): void {
    if (signal.aborted) return;
    item.upload = url;
    this.on(item, "send");
  }

  private failed(item: Item, error: unknown): void {
    if (error instanceof ApiError && error.slug === "password-required") {
      this.on(item, "pause");
      this.on(item, "resume");
      this.waiting.unshift(item);
      if (this.locked) return;
      this.locked = true;
      this.onLocked();
      return;
    }
    item.error = error;
    this.on(item, "fail");
  }

  private stop(item: Item): void {
    this.running.get(item)?.abort();
    this.running.delete(item);
    item.meter = undefined;
  }

  private on(item: Item, event: Event): void {
    item.state = next(item.state, event);
    this.onChange("state");
  }

  /** What the server did not keep was sent all the same, but is not counted twice. */
  private moved(item: Item, sent: number): void {
    const now = performance.now();
    const more = Math.max(0, sent - item.sent);
    item.sent = sent;
    // A piece of a file whose last bytes had to be sent again.
    if (item.state === "asking" || (item.state === "finishing" && sent < item.size)) {
      this.on(item, "send");
    }
    this.meter.add(more, now);
    item.meter ??= new SpeedMeter();
    item.meter.add(more, now);
    this.onChange("bytes");
  }
}
