/** What the form for a new link says, as the server takes it. */
import type { CreateShare } from "../../api/types";
import type { Key } from "../../i18n";

export const DAY = 86_400;
/** Ways to say when a link ends: never, after so many days, or with a day of the calendar. */
export const ENDS = ["never", "1", "7", "30", "date"] as const;
export type End = (typeof ENDS)[number];

/** Bytes of a password: as the server checks them. */
const SHORTEST_PASSWORD = 8;
const LONGEST_PASSWORD = 1_024;
const MOST_DOWNLOADS = 1_000_000_000;
/** Ten years, in seconds. */
const LONGEST_LIFE = 10 * 365 * DAY;

export interface Wanted {
  path: string;
  uploads: boolean;
  password: string;
  end: End;
  /** Of a date input: `2026-01-31`, or empty. */
  date: string;
  /** Of a text input; empty for any number. */
  downloads: string;
}

export type Faults = Partial<Record<"password" | "date" | "downloads", Key>>;

/** The request, or what is wrong with the form. `now` in milliseconds since 1970. */
export function requestOf(wanted: Wanted, now: number): CreateShare | Faults {
  const { path, uploads, password } = wanted;
  const faults: Faults = {};
  const request: CreateShare = { path };
  if (uploads) request.uploads = true;
  if (password !== "") {
    const { length } = new TextEncoder().encode(password);
    request.password = password;
    if (length < SHORTEST_PASSWORD || length > LONGEST_PASSWORD) {
      faults.password = "shares.passwordLength";
    }
  }
  const life = lifeOf(wanted, now);
  if (life !== undefined) {
    request.expires_in = life;
    if (!(life >= 1 && life <= LONGEST_LIFE)) faults.date = "shares.dateWrong";
  }
  const downloads = wanted.downloads.trim();
  if (!uploads && downloads !== "") {
    request.max_downloads = Number(downloads);
    const known = /^\d+$/.test(downloads);
    if (!known || request.max_downloads < 1 || request.max_downloads > MOST_DOWNLOADS) {
      faults.downloads = "shares.downloadsWrong";
    }
  }
  return Object.keys(faults).length > 0 ? faults : request;
}

export function isRequest(answer: CreateShare | Faults): answer is CreateShare {
  return "path" in answer;
}

/** Seconds until it ends; `NaN` for no date. A day ends with its last second, where the user is. */
function lifeOf({ end, date }: Wanted, now: number): number | undefined {
  if (end === "never") return undefined;
  if (end !== "date") return Number(end) * DAY;
  if (!/^\d{4,}-\d{2}-\d{2}$/.test(date)) return Number.NaN;
  return Math.floor((new Date(`${date}T23:59:59`).getTime() - now) / 1000);
}

/** A day in the form that date inputs take. */
export function dayOf(time: Date): string {
  const two = (number: number) => String(number).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}
