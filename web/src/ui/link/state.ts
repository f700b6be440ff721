/** What a link shows at a path, page by page. */
import { signal } from "@preact/signals";
import type { Link } from "../../api/link";
import type { PublicShare, SharedEntry } from "../../api/types";
import { isLocked } from "./words";

export class Look {
  readonly link: Link;
  readonly path: string;
  /** Somebody went here from elsewhere below the link, so the focus comes along. */
  readonly followed: boolean;
  readonly shown = signal<PublicShare | undefined>(undefined);
  readonly entries = signal<SharedEntry[]>([]);
  readonly locked = signal(false);
  readonly error = signal<unknown>(undefined);
  private cursor: string | undefined;
  private request: AbortController | undefined;

  constructor(link: Link, path: string, followed: boolean) {
    this.link = link;
    this.path = path;
    this.followed = followed;
  }

  /** Looks anew, as far as the entries were loaded; what is shown stays until that has come. */
  async reload(): Promise<void> {
    const before = this.entries.value.length;
    await this.ask(async (signal) => {
      const shown = await this.link.read(this.path, undefined, signal);
      const entries = [...(shown.entries ?? [])];
      let cursor = shown.next_cursor;
      while (cursor !== undefined && entries.length < before) {
        const page = await this.link.read(this.path, cursor, signal);
        entries.push(...(page.entries ?? []));
        cursor = page.next_cursor;
      }
      this.cursor = cursor;
      this.shown.value = shown;
      this.entries.value = entries;
      this.locked.value = shown.needs_password;
    });
  }

  /** The next page, unless something is on its way. */
  async more(): Promise<void> {
    if (this.cursor === undefined || this.request) return;
    const from = this.cursor;
    await this.ask(async (signal) => {
      const page = await this.link.read(this.path, from, signal);
      this.cursor = page.next_cursor;
      this.entries.value = [...this.entries.value, ...(page.entries ?? [])];
    });
  }

  close(): void {
    this.request?.abort();
  }

  private async ask(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    try {
      await work(request.signal);
      this.error.value = undefined;
    } catch (error) {
      if (request.signal.aborted) return;
      // The password was told too long ago.
      if (isLocked(error)) this.locked.value = true;
      else this.error.value = error;
    } finally {
      if (this.request === request) this.request = undefined;
    }
  }
}
