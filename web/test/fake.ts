/** A server in memory that behaves as the real one does, and fails on demand. */
import { blake3 } from "hash-wasm";
import { ApiError, NetworkError } from "../src/api/error";
import type { Created, CreateUpload, FileEntry, Run, Upload } from "../src/api/types";
import { Engine, type KnownUpload, type UploadMemory } from "../src/upload/engine";
import type { Hasher } from "../src/upload/hasher";
import { hashFile, prove } from "../src/upload/hashing";
import type { Item } from "../src/upload/item";
import type { Server, Target } from "../src/upload/server";
import type { Body } from "../src/upload/transport";

export const CHUNK = 1024;

export function problem(status: number, slug: string): ApiError {
  return new ApiError({ type: `/problems/${slug}`, title: slug, status });
}

interface Open {
  entry: CreateUpload;
  chunks: Map<number, Uint8Array>;
  nonce?: string;
}

export class FakeServer implements Server {
  /** Content by path. */
  readonly files = new Map<string, Uint8Array>();
  private readonly byHash = new Map<string, Uint8Array>();
  /** What somebody else has: known, but only to those who prove that they have it, too. */
  readonly foreign = new Map<string, Uint8Array>();
  readonly open = new Map<string, Open>();
  readonly log: string[] = [];
  /** Small new files are told to come whole up to this size. */
  directBelow = 0;
  /** Called before each request; throws what should go wrong. */
  trouble: (call: string) => void | Promise<void> = () => {};
  inFlight = 0;
  mostInFlight = 0;
  there = true;
  private nextId = 1;

  async create(entry: CreateUpload): Promise<Created> {
    await this.call("create", entry.path);
    return this.begin(entry, false);
  }

  async createBatch(entries: CreateUpload[]): Promise<Created[]> {
    await this.call("batch", String(entries.length));
    return Promise.all(
      entries.map(async (entry) => {
        try {
          return await this.begin(entry, true);
        } catch (error) {
          if (error instanceof ApiError) return { status: "problem", problem: error.problem };
          throw error;
        }
      }),
    );
  }

  private async begin(entry: CreateUpload, batch: boolean): Promise<Created> {
    const wanted = entry.digests?.blake3 ?? "";
    const there = this.files.get(entry.path);
    if (there && entry.on_conflict === "fail" && (await blake3(there)) !== wanted) {
      throw problem(409, "name-conflict");
    }
    const own = this.byHash.get(wanted);
    if (own) return { status: "instant", file: await this.store(entry.path, own, true) };
    const foreign = this.foreign.get(wanted);
    if (!foreign && batch && entry.size <= this.directBelow) return { status: "direct" };
    const id = `u${this.nextId++}`;
    this.open.set(id, { entry, chunks: new Map() });
    const upload = this.view(id);
    if (!foreign) return { status: "uploading", ...upload };
    const nonce = "ab".repeat(32);
    this.get(id).nonce = nonce;
    const windows: [number, number][] = [[0, entry.size]];
    return { status: "challenge", challenge: { nonce, windows, expires_at: "" }, ...upload };
  }

  async prove(id: string, proof: string): Promise<FileEntry> {
    await this.call("prove", id);
    const { entry, nonce } = this.get(id);
    const content = this.foreign.get(entry.digests?.blake3 ?? "") ?? new Uint8Array();
    const key = Uint8Array.from({ length: 32 }, () => 0xab);
    if (!nonce || proof !== (await blake3(content, 256, key))) throw problem(403, "proof-failed");
    this.open.delete(id);
    return this.store(entry.path, content, true);
  }

  async status(id: string) {
    await this.call("status", id);
    return { status: "uploading" as const, ...this.view(id) };
  }

  async complete(id: string): Promise<FileEntry> {
    await this.call("complete", id);
    const { entry, chunks } = this.get(id);
    if (this.view(id).missing.length > 0) throw problem(409, "incomplete");
    const content = new Uint8Array(entry.size);
    for (const [index, bytes] of chunks) content.set(bytes, index * CHUNK);
    const declared = entry.digests?.blake3;
    if (declared && declared !== (await blake3(content))) throw problem(422, "digest-mismatch");
    this.open.delete(id);
    return this.store(this.free(entry), content, false);
  }

  async cancel(id: string): Promise<void> {
    await this.call("cancel", id);
    this.open.delete(id);
  }

  async putChunk(id: string, index: number, body: Body, signal: AbortSignal): Promise<void> {
    await this.sending(signal, async () => {
      await this.call("chunk", `${id}/${index}`);
      const bytes = new Uint8Array(await body.blob.arrayBuffer());
      body.onSent(bytes.length);
      this.get(id).chunks.set(index, bytes);
    });
  }

  async putContent({ path, rule }: Target, body: Body, signal: AbortSignal): Promise<FileEntry> {
    return this.sending(signal, async () => {
      await this.call("put", path);
      if (rule === "fail" && this.files.has(path)) throw problem(409, "name-conflict");
      const bytes = new Uint8Array(await body.blob.arrayBuffer());
      body.onSent(bytes.length);
      return this.store(path, bytes, false);
    });
  }

  async remove(path: string, digest: string): Promise<void> {
    await this.call("remove", path);
    const found = this.files.get(path);
    if (found && (await blake3(found)) === digest) this.files.delete(path);
  }

  /** The account has this file. */
  async hold(path: string, bytes: Uint8Array): Promise<void> {
    await this.store(path, bytes, false);
  }

  async isThere(): Promise<boolean> {
    return this.there;
  }

  view(id: string): Upload {
    const { entry, chunks } = this.get(id);
    const chunk_count = Math.ceil(entry.size / CHUNK);
    const missing: Run[] = [];
    for (let index = 0; index < chunk_count; index++) {
      if (!chunks.has(index)) missing.push([index, index]);
    }
    const { path, size } = entry;
    const received = chunks.size * CHUNK;
    const expires_at = "2030-01-01T00:00:00Z";
    return { id, path, size, chunk_size: CHUNK, chunk_count, received, missing, expires_at };
  }

  private get(id: string): Open {
    const open = this.open.get(id);
    if (!open) throw problem(410, "upload-gone");
    return open;
  }

  private free({ path, on_conflict }: CreateUpload): string {
    if (!this.files.has(path) || on_conflict === "replace") return path;
    if (on_conflict === "fail") throw problem(409, "name-conflict");
    return `${path} (1)`;
  }

  private async store(path: string, content: Uint8Array, instant: boolean): Promise<FileEntry> {
    this.files.set(path, content);
    const digest = await blake3(content);
    this.byHash.set(digest, content);
    return {
      id: path,
      path,
      size: content.length,
      blake3: digest,
      media_type: "",
      created_at: "",
      modified_at: "",
      state: "stored",
      instant,
    };
  }

  private async sending<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    try {
      await new Promise((resolve) => setTimeout(resolve, 1));
      signal.throwIfAborted();
      return await work();
    } finally {
      this.inFlight -= 1;
    }
  }

  private async call(name: string, about: string): Promise<void> {
    this.log.push(`${name} ${about}`);
    if (!this.there) throw new NetworkError();
    await this.trouble(`${name} ${about}`);
  }
}

/** Hashes in this thread. */
export const hasher: Hasher = {
  width: 1,
  hash: (file, signal, onProgress) =>
    hashFile(file, { onProgress, isStopped: () => signal.aborted }),
  prove,
};

export class FakeMemory extends Map<string, KnownUpload> {
  readonly port: UploadMemory = {
    get: async (id) => this.get(id),
    put: async (id, value) => void this.set(id, value),
    delete: async (id) => void this.delete(id),
  };
}

/** Bytes that differ with the seed. */
export function content(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const pattern = new Uint8Array(Math.min(size, 65_521));
  for (let index = 0, value = seed; index < pattern.length; index++) {
    value = (value * 1103515245 + 12345) & 0x7fffffff;
    pattern[index] = value >> 16;
  }
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += pattern.length) {
    bytes.set(pattern.subarray(0, Math.min(pattern.length, size - at)), at);
  }
  return bytes;
}

export function fileOf(bytes: Uint8Array<ArrayBuffer>, name = "f"): File {
  return new File([bytes], name, { lastModified: 1_000 });
}

export function engineOf(server: Server, memory = new FakeMemory(), sideBySide?: number): Engine {
  return new Engine(server, hasher, memory.port, sideBySide ? { sideBySide } : {});
}

/** Returns once an item, or all of them, is in one of these states. */
export async function until(check: () => boolean, what = "the state"): Promise<void> {
  const deadline = Date.now() + 25_000;
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export const settled = (items: Item[]) =>
  until(
    () => items.every((item) => ["done", "failed", "conflict", "cancelled"].includes(item.state)),
    "items to settle",
  );
