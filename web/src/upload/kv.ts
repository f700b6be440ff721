/** A small persistent map on IndexedDB. Private windows may have none: then nothing is kept. */

const NAME = "cloudstore";
/** Records beyond this many are dropped, oldest first: nobody returns to them. */
const MAX_RECORDS = 500;

export class Kv<T> {
  private readonly store: string;
  private static opened: Promise<IDBDatabase> | undefined;
  static readonly stores = ["hashes", "uploads"] as const;

  constructor(store: (typeof Kv.stores)[number]) {
    this.store = store;
  }

  async get(key: string): Promise<T | undefined> {
    const record = await this.run<{ value: T } | undefined>("readonly", (s) => s.get(key));
    return record?.value;
  }

  async put(key: string, value: T): Promise<void> {
    await this.run("readwrite", (s) => s.put({ value, at: Date.now() }, key));
    await this.trim();
  }

  async delete(key: string): Promise<void> {
    await this.run("readwrite", (s) => s.delete(key));
  }

  private async trim(): Promise<void> {
    const count = (await this.run<number>("readonly", (s) => s.count())) ?? 0;
    if (count <= MAX_RECORDS) return;
    const keys = await this.run<IDBValidKey[]>("readonly", (s) => s.index("at").getAllKeys());
    for (const key of keys?.slice(0, count - MAX_RECORDS) ?? []) {
      await this.run("readwrite", (s) => s.delete(key));
    }
  }

  /** Runs one request. What is kept here only saves work, so failures are no errors. */
  private async run<R>(
    mode: IDBTransactionMode,
    ask: (store: IDBObjectStore) => IDBRequest,
  ): Promise<R | undefined> {
    try {
      Kv.opened ??= open();
      const database = await Kv.opened;
      return await new Promise<R>((resolve, reject) => {
        const request = ask(database.transaction(this.store, mode).objectStore(this.store));
        request.onsuccess = () => resolve(request.result as R);
        request.onerror = () => reject(request.error);
      });
    } catch {
      return undefined;
    }
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      for (const store of Kv.stores) {
        request.result.createObjectStore(store).createIndex("at", "at");
      }
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
