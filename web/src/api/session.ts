/**
 * The login of this browser.
 *
 * The API hands tokens to scripts, not in a cookie, so they are kept in localStorage: what protects
 * them is that no foreign script runs on this origin (the Content-Security-Policy, and content that
 * is served with `sandbox`). The refresh token can be used once; an old one ends the session. Tabs
 * share both tokens, so an exchange is done under a lock that spans tabs, with the newest token
 * there is, and only when the access token is used up: a reload in the middle of an exchange would
 * lose its answer.
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
  access: string;
  /** When the access token ends, in milliseconds since 1970. */
  until: number;
}

/** Where the refresh token is kept, and the lock around its exchange. */
export interface Keeper {
  read(): Kept | undefined;
  write(kept: Kept | undefined): void;
  exclusive<T>(work: () => Promise<T>): Promise<T>;
}

interface Access {
  token: string;
  until: number;
}

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export class Session {
  readonly state = signal<SessionState>("out");
  readonly username = signal("");
  private access: Access | undefined;
  /** The last one that the server did not take. */
  private bad = "";
  /** The refresh token of the last exchange: after it was refused, only another one is of use. */
  private tried = "";
  private exchanging: Promise<string> | undefined;
  private waiting: ((error?: Error) => void)[] = [];
  /** Another tab has signed out (`undefined`) or in as somebody else (the name): this one is over. */
  onReplaced: (by: string | undefined) => void = () => {};
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

  /** `onOther` is called when the server has let somebody in who is not who was here before. */
  async signIn(username: string, password: string, onOther = () => {}): Promise<void> {
    const tokens = await this.post("/api/v1/sessions", { username, password });
    const same = isSame(username, this.username.value);
    if (!same) onOther();
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
    if (this.access && this.isGood(this.access)) return this.access.token;
    this.exchanging ??= this.exchange().finally(() => {
      this.exchanging = undefined;
    });
    return this.exchanging;
  }

  /** The server refused this token. */
  refused(token: string): void {
    this.bad = token;
  }

  private current(): Access | undefined {
    return this.access;
  }

  private isGood({ token, until }: Access): boolean {
    return token !== this.bad && until - EARLY > this.now();
  }

  /** Ends it here, whether or not the server knows. */
  forget(): void {
    this.access = undefined;
    this.keeper.write(undefined);
    this.state.value = "out";
    this.username.value = "";
    this.wake(new SignedOut());
  }

  /** Makes room for somebody else after it has expired; what another tab has got since stays. */
  leave(): void {
    if (this.keeper.read()) this.follow();
    if (this.state.value === "expired") this.forget();
  }

  /**
   * Looks whether another tab has signed out, or in as somebody else. What this page shows and does
   * belongs to the old account, so nothing of it may go on with the new one's tokens. If it has
   * signed in again, this one goes on, too.
   */
  follow(): void {
    const kept = this.keeper.read();
    if (this.state.value === "out" && !kept) return;
    if (kept && isSame(kept.username, this.username.value)) {
      this.goOn(kept);
      return;
    }
    this.access = undefined;
    this.username.value = "";
    this.state.value = "out";
    this.wake(new SignedOut());
    this.onReplaced(kept?.username);
  }

  private goOn({ refresh }: Kept): void {
    if (this.state.value !== "expired" || refresh === this.tried) return;
    this.state.value = "in";
    this.wake();
  }

  private async exchange(): Promise<string> {
    for (;;) {
      try {
        const token = await this.keeper.exclusive(() => this.exchangeKept());
        if (token !== undefined) return token;
      } catch (error) {
        const refused = error instanceof ApiError && error.status === 401;
        const over = refused || error instanceof SignedOut;
        // The session may have been refused because another tab has ended it.
        if (!this.isOut() && this.keeper.read()) this.follow();
        if (this.isOut()) throw new SignedOut();
        if (!over) throw error;
        this.access = undefined;
        this.state.value = "expired";
        const again = this.signedInAgain();
        // It may have been done in another tab while this one was being refused.
        if (this.keeper.read()) this.follow();
        await again;
        const fresh = this.current();
        if (fresh) return fresh.token;
      }
    }
  }

  /** With the tokens that tabs share; nothing when they have changed meanwhile. */
  private async exchangeKept(): Promise<string | undefined> {
    const kept = this.mine();
    const shared = { token: kept.access, until: kept.until };
    if (this.isGood(shared)) {
      this.access = shared;
      return shared.token;
    }
    this.tried = kept.refresh;
    const tokens = await this.post("/api/v1/sessions/refresh", { refresh_token: kept.refresh });
    // Signing in and out waits for no lock: what another tab has written is newer than this answer.
    return this.mine().refresh === kept.refresh ? this.take(tokens) : undefined;
  }

  /** What is kept, as long as it belongs to the account of this page. */
  private mine(): Kept {
    const kept = this.keeper.read();
    if (kept) this.follow();
    if (!kept || this.isOut()) throw new SignedOut();
    return kept;
  }

  private isOut(): boolean {
    return this.state.value === "out";
  }

  private take(tokens: Tokens): string {
    this.access = {
      token: tokens.access_token,
      until: this.now() + tokens.expires_in * 1000,
    };
    const { token, until } = this.access;
    const username = this.username.value;
    this.keeper.write({ username, refresh: tokens.refresh_token, access: token, until });
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

/** Accounts do not tell upper from lower case in their names. */
function isSame(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
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
