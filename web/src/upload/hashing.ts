/** BLAKE3 of files, in pieces, so that it can be watched, stopped, and taken up again. */
import { createBLAKE3, type IHasher } from "hash-wasm";
import type { Challenge } from "../api/types";
import { Unreadable } from "./hashing-errors";
import { keyOf } from "./item";

/** Bytes read at a time. More is not faster. */
const PIECE = 2 << 20;
/** The state is kept every so many bytes: about a second of work is lost by a crash. */
const KEEP_EVERY = 512 << 20;
/** Hashing shorter files again costs less than remembering them is worth. */
export const REMEMBERED_FROM = 64 << 20;
/** A window of a challenge is 4 KiB, or a piece of 1 MiB; more is not a challenge. */
const MAX_WINDOW = 1 << 20;
/** A challenge has 64 windows, or covers at most 1 GiB in pieces; many more are not a challenge. */
const MAX_WINDOWS = 1_024;
/** As the server draws them: 64 windows of 4 KiB. */
const SAMPLES = 64;
const SAMPLE = 4_096;

/** What is remembered of a file from one visit to the next. */
export interface Remembered {
  /** Bytes that are in `state`. */
  hashed: number;
  state?: Uint8Array;
  /** The whole hash, when it was finished. */
  digest?: string;
  /** Hash of samples of the file: name, size and time alone do not make it the same. */
  sample: string;
}

export interface HashMemory {
  get(key: string): Promise<Remembered | undefined>;
  put(key: string, value: Remembered): Promise<void>;
}

export interface HashOptions {
  memory?: HashMemory;
  /** Bytes hashed so far. */
  onProgress?: (bytes: number) => void;
  isStopped?: () => boolean;
}

/** Thrown when `isStopped` says so. */
export class Stopped extends Error {}

/** The file's BLAKE3 in hexadecimal digits. */
export async function hashFile(file: File, options: HashOptions = {}): Promise<string> {
  const memory = file.size >= REMEMBERED_FROM ? options.memory : undefined;
  const sample = memory ? await sampleOf(file) : "";
  const before = await memory?.get(keyOf(file));
  const known = before?.sample === sample ? before : undefined;
  if (known?.digest) {
    options.onProgress?.(file.size);
    return known.digest;
  }
  const hasher = idle.pop() ?? (await createBLAKE3());
  try {
    return await hashWith(hasher, file, options, { memory, sample, known });
  } finally {
    idle.push(hasher);
  }
}

/** Making one costs more than hashing a small file, so they are used again. */
const idle: IHasher[] = [];

interface Past {
  memory: HashMemory | undefined;
  sample: string;
  known: Remembered | undefined;
}

async function hashWith(
  hasher: IHasher,
  file: File,
  options: HashOptions,
  { memory, sample, known }: Past,
): Promise<string> {
  let offset = takeUp(hasher, known);
  let kept = offset;
  for await (const piece of pieces(file, offset)) {
    hasher.update(piece);
    offset += piece.length;
    options.onProgress?.(offset);
    const stopped = options.isStopped?.() ?? false;
    if (memory && offset < file.size && (stopped || offset - kept >= KEEP_EVERY)) {
      await memory.put(keyOf(file), { hashed: offset, state: hasher.save(), sample });
      kept = offset;
    }
    if (stopped) throw new Stopped();
  }
  // A stream looks only at its beginning whether the file is as it was when it was chosen.
  if (file.size > PIECE) await read(file, file.size - 1, 1);
  const digest = hasher.digest();
  await memory?.put(keyOf(file), { hashed: file.size, digest, sample });
  return digest;
}

/** Goes on where an earlier visit stopped; returns how far that was. */
function takeUp(hasher: IHasher, known: Remembered | undefined): number {
  hasher.init();
  if (!known?.state) return 0;
  try {
    hasher.load(known.state);
    return known.hashed;
  } catch {
    // Another build of the hasher made the state.
    hasher.init();
    return 0;
  }
}

/** The file from an offset on. Each piece is good until the next one is asked for. */
async function* pieces(file: Blob, offset: number): AsyncGenerator<Uint8Array> {
  const stream = file.slice(offset).stream();
  const reader = readerOf(stream);
  let left = file.size - offset;
  held.add(stream);
  try {
    while (left > 0) {
      // Browsers refuse to read a file that is not as it was when it was chosen.
      const piece = await reader.read().catch(() => undefined);
      if (!piece || piece.length > left) throw new Unreadable();
      left -= piece.length;
      yield piece;
    }
  } finally {
    held.delete(stream);
    void reader.cancel().catch(() => {});
  }
}

/**
 * Streams being read. Chromium (156) collects one as garbage while somebody waits for its bytes, if
 * nothing but that wait knows it, and then they never come.
 */
const held = new Set<ReadableStream>();

interface Reader {
  read(): Promise<Uint8Array | undefined>;
  cancel(): Promise<void>;
}

/** Reads into the same memory again and again: getting new memory costs more than reading. */
function readerOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Reader {
  let inPlace: ReadableStreamBYOBReader;
  try {
    inPlace = stream.getReader({ mode: "byob" });
  } catch {
    // A browser whose files cannot be read like that.
    const plain = stream.getReader();
    return { read: async () => (await plain.read()).value, cancel: () => plain.cancel() };
  }
  let memory = new Uint8Array(PIECE);
  const read = async () => {
    const { done, value } = await inPlace.read(memory);
    if (done) return undefined;
    memory = new Uint8Array(value.buffer);
    return value;
  };
  return { read, cancel: () => inPlace.cancel() };
}

async function read(file: Blob, offset: number, length: number): Promise<Uint8Array> {
  const end = Math.min(offset + length, file.size);
  if (offset >= end) return new Uint8Array();
  try {
    const bytes = new Uint8Array(await file.slice(offset, end).arrayBuffer());
    if (bytes.length === end - offset) return bytes;
  } catch {
    // Browsers refuse to read a file that is not as it was when it was chosen.
  }
  throw new Unreadable();
}

/** The answer to a challenge: the keyed hash of its windows, in order. */
export async function prove(file: Blob, challenge: Challenge): Promise<string> {
  const { nonce, windows } = challenge;
  if (!/^[0-9a-f]{64}$/i.test(nonce) || windows.length > MAX_WINDOWS) throw new NoChallenge();
  const key = Uint8Array.from(nonce.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
  const hasher = await createBLAKE3(256, key);
  hasher.init();
  for (const [offset, length] of windows) {
    if (length > MAX_WINDOW || offset + length > file.size) throw new NoChallenge();
    hasher.update(await read(file, offset, length));
  }
  return hasher.digest();
}

export class NoChallenge extends Error {
  constructor() {
    super("the server's challenge makes no sense");
  }
}

function sampleOf(file: File): Promise<string> {
  const stride = Math.floor(file.size / SAMPLES);
  const windows = Array.from({ length: SAMPLES }, (_, index): [number, number] => [
    index * stride,
    Math.min(SAMPLE, stride),
  ]);
  return prove(file, { nonce: "0".repeat(64), windows, expires_at: "" });
}
