/** One call of the API: credentials, errors, and what this client has written and seen so far. */
import { encodePath } from "../paths";
import { parseRetryAfter } from "../upload/retry";
import { ApiError, NetworkError, problemOf } from "./error";
import { Position } from "./position";
import type { Fetch, Session } from "./session";
import type {
  Account,
  ApiToken,
  Change,
  Created,
  CreatedShare,
  CreateShare,
  CreateUpload,
  Entry,
  FileEntry,
  Listing,
  Login,
  OnConflict,
  Restore,
  Scope,
  Share,
  SortKey,
  Trashed,
  Upload,
  UploadState,
} from "./types";

/** The policy lets the page talk to its own server only, not to the store a redirect leads to. */
const STREAMED = { "Cloudstore-Delivery": "stream" };

/** How long signing out waits for the server. Milliseconds. */
const FAREWELL = 5_000;

/** Entries of a page of the trash: as many as somebody looks through. */
const TRASH_PAGE = 100;

interface Options {
  body?: unknown;
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  /** Without credentials. */
  open?: boolean;
}

export interface Page {
  cursor?: string | undefined;
  sort?: SortKey;
  descending?: boolean;
  limit?: number;
}

export class Api {
  readonly session: Session;
  readonly position = new Position();
  private readonly fetch: Fetch;

  constructor(fetch: Fetch, session: Session) {
    this.fetch = fetch;
    this.session = session;
  }

  register(username: string, password: string): Promise<Account> {
    return this.call("POST", "/api/v1/accounts", { body: { username, password }, open: true });
  }

  me(): Promise<Account> {
    return this.call("GET", "/api/v1/me");
  }

  updateMe(body: { display_name?: string; email?: string }): Promise<Account> {
    return this.call("PATCH", "/api/v1/me", { body });
  }

  changePassword(old_password: string, new_password: string): Promise<void> {
    return this.call("PUT", "/api/v1/me/password", { body: { old_password, new_password } });
  }

  tokens(): Promise<{ tokens: ApiToken[] }> {
    return this.call("GET", "/api/v1/tokens");
  }

  createToken(
    name: string,
    scope: Scope,
    expires_in: number,
  ): Promise<ApiToken & { token: string }> {
    return this.call("POST", "/api/v1/tokens", { body: { name, scope, expires_in } });
  }

  revokeToken(id: string): Promise<void> {
    return this.call("DELETE", `/api/v1/tokens/${encodeURIComponent(id)}`);
  }

  shares(): Promise<{ shares: Share[] }> {
    return this.call("GET", "/api/v1/shares");
  }

  createShare(body: CreateShare): Promise<CreatedShare> {
    return this.call("POST", "/api/v1/shares", { body });
  }

  revokeShare(id: string): Promise<void> {
    return this.call("DELETE", `/api/v1/shares/${encodeURIComponent(id)}`);
  }

  /** Last used first. */
  sessions(): Promise<{ sessions: Login[] }> {
    return this.call("GET", "/api/v1/sessions");
  }

  endSession(id: string): Promise<void> {
    return this.call("DELETE", `/api/v1/sessions/${encodeURIComponent(id)}`);
  }

  /**
   * Ends this login, or all of them. Here it ends in any case: somebody who leaves a machine has
   * left it. Does the server know, too?
   */
  async signOut(everywhere: boolean): Promise<boolean> {
    const url = everywhere ? "/api/v1/sessions" : "/api/v1/sessions/current";
    const signal = AbortSignal.timeout(FAREWELL);
    const told = this.call<void>("DELETE", url, { signal }).then(
      () => true,
      () => false,
    );
    // Without a connection, or with an ended session, the call may wait for much longer.
    let stop = () => {};
    const late = new Promise<false>((resolve) => {
      signal.addEventListener("abort", () => resolve(false));
      stop = this.session.state.subscribe((state) => state === "expired" && resolve(false));
    });
    const known = await Promise.race([told, late]);
    stop();
    // A session that is over needs no end.
    const over = this.session.state.value === "expired" && !everywhere;
    this.session.forget();
    return known || over;
  }

  list(path: string, page: Page, signal?: AbortSignal): Promise<Listing> {
    const query = new URLSearchParams();
    if (page.cursor) query.set("cursor", page.cursor);
    if (page.limit) query.set("limit", String(page.limit));
    if (page.sort) query.set("sort", page.sort);
    if (page.descending) query.set("order", "desc");
    return this.call("GET", `/api/v1/files${encodePath(path)}?${query}`, { signal });
  }

  /** Entries anywhere below the folder whose names have the text in them, in order of path. */
  search(
    path: string,
    q: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<{ entries: Entry[]; more: boolean }> {
    const query = new URLSearchParams({ q, path, limit: String(limit) });
    return this.call("GET", `/api/v1/search?${query}`, { signal });
  }

  createFolder(path: string, parents = false): Promise<Entry> {
    return this.call("POST", "/api/v1/folders", { body: { path, parents } });
  }

  move(from: string, to: string): Promise<Entry> {
    return this.call("PATCH", `/api/v1/files${encodePath(from)}`, { body: { path: to } });
  }

  /** Content is not moved; 201 when everything below is there, too. */
  copy(from: string, to: string, on_conflict: OnConflict): Promise<Entry> {
    return this.call("POST", "/api/v1/copies", { body: { from, to, on_conflict } });
  }

  change(changes: Change[]): Promise<{ entries: (Entry | null)[] }> {
    return this.call("POST", "/api/v1/changes", { body: { changes } });
  }

  /** Deletes a file for good, which nobody has seen, unless its content is another one by now. */
  removeIf(path: string, blake3: string): Promise<void> {
    const headers = { "If-Match": `"${blake3}"` };
    return this.call("DELETE", `/api/v1/files${encodePath(path)}?permanent=true`, { headers });
  }

  /** A page of what was deleted, last deleted first. */
  trash(
    cursor: string | undefined,
    signal: AbortSignal,
  ): Promise<{ entries: Trashed[]; next_cursor?: string }> {
    const query = new URLSearchParams({ limit: String(TRASH_PAGE) });
    if (cursor) query.set("cursor", cursor);
    return this.call("GET", `/api/v1/trash?${query}`, { signal });
  }

  restore(id: string, body: Restore): Promise<Entry> {
    return this.call("POST", `/api/v1/trash/${encodeURIComponent(id)}/restore`, { body });
  }

  /** Deletes something for good. */
  removeTrashed(id: string): Promise<void> {
    return this.call("DELETE", `/api/v1/trash/${encodeURIComponent(id)}`);
  }

  emptyTrash(): Promise<void> {
    return this.call("DELETE", "/api/v1/trash");
  }

  uploads(): Promise<{ uploads: Upload[] }> {
    return this.call("GET", "/api/v1/uploads");
  }

  createUpload(body: CreateUpload, signal?: AbortSignal): Promise<Created> {
    return this.call("POST", "/api/v1/uploads", { body, signal });
  }

  async createUploads(entries: CreateUpload[]): Promise<Created[]> {
    const url = "/api/v1/uploads/batch";
    const { results } = await this.call<{ results: Created[] }>("POST", url, { body: { entries } });
    return results;
  }

  upload(id: string, signal?: AbortSignal): Promise<UploadState> {
    return this.call("GET", uploadUrl(id), { signal });
  }

  async prove(id: string, proof: string, signal?: AbortSignal): Promise<FileEntry> {
    const url = `${uploadUrl(id)}/proof`;
    const { file } = await this.call<{ file: FileEntry }>("POST", url, { body: { proof }, signal });
    return file;
  }

  async complete(id: string, signal?: AbortSignal): Promise<FileEntry> {
    const url = `${uploadUrl(id)}/complete`;
    const { file } = await this.call<{ file: FileEntry }>("POST", url, { signal });
    return file;
  }

  cancelUpload(id: string): Promise<void> {
    return this.call("DELETE", uploadUrl(id));
  }

  /** The beginning of a file's content as text, for a preview. */
  async head(path: string, bytes: number, signal?: AbortSignal): Promise<Uint8Array> {
    // A range of nothing cannot be satisfied, so the empty file is the caller's business.
    const url = contentUrl(path);
    const headers = { ...STREAMED, Range: `bytes=0-${bytes - 1}` };
    const response = await this.authorized(url, { headers, signal: signal ?? null });
    if (!response.ok) throw await errorOf(response);
    return new Uint8Array(await response.arrayBuffer());
  }

  /** A file's content, for browsers in which nothing better works. */
  async blob(path: string): Promise<Blob> {
    const response = await this.authorized(contentUrl(path), { headers: STREAMED });
    if (!response.ok) throw await errorOf(response);
    return response.blob();
  }

  /**
   * Entries as one zip archive, for browsers in which nothing better works. Its length is not known
   * before: nothing when it turns out to have more bytes than the limit.
   */
  async archive(paths: string[], limit: number): Promise<Blob | undefined> {
    const headers = { "Content-Type": "application/json" };
    const init = { method: "POST", headers, body: JSON.stringify({ paths }) };
    const response = await this.authorized(ARCHIVE, init);
    if (!response.ok) throw await errorOf(response);
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    const reader = response.body?.getReader();
    for (let size = 0; ; ) {
      // An archive that breaks off is none.
      const next = await reader?.read().catch(() => {
        throw new NetworkError();
      });
      if (!next || next.done) return new Blob(pieces, { type: "application/zip" });
      pieces.push(next.value);
      size += next.value.length;
      if (size > limit) return reader?.cancel().then(() => undefined);
    }
  }

  /** Does the server answer, and not only the gateway in front of it? Needs no credentials. */
  async isThere(): Promise<boolean> {
    try {
      const response = await this.reach("/api/v1/me", {});
      return response.status < 500;
    } catch {
      return false;
    }
  }

  private async call<T>(method: string, url: string, options: Options = {}): Promise<T> {
    const headers = new Headers(options.headers);
    const init: RequestInit = { method, headers, signal: options.signal ?? null };
    if (options.body !== undefined) {
      headers.set("Content-Type", "application/json");
      init.body = JSON.stringify(options.body);
    }
    const response = options.open ? await this.reach(url, init) : await this.authorized(url, init);
    if (!response.ok) throw await errorOf(response);
    const text = await response.text().catch(() => {
      throw new NetworkError();
    });
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  /** With a token; once more with a new one if the server does not take it. */
  private async authorized(url: string, init: RequestInit): Promise<Response> {
    for (let attempt = 0; ; attempt++) {
      const token = await this.session.token();
      const headers = new Headers(init.headers);
      headers.set("Authorization", `Bearer ${token}`);
      this.position.tell((name, value) => headers.set(name, value));
      const response = await this.reach(url, { ...init, headers });
      this.position.learn(response.headers);
      if (response.status !== 401 || attempt > 0) return response;
      this.session.refused(token);
    }
  }

  private async reach(url: string, init: RequestInit): Promise<Response> {
    try {
      return await this.fetch(url, { ...init, cache: "no-store", credentials: "omit" });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new NetworkError();
    }
  }
}

function uploadUrl(id: string): string {
  return `/api/v1/uploads/${encodeURIComponent(id)}`;
}

export const ARCHIVE = "/api/v1/archive";

export function contentUrl(path: string): string {
  return `/api/v1/content${encodePath(path)}`;
}

export async function errorOf(response: Response): Promise<ApiError> {
  const body = await response.text().catch(() => "");
  const type = response.headers.get("Content-Type") ?? "";
  const wait = parseRetryAfter(response.headers.get("Retry-After"), Date.now());
  return new ApiError(problemOf(response.status, type, body), wait);
}
