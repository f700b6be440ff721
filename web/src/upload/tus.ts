/**
 * tus 1.0 (https://tus.io/protocols/resumable-upload): create, PATCH piece by piece, HEAD after
 * every doubt. One file at a time; what to do with many is the queue's business.
 */
import { ApiError } from "../api/error";
import { nameOf, parentOf } from "../paths";
import type { Gate } from "./gate";
import { Endless } from "./item";
import { checkReadable, steady } from "./steady";
import { type Answer, failure, type Request } from "./transport";

/** Bytes of one PATCH: long enough not to wait for answers, short enough to lose little. */
export const PIECE = 16 << 20;
/** Where uploads are created. */
const ENDPOINT = "/files/";
const VERSION = { "Tus-Resumable": "1.0.0" };
const BYTES = "application/offset+octet-stream";
/** How often one file starts over when the server has lost its upload. */
const STARTS = 3;
/** How often in a row the server may say that the upload goes on elsewhere, or take nothing. */
const MISFITS = 3;

export type Transport = (request: Request, signal: AbortSignal) => Promise<Answer>;

export interface TusOptions {
  transport: Transport;
  gate: Gate;
  /** Asked before each request: a ticket may be renewed meanwhile. */
  credentials(): Record<string, string>;
  /** Has a password to be told before anything is answered? */
  needsPassword(signal: AbortSignal): Promise<boolean>;
  piece?: number;
}

/** A file on its way. */
export interface TusFile {
  file: File;
  /** Absolute path below the folder that takes it. */
  path: string;
  /** Its address on the server, once it has one; an upload that has one goes on there. */
  url: string | undefined;
  onUrl(url: string | undefined): void;
  /** Bytes that the server has, or that are under way. */
  onSent(bytes: number): void;
  /** Every byte is there; the server makes it a file. */
  onWhole(): void;
}

/** Brings files to a server that speaks tus. */
export class Tus {
  private readonly options: TusOptions;
  private readonly piece: number;

  constructor(options: TusOptions) {
    this.options = options;
    this.piece = options.piece ?? PIECE;
  }

  /** Sends a file, or what is missing of it. */
  async send(file: TusFile, signal: AbortSignal): Promise<void> {
    for (let start = 1; ; start++) {
      try {
        return await this.attempt(file, signal);
      } catch (error) {
        if (signal.aborted || start === STARTS || !file.url || !isLost(error)) throw error;
        file.url = undefined;
        file.onUrl(undefined);
      }
    }
  }

  /** Frees what the server keeps of an upload. */
  async terminate(url: string): Promise<void> {
    const signal = new AbortController().signal;
    await this.ask({ method: "DELETE", url, headers: {} }, signal);
  }

  private async attempt(file: TusFile, signal: AbortSignal): Promise<void> {
    const { gate } = this.options;
    const { size } = file.file;
    let url = file.url;
    // What was created just now has nothing yet; anything else has to be asked for.
    const offset = url ? undefined : 0;
    if (!url) {
      url = await steady(gate, signal, () => this.create(file, signal));
      file.url = url;
      file.onUrl(url);
      if (size === 0) return;
    }
    const upload = new Sending(this, file, url, offset, this.piece);
    const check = () => checkReadable(file.file, Math.min(upload.known, size - 1));
    while (!upload.isDone) await steady(gate, signal, () => upload.step(signal), check);
  }

  private async create(file: TusFile, signal: AbortSignal): Promise<string> {
    const headers = {
      "Upload-Length": String(file.file.size),
      "Upload-Metadata": metadata(file.path),
    };
    const answer = await this.ask({ method: "POST", url: ENDPOINT, headers }, signal);
    const location = answer.get("Location");
    // Only the path: the server may know itself by another name than this page does.
    if (location) return new URL(location, "http://server").pathname;
    throw new Error("no Location");
  }

  async ask(request: Request, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    const headers = { ...request.headers, ...VERSION, ...this.options.credentials() };
    const answer = await this.options.transport({ ...request, headers }, signal);
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw failure(answer);
  }

  /** Answers to HEAD have no body that would say which problem it is: the status has to do. */
  async explained(error: unknown, signal: AbortSignal): Promise<unknown> {
    if (!(error instanceof ApiError) || error.slug !== "") return error;
    // Another request of ours, whose connection broke, still holds the upload.
    if (error.status === 409) return named(error, "busy");
    if (error.status !== 403) return error;
    const locked = await this.options.needsPassword(signal).catch((other: unknown) => {
      // Without an answer this is asked again; any other answer says no more than the first.
      if (other instanceof ApiError) return false;
      throw other;
    });
    return locked ? named(error, "password-required") : error;
  }
}

function named({ problem, retryAfter }: ApiError, slug: string): ApiError {
  return new ApiError({ ...problem, type: `/problems/${slug}` }, retryAfter);
}

/** One upload with an address. */
class Sending {
  isDone = false;
  /** Bytes that the server is known to have had. */
  known = 0;
  private misfits = 0;
  private readonly tus: Tus;
  private readonly file: TusFile;
  private readonly url: string;
  private readonly piece: number;
  /** Where it goes on; `undefined` after anything that leaves doubt. */
  private offset: number | undefined;

  constructor(tus: Tus, file: TusFile, url: string, offset: number | undefined, piece: number) {
    this.tus = tus;
    this.file = file;
    this.url = url;
    this.offset = offset;
    this.piece = piece;
  }

  /** Asks for the offset, if it is in doubt, and sends the next piece. Can be repeated. */
  async step(signal: AbortSignal): Promise<void> {
    const at = this.offset ?? (await this.ask(signal));
    this.know(at);
    this.offset = undefined;
    try {
      const next = await this.patch(at, signal);
      this.isDone = next === this.file.file.size;
      if (next <= at && !this.isDone) return this.misfit(new Endless());
      this.misfits = 0;
      this.offset = next;
      this.know(next);
    } catch (error) {
      if (!(error instanceof ApiError) || error.slug !== "offset-mismatch") throw error;
      this.misfit(error);
    }
  }

  private misfit(error: Error): void {
    this.misfits += 1;
    if (this.misfits > MISFITS) throw error;
  }

  private async ask(signal: AbortSignal): Promise<number> {
    const request = { method: "HEAD", url: this.url, headers: {} };
    const answer = await this.tus.ask(request, signal).catch(async (error: unknown) => {
      throw await this.tus.explained(error, signal);
    });
    return offsetOf(answer, this.file.file.size);
  }

  /** The rest may be nothing: then the last answer was lost, and this asks for it again. */
  private async patch(at: number, signal: AbortSignal): Promise<number> {
    const { file } = this.file;
    const end = Math.min(at + this.piece, file.size);
    const headers = { "Upload-Offset": String(at), "Content-Type": BYTES };
    const onSent = (bytes: number) => {
      const sent = at + Math.min(bytes, end - at);
      this.file.onSent(sent);
      if (sent === file.size) this.file.onWhole();
    };
    const body = { blob: file.slice(at, end), onSent };
    const answer = await this.tus.ask({ method: "PATCH", url: this.url, headers, body }, signal);
    return offsetOf(answer, file.size);
  }

  private know(offset: number): void {
    this.known = offset;
    this.file.onSent(offset);
  }
}

/** Where the upload goes on, as an answer says. */
function offsetOf(answer: Answer, size: number): number {
  const text = answer.get("Upload-Offset") ?? "";
  const offset = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(offset >= 0 && offset <= size)) throw new Error("no Upload-Offset");
  return offset;
}

/** The upload is not there any more; a new one may do. */
function isLost(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.status === 404 || error.status === 410;
}

/** `Upload-Metadata`: the name, and the path when it is in a folder. */
export function metadata(path: string): string {
  const pairs = [`filename ${base64(nameOf(path))}`];
  if (parentOf(path) !== "/") pairs.push(`relativePath ${base64(path.slice(1))}`);
  return pairs.join(",");
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
