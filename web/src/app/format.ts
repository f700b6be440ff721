/** Numbers and times for people, in their language. */
import { language } from "../i18n";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

export function bytes(count: number): string {
  let [value, unit] = [count, 0];
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  const text = value.toLocaleString(language.value, { maximumFractionDigits: digits });
  return `${text}\u00a0${UNITS[unit]}`;
}

/** Never 100 % before it is all. */
export function percent(part: number, whole: number): string {
  const hundredths = whole > 0 ? Math.floor((part / whole) * 100) / 100 : 1;
  return hundredths.toLocaleString(language.value, { style: "percent" });
}

/** Seconds, as the two units that matter. */
export function duration(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 3600), "hour"],
    [Math.floor((whole % 3600) / 60), "minute"],
    [whole % 60, "second"],
  ];
  const from = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(from, from + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) =>
      count.toLocaleString(language.value, { style: "unit", unit, unitDisplay: "narrow" }),
    )
    .join(" ");
}

export function date(text: string): string {
  const time = new Date(text);
  const now = new Date();
  const today = time.toDateString() === now.toDateString();
  const options: Intl.DateTimeFormatOptions = today
    ? { hour: "numeric", minute: "2-digit" }
    : { day: "numeric", month: "short", year: "numeric" };
  return time.toLocaleString(language.value, options);
}

export function day(text: string): string {
  return new Date(text).toLocaleDateString(language.value, { dateStyle: "long" });
}

export function fullDate(text: string): string {
  return new Date(text).toLocaleString(language.value, { dateStyle: "long", timeStyle: "medium" });
}

/** Characters that change the direction or the look of what follows, or cannot be seen at all. */
const INVISIBLE = /[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u00ad]/u;

/** A name in pieces: text, and the code of each character that would deceive the reader. */
export function reveal(name: string): { text: string; hidden: boolean }[] {
  return name
    .split(new RegExp(`(${INVISIBLE.source})`, "u"))
    .filter((piece) => piece !== "")
    .map((piece) => {
      // Emoji are joined by U+200D, which deceives nobody there.
      if (piece === "\u200d" || !INVISIBLE.test(piece)) return { text: piece, hidden: false };
      const code = piece.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0");
      return { text: `U+${code}`, hidden: true };
    });
}

/** The same as text, for labels and titles. Isolated: it must not reorder what stands around it. */
export function plain(name: string): string {
  if (name === "") return "";
  const text = reveal(name).map((piece) => (piece.hidden ? `[${piece.text}]` : piece.text));
  return `\u2068${text.join("")}\u2069`;
}
