/**
 * The folder that is shown: its entries, page by page, their order, and what is selected. Or what a
 * search in it has found, in the order of the server.
 */
import { batch, signal } from "@preact/signals";
import type { Entry, SortKey } from "../../api/types";
import { api } from "../../app/services";

/** Entries of a page; the server sends 1,000 at most. */
const PAGE = 500;
/** What a search shows at most: beyond, a longer text finds it sooner than any list. */
export const SEARCH_LIMIT = 100;

export interface Order {
  key: SortKey;
  descending: boolean;
}

export class Folder {
  readonly path: string;
  readonly entries = signal<Entry[]>([]);
  readonly order = signal<Order>({ key: "name", descending: false });
  /** What is looked for; empty when the folder itself is shown. */
  readonly search = signal("");
  /** There is more to be found than is shown. */
  readonly isCutOff = signal(false);
  readonly loading = signal(true);
  readonly error = signal<unknown>(undefined);
  /** Paths. */
  readonly selected = signal<ReadonlySet<string>>(new Set());
  /** Index of the entry that the keyboard is on. */
  readonly focused = signal(0);
  private focusWanted = false;
  /** Nobody has been on an entry yet: the keyboard begins at the first, whichever that is. */
  private isFresh = true;
  private cursor: string | undefined;
  private request: AbortController | undefined;
  /** The next page is wanted, and has not come yet. */
  private moreWanted = false;

  constructor(path: string) {
    this.path = path;
  }

  get hasMore(): boolean {
    return this.cursor !== undefined;
  }

  /** Loads it anew, as far as it was loaded; what is shown stays until that has arrived. */
  async reload(): Promise<void> {
    const shown = this.entries.value.length;
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    this.loading.value = true;
    try {
      const entries: Entry[] = [];
      let cursor: string | undefined;
      do {
        const page = await this.page(cursor, request.signal);
        // Something else is wanted by now.
        if (this.request !== request || request.signal.aborted) return;
        entries.push(...page.entries);
        cursor = page.cursor;
      } while (cursor !== undefined && entries.length < shown);
      this.cursor = cursor;
      this.replace(entries);
      this.error.value = undefined;
      const paths = new Set(entries.map((entry) => entry.path));
      this.select([...this.selected.value].filter((path) => paths.has(path)));
    } catch (error) {
      // Not if another reload has taken over: it goes on with what is wanted.
      if (this.request === request) this.moreWanted = false;
      if (!request.signal.aborted) this.error.value = error;
    } finally {
      if (this.request === request) this.loading.value = false;
    }
    if (this.moreWanted && this.request === request) await this.more();
  }

  /** The next page. */
  async more(): Promise<void> {
    if (!this.hasMore) return;
    this.moreWanted = true;
    if (this.loading.value) return;
    this.loading.value = true;
    const request = new AbortController();
    this.request = request;
    try {
      const page = await this.page(this.cursor, request.signal);
      if (this.request !== request || request.signal.aborted) return;
      this.cursor = page.cursor;
      this.entries.value = [...this.entries.value, ...page.entries];
    } catch (error) {
      if (!request.signal.aborted) this.error.value = error;
    } finally {
      if (this.request === request) {
        this.loading.value = false;
        this.moreWanted = false;
      }
    }
  }

  sortBy(key: SortKey): void {
    const { key: old, descending } = this.order.value;
    // Names are first wanted from A on, sizes and times from the largest and newest on.
    this.order.value = { key, descending: key === old ? !descending : key !== "name" };
    void this.reload();
  }

  /** Looks for a text in names, or with none shows the folder itself. */
  find(text: string): void {
    const isOther = (text === "") !== (this.search.value === "");
    this.search.value = text;
    this.moreWanted = false;
    this.error.value = undefined;
    this.select([]);
    // Found entries stay until others are: the page does not flicker while somebody types.
    if (isOther) this.entries.value = [];
    this.focused.value = 0;
    this.isFresh = true;
    void this.reload();
  }

  select(paths: Iterable<string>): void {
    this.selected.value = new Set(paths);
  }

  toggle(path: string): void {
    const selected = new Set(this.selected.value);
    if (!selected.delete(path)) selected.add(path);
    this.selected.value = selected;
  }

  /** From the entry the keyboard is on to this one. */
  selectTo(index: number): void {
    const [from, to] = [this.focused.value, index].sort((a, b) => a - b);
    const range = this.entries.value.slice(from, (to ?? 0) + 1).map((entry) => entry.path);
    this.select([...this.selected.value, ...range]);
  }

  /** Somebody is on this entry now. */
  focusOn(index: number): void {
    this.isFresh = false;
    this.focused.value = index;
  }

  /** The keyboard goes to this entry, or the nearest that there is, selecting on its way. */
  walkTo(index: number, selecting: boolean): void {
    const near = Math.max(0, Math.min(this.entries.value.length - 1, index));
    if (selecting) this.selectTo(near);
    this.focusWanted = near !== this.focused.value;
    this.focusOn(near);
  }

  /** After a row with the focus is gone, the next one has it. */
  keepFocus(): void {
    this.focusWanted = document.activeElement?.closest("[role=row]") !== null;
  }

  /** Shall the row the keyboard is on take the focus? Once. */
  takeFocus(): boolean {
    const wanted = this.focusWanted;
    this.focusWanted = false;
    return wanted;
  }

  chosen(): Entry[] {
    return this.entries.value.filter((entry) => this.selected.value.has(entry.path));
  }

  close(): void {
    this.request?.abort();
  }

  /** The keyboard stays on its entry, wherever that is now: its keys act on what they are seen on. */
  private replace(entries: Entry[]): void {
    const id = this.isFresh ? undefined : this.entries.value[this.focused.value]?.id;
    const at = entries.findIndex((entry) => entry.id === id);
    const last = Math.max(0, entries.length - 1);
    batch(() => {
      this.entries.value = entries;
      this.focused.value = at >= 0 ? at : Math.min(this.focused.value, last);
    });
  }

  private async page(cursor: string | undefined, signal: AbortSignal) {
    const text = this.search.value;
    if (text !== "") {
      const found = await api.search(this.path, text, SEARCH_LIMIT, signal);
      if (!signal.aborted) this.isCutOff.value = found.more;
      return { entries: found.entries, cursor: undefined };
    }
    this.isCutOff.value = false;
    const { key: sort, descending } = this.order.value;
    const page = { cursor, sort, descending, limit: PAGE };
    const listing = await api.list(this.path, page, signal);
    if (listing.kind === "file") return { entries: [listing as Entry], cursor: undefined };
    return { entries: listing.entries ?? [], cursor: listing.next_cursor };
  }
}
