/** One file on its way: whole, by proof, or in chunks that go on where an earlier visit stopped. */
import { ApiError, NetworkError } from "../api/error";
import type { Challenge, Created, FileEntry, Run, Upload } from "../api/types";
import type { Gate } from "./gate";
import type { Hasher } from "./hasher";
import { Unreadable } from "./hashing-errors";
import { Changed, Differs, Endless, type Item } from "./item";
import { type Chunk, chunksOf, missingBytes } from "./ranges";
import type { Server } from "./server";
import type { Slots } from "./slots";
import type { Event } from "./state";
import { checkReadable, steady } from "./steady";

/** Chunks in flight. Browsers open six connections for HTTP/1.1; two stay free for the page. */
export const PARALLEL_CHUNKS = 4;
/** How often one file starts over when its upload is gone on the server. */
const STARTS = 3;
/** How often the server may ask for chunks again, which it does after a damage of its own. */
const ROUNDS = 4;

/** What deliveries share. */
export interface Context {
  server: Server;
  hasher: Hasher;
  gate: Gate;
  /** Chunks in flight, of all files together. More would not be faster, and each can break off. */
  chunks: Slots;
  /** Small files in flight. */
  wholes: Slots;
  on(item: Item, event: Event): void;
  /** Bytes went out. */
  moved(item: Item, bytes: number): void;
  remember(item: Item, upload: Upload): void;
  forget(item: Item, id: string): void;
}

/** A direct upload broke off, so it is unknown what the server has made of it. */
class AskAgain extends Error {}

/** Brings a file to the server, however many attempts that takes. */
export async function deliver(
  context: Context,
  item: Item,
  answer: Created | undefined,
  signal: AbortSignal,
): Promise<FileEntry> {
  const delivery = new Delivery(context, item, signal);
  let created = answer;
  for (let start = 1; ; start++) {
    try {
      return await delivery.attempt(created);
    } catch (error) {
      if (signal.aborted || start === STARTS || !startsOver(error)) throw error;
      await delivery.giveUp();
      created = undefined;
      context.on(item, "hashed");
    }
  }
}

/** The upload is not there any more, or not what it seemed; a new one may do. */
export function startsOver(error: unknown): boolean {
  if (error instanceof AskAgain) return true;
  const gone = ["upload-gone", "upload-lost", "chunk-conflict", "not-found"];
  return error instanceof ApiError && gone.includes(error.slug);
}

export class Delivery {
  readonly context: Context;
  readonly item: Item;
  readonly signal: AbortSignal;

  constructor(context: Context, item: Item, signal: AbortSignal) {
    this.context = context;
    this.item = item;
    this.signal = signal;
  }

  async attempt(answer: Created | undefined): Promise<FileEntry> {
    const { server } = this.context;
    const { item } = this;
    if (answer) return this.follow(answer);
    const id = item.upload;
    if (id) {
      const state = await this.steady(() => server.status(id, this.signal));
      if (state.status === "uploading") return this.sendChunks(state);
      this.context.forget(item, id);
      if (this.isSame(state.file)) return state.file;
      // It was about content that this file had before.
    }
    return this.follow(await this.steady(() => server.create(entryOf(item), this.signal)));
  }

  /** Frees what the server keeps for an upload that will not be finished. */
  async giveUp(): Promise<void> {
    const id = this.item.upload;
    if (!id) return;
    this.context.forget(this.item, id);
    // It expires by itself.
    await this.context.server.cancel(id).catch(() => {});
  }

  private async follow(created: Created): Promise<FileEntry> {
    switch (created.status) {
      case "instant":
        return this.instant(created.file);
      case "direct":
        return this.sendWhole();
      case "uploading":
        this.context.remember(this.item, created);
        return this.sendChunks(created);
      case "challenge": {
        this.context.remember(this.item, created);
        const file = await this.prove(created.challenge, created.id);
        return file ? this.instant(file) : this.sendChunks(created);
      }
      case "problem":
        throw new ApiError(created.problem);
    }
  }

  /** The file, or nothing if the server does not accept the proof: then the content is sent. */
  async prove(challenge: Challenge, id: string): Promise<FileEntry | undefined> {
    const { context, item, signal } = this;
    context.on(item, "prove");
    try {
      const proof = await context.hasher.prove(item.file, challenge);
      const file = await this.steady(() => context.server.prove(id, proof, signal));
      context.forget(item, id);
      return file;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Unreadable || startsOver(error)) throw error;
      if (isConflict(error)) await this.giveUp();
      if (isConflict(error) || isFinal(error)) throw error;
      return undefined;
    }
  }

  /** All of a small file in one request. */
  private async sendWhole(): Promise<FileEntry> {
    const { context, item, signal } = this;
    context.on(item, "send");
    const { path, rule } = item;
    const target = { path, rule, mtime: mtimeOf(item.file) };
    const progress = new Progress(context, item, 0);
    const onSent = (bytes: number) => progress.flight(0, bytes);
    try {
      const body = { blob: item.file, onSent };
      const file = await context.wholes.run(signal, async () => {
        await context.gate.pass(signal);
        return context.server.putContent(target, body, signal);
      });
      return await this.checked(file);
    } catch (error) {
      signal.throwIfAborted();
      progress.flight(0, 0);
      if (error instanceof NetworkError) {
        await checkReadable(item.file, 0);
        context.gate.close();
        throw new AskAgain();
      }
      if (error instanceof ApiError && error.status >= 500) throw new AskAgain();
      throw error;
    }
  }

  /** Sends what is missing of an upload and completes it. */
  private async sendChunks(upload: Upload): Promise<FileEntry> {
    this.context.on(this.item, "send");
    if (upload.size !== this.item.size) {
      await this.giveUp();
      throw new Changed();
    }
    return this.finish(upload, this.sendMissing(upload, upload.missing));
  }

  /** Completes an upload once what was missing of it has been sent. */
  async finish(upload: Upload, sending: Promise<void>): Promise<FileEntry> {
    const { context, item, signal } = this;
    let sent = sending;
    for (let round = 0; round < ROUNDS; round++) {
      await sent;
      context.on(item, "sent");
      try {
        const file = await this.steady(() => context.server.complete(upload.id, signal));
        context.forget(item, upload.id);
        return await this.checked(file);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ApiError)) throw error;
        if (error.slug === "incomplete") {
          context.on(item, "send");
          sent = this.stillMissing(upload.id).then((missing) => this.sendMissing(upload, missing));
          continue;
        }
        const settled = ["digest-mismatch", "name-conflict", "not-a-folder", "is-a-folder"];
        if (settled.includes(error.slug)) await this.giveUp();
        if (error.slug === "digest-mismatch") throw new Changed();
        throw error;
      }
    }
    throw new Endless();
  }

  private async stillMissing(id: string): Promise<Run[]> {
    const state = await this.steady(() => this.context.server.status(id, this.signal));
    return state.status === "uploading" ? state.missing : [];
  }

  async sendMissing(upload: Upload, missing: Run[], ended = this.signal): Promise<void> {
    const { item, context } = this;
    const left = missingBytes(missing, upload.size, upload.chunk_size);
    const progress = new Progress(context, item, upload.size - left);
    const chunks = chunksOf(missing, upload.size, upload.chunk_size);
    // The first chunk that fails for good ends the others.
    const failed = new AbortController();
    const signal = AbortSignal.any([ended, failed.signal]);
    const lane = async () => {
      for (const chunk of chunks) {
        await this.sendChunk(upload.id, chunk, progress, signal);
        progress.done(chunk);
      }
    };
    const lanes = Array.from({ length: PARALLEL_CHUNKS }, lane);
    try {
      await Promise.all(lanes);
    } catch (error) {
      failed.abort(error);
      await Promise.allSettled(lanes);
      throw error;
    }
  }

  private sendChunk(
    id: string,
    { index, offset, length }: Chunk,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    const { context, item } = this;
    const body = {
      blob: item.file.slice(offset, offset + length),
      onSent: (bytes: number) => progress.flight(index, Math.min(bytes, length)),
    };
    const request = () =>
      context.chunks.run(signal, () => context.server.putChunk(id, index, body, signal));
    const check = () => {
      progress.flight(index, 0);
      return checkReadable(item.file, offset);
    };
    return steady(context.gate, signal, request, check);
  }

  /** No content was sent, so the server's word is compared with what was hashed. */
  instant(file: FileEntry): FileEntry {
    if (!this.isSame(file)) throw new Differs();
    this.item.instant = true;
    this.item.sent = this.item.size;
    return file;
  }

  /** Compares what the server stored with what was hashed. */
  private async checked(file: FileEntry): Promise<FileEntry> {
    if (this.isSame(file)) return file;
    // It was sent before its hash was known, so the server could not compare. Unless it took the
    // place of something, nobody has seen it yet, and nobody shall.
    const fresh = this.item.rule !== "replace";
    if (fresh) await this.context.server.remove(file.path, file.blake3).catch(() => {});
    throw new Changed();
  }

  private isSame(file: FileEntry): boolean {
    return file.size === this.item.size && file.blake3 === this.item.digest;
  }

  steady<T>(request: () => Promise<T>): Promise<T> {
    return steady(this.context.gate, this.signal, request);
  }
}

/** What one request looks like to the API. */
export function entryOf(item: Item) {
  return {
    path: item.path,
    size: item.size,
    ...(item.digest === undefined ? {} : { digests: { blake3: item.digest } }),
    mtime: mtimeOf(item.file),
    on_conflict: item.rule,
  };
}

/** RFC 3339. */
function mtimeOf(file: File): string {
  return new Date(file.lastModified).toISOString();
}

export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.slug === "name-conflict";
}

/** Sending the content would fare no better than proving it. */
function isFinal(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return ["quota-exceeded", "not-a-folder", "is-a-folder"].includes(error.slug);
}

/** Bytes of one file that are kept or under way. A repeated chunk takes back what it claimed. */
class Progress {
  private kept: number;
  private readonly flying = new Map<number, number>();
  private readonly context: Context;
  private readonly item: Item;

  constructor(context: Context, item: Item, kept: number) {
    this.context = context;
    this.item = item;
    this.kept = kept;
    item.sent = kept;
  }

  flight(index: number, bytes: number): void {
    this.flying.set(index, bytes);
    this.tell();
  }

  done(chunk: Chunk): void {
    this.flying.delete(chunk.index);
    this.kept += chunk.length;
    this.tell();
  }

  private tell(): void {
    let sent = this.kept;
    for (const bytes of this.flying.values()) sent += bytes;
    const moved = Math.min(sent, this.item.size) - this.item.sent;
    this.item.sent += moved;
    this.context.moved(this.item, Math.max(0, moved));
  }
}
