/**
 * The login of this browser.
 *
 * The access token lives in memory only. The refresh token has to survive a reload, and the API
 * hands it to scripts, not in a cookie, so it is kept in localStorage: what protects it is that no
 * foreign script runs on this origin (the Content-Security-Policy, and content that is served with
 * `sandbox`). It can be used once. Tabs share it, so exchanging it is done under a lock that spans
 * tabs, and always with the newest token there is: an old one would end the session.
 */
import { signal } from "@preact/signals";
import { ApiError, NetworkError, problemOf } from "./error";
import type { Tokens } from "./types";

/** A token that expires within this many milliseconds is exchanged before it is used. */
const EARLY = 60_000;
const KEY = "cloudstore.session";
const LOCK = "cloudstore.session";

/** `expired`: the work goes on once the same user has signed in again. */
export type SessionState = "out" | "in" | "expired";

export interface Kept {
  username: string;
  refresh: string;
}

/** Where the refresh token is kept, and the lock around its exchange. */
export interface Keeper {
  read(): Kept | undefined;
  write(kept: Kept | undefined): void;
  exclusive<T>(work: () => Promise<T>): Promise<T>;
}

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export class Session {
  readonly state = signal<SessionState>("out");
  readonly username = signal("");
  private access: { token: string; until: number } | undefined;
  private exchanging: Promise<string> | undefined;
  private waiting: ((error?: Error) => void)[] = [];
  private readonly fetch: Fetch;
  private readonly keeper: Keeper;
  private readonly now: () => number;

  constructor(fetch: Fetch, keeper: Keeper, now: () => number = Date.now) {
    this.fetch = fetch;
    this.keeper = keeper;
    this.now = now;
    const kept = keeper.read();
    if (kept) {
      this.username.value = kept.username;
      this.state.value = "in";
    }
  }

  async signIn(username: string, password: string): Promise<void> {
    const tokens = await this.post("/api/v1/sessions", { username, password });
    // Accounts do not tell upper from lower case in names.
    const same = username.toLowerCase() === this.username.value.toLowerCase();
    if (this.state.value === "expired" && !same) this.wake(new SignedOut());
    this.username.value = username;
    this.take(tokens);
    this.state.value = "in";
    this.wake();
  }

  /** A token that is good now. While the session is expired, waits until there is a new one. */
  async token(): Promise<string> {
    if (this.state.value === "out") throw new SignedOut();
    if (this.state.value === "expired") await this.signedInAgain();
    if (this.access && this.access.until - EARLY > this.now()) return this.access.token;
    this.exchanging ??= this.exchange().finally(() => {
      this.exchanging = undefined;
    });
    return this.exchanging;
  }

  /** The server refused this token. */
  refused(token: string): void {
    if (this.access?.token === token) this.access = undefined;
  }

  /** Ends it here; `ended` says that the server knows. */
  forget(): void {
    this.access = undefined;
    this.keeper.write(undefined);
    this.state.value = "out";
    this.username.value = "";
    this.wake(new SignedOut());
  }

  /** Another tab has signed out, or in as somebody else. */
  follow(): void {
    const kept = this.keeper.read();
    if (kept?.username === this.username.value) return;
    this.access = undefined;
    this.username.value = kept?.username ?? "";
    this.state.value = kept ? "in" : "out";
  }

  private async exchange(): Promise<string> {
    for (;;) {
      try {
        return await this.keeper.exclusive(async () => {
          const kept = this.keeper.read();
          if (!kept) throw new SignedOut();
          const refresh_token = kept.refresh;
          return this.take(await this.post("/api/v1/sessions/refresh", { refresh_token }));
        });
      } catch (error) {
        const refused = error instanceof ApiError && error.status === 401;
        if (!refused && !(error instanceof SignedOut)) throw error;
        this.access = undefined;
        this.state.value = "expired";
        await this.signedInAgain();
        if (this.access) return (this.access as { token: string }).token;
      }
    }
  }

  private take(tokens: Tokens): string {
    this.access = {
      token: tokens.access_token,
      until: this.now() + tokens.expires_in * 1000,
    };
    this.keeper.write({ username: this.username.value, refresh: tokens.refresh_token });
    return tokens.access_token;
  }

  private signedInAgain(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push((error) => (error ? reject(error) : resolve()));
    });
  }

  private wake(error?: Error): void {
    for (const go of this.waiting.splice(0)) go(error);
  }

  private async post(url: string, body: object): Promise<Tokens> {
    const headers = { "Content-Type": "application/json" };
    const init = { method: "POST", headers, body: JSON.stringify(body) };
    const response = await this.fetch(url, init).catch(() => {
      throw new NetworkError();
    });
    const text = await response.text();
    if (!response.ok) {
      const type = response.headers.get("Content-Type") ?? "";
      throw new ApiError(problemOf(response.status, type, text));
    }
    return JSON.parse(text) as Tokens;
  }
}

/** There is no login, or it belongs to somebody else now. */
export class SignedOut extends Error {
  constructor() {
    super("signed out");
    this.name = "SignedOut";
  }
}

/** localStorage and Web Locks. */
export const browserKeeper: Keeper = {
  read() {
    try {
      const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "null");
      return kept && typeof kept === "object" ? (kept as Kept) : undefined;
    } catch {
      return undefined;
    }
  },
  write(kept) {
    if (kept) localStorage.setItem(KEY, JSON.stringify(kept));
    else localStorage.removeItem(KEY);
  },
  exclusive(work) {
    // Browsers have no locks on plain HTTP, except on this machine. Then two tabs that exchange
    // in the same moment can end the session, which costs a new login.
    if (!navigator.locks) return work();
    return navigator.locks.request(LOCK, work);
  },
};

/** Calls back when another tab changes the login. */
export function onOtherTab(changed: () => void): void {
  window.addEventListener("storage", (event) => {
    if (event.key === KEY || event.key === null) changed();
  });
}
