/**
 * What anybody may do who has a link. Nothing of a login goes along: the link opens the same for
 * its owner as for everybody else.
 */
import { encodePath } from "../paths";
import { errorOf } from "./client";
import { NetworkError } from "./error";
import type { Fetch } from "./session";
import type { PublicShare } from "./types";

/** Entries of a page; the server sends 1,000 at most. */
const PAGE = 500;

export class Link {
  readonly token: string;
  private readonly fetch: Fetch;
  private readonly base: string;
  /** Of whoever has told the password, since this page was loaded. */
  private ticket = "";
  private archive: Promise<boolean> | undefined;

  constructor(fetch: Fetch, token: string) {
    this.fetch = fetch;
    this.token = token;
    this.base = `/api/v1/public/shares/${encodeURIComponent(token)}`;
  }

  /** What is at a path below what is shared, which itself is `/`. */
  read(path: string, cursor?: string, signal?: AbortSignal): Promise<PublicShare> {
    const query = new URLSearchParams({ limit: String(PAGE), ...(cursor ? { cursor } : {}) });
    const place = path === "/" ? "" : `/files${encodePath(path)}`;
    return this.json(`${this.base}${place}?${query}`, { signal: signal ?? null });
  }

  /** Opens it: for requests of ours by the ticket, for those of elements by a cookie beside it. */
  async unlock(password: string): Promise<void> {
    const headers = { "Content-Type": "application/json" };
    const init = { method: "POST", headers, body: JSON.stringify({ password }) };
    const { ticket } = await this.json<{ ticket: string }>(`${this.base}/unlock`, init);
    this.ticket = ticket;
  }

  /** For downloads and media elements. */
  contentUrl(path: string, inline: boolean): string {
    const disposition = inline ? "inline" : "attachment";
    return `${this.base}/content${encodePath(path)}?${new URLSearchParams({ disposition })}`;
  }

  archiveUrl(path: string): string {
    return `${this.base}/archive${encodePath(path)}`;
  }

  /** Does the server make archives of what is shared? Not all do. */
  hasArchive(): Promise<boolean> {
    this.archive ??= this.reach(this.archiveUrl("/"), { method: "HEAD" }).then(
      (response) => response.ok,
      () => {
        // Nobody has answered: the next one who wants to know asks again.
        this.archive = undefined;
        return false;
      },
    );
    return this.archive;
  }

  /** The beginning of a file's content, for a preview. */
  async head(path: string, bytes: number, signal: AbortSignal): Promise<Uint8Array> {
    const init = { headers: { Range: `bytes=0-${bytes - 1}` }, signal };
    const response = await this.reach(this.contentUrl(path, true), init);
    if (!response.ok) throw await errorOf(response);
    return new Uint8Array(await response.arrayBuffer());
  }

  async blob(path: string): Promise<Blob> {
    const response = await this.reach(this.contentUrl(path, true), {});
    if (!response.ok) throw await errorOf(response);
    return response.blob();
  }

  /** What uploads by this link have to say. */
  credentials(): Record<string, string> {
    const ticket = this.ticket ? { "Cloudstore-Share-Ticket": this.ticket } : undefined;
    return { Authorization: `Bearer ${this.token}`, ...ticket };
  }

  /** Does the server answer, whatever it says? */
  async isThere(): Promise<boolean> {
    const response = await this.reach(this.base, {}).catch(() => {});
    return response !== undefined && response.status < 500;
  }

  /** Has the password to be told, for the first time or again? */
  async needsPassword(signal: AbortSignal): Promise<boolean> {
    return (await this.read("/", undefined, signal)).needs_password;
  }

  private async json<T>(url: string, init: RequestInit): Promise<T> {
    const response = await this.reach(url, init);
    if (!response.ok) throw await errorOf(response);
    return (await response.json().catch(() => {
      throw new NetworkError();
    })) as T;
  }

  private async reach(url: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.ticket) headers.set("Cloudstore-Share-Ticket", this.ticket);
    try {
      return await this.fetch(url, {
        ...init,
        headers,
        cache: "no-store",
        credentials: "same-origin",
      });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new NetworkError();
    }
  }
}
