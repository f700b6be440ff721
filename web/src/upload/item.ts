import type { FileEntry, OnConflict } from "../api/types";
import type { SpeedMeter } from "./speed";
import type { State } from "./state";

/** What has changed of one: what can be done with it, or only how much of it has moved. */
export type Change = "state" | "bytes";

/** One file on its way, as the engine knows it and the page shows it. Only the engine changes it. */
export interface Item {
  readonly id: number;
  readonly file: File;
  /** Absolute path it is to have. */
  readonly path: string;
  readonly size: number;
  /** A way to read the file again on a later visit. */
  readonly handle?: FileSystemFileHandle | undefined;
  state: State;
  /** Counts how often it was put into the queue; what belongs to an earlier turn is dropped. */
  turn: number;
  /** What to do when the path is taken. */
  rule: OnConflict;
  /** Bytes hashed in this run. */
  hashed: number;
  /** Bytes the server has, or that are under way. */
  sent: number;
  /** BLAKE3, once known. */
  digest?: string | undefined;
  /** The unfinished upload on the server. */
  upload?: string | undefined;
  /** Nothing had to be sent. */
  instant: boolean;
  /** Why it failed, or what it collides with. */
  error?: unknown;
  result?: FileEntry;
  meter?: SpeedMeter | undefined;
}

/** The content was changed while it was being uploaded. */
export class Changed extends Error {
  constructor() {
    super("the file changed while it was being uploaded");
    this.name = "Changed";
  }
}

/** The server has other content than this file, though nothing was changed here. */
export class Differs extends Error {
  constructor() {
    super("the server has other content than this file");
    this.name = "Differs";
  }
}

/** The server keeps asking for what it was given. */
export class Endless extends Error {
  constructor() {
    super("the server keeps asking for the same content");
    this.name = "Endless";
  }
}

/** What a file is remembered by. */
export function keyOf(file: File): string {
  return `${file.size}|${file.lastModified}|${file.name}`;
}
