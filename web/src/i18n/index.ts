import { signal } from "@preact/signals";
import { en, type Key } from "./en";

export type { Key } from "./en";

export const LANGUAGES = { en: "English", zh: "中文" } as const;
export type Language = keyof typeof LANGUAGES;

const KEPT = "cloudstore.language";

export const language = signal<Language>("en");
const words = signal<Record<Key, string>>(en);
let plurals = new Intl.PluralRules("en");

/** Keys without what depends on the number. */
export type Countable = Key extends infer K
  ? K extends `${infer Base}.one`
    ? Base
    : never
  : never;

export type Values = Record<string, string | number>;

export function t(key: Key, values?: Values): string {
  return fill(words.value[key], values);
}

/** The text for this many; `{n}` is the number. */
export function tn(key: Countable, n: number, values?: Values): string {
  const form = plurals.select(n) === "one" ? "one" : "other";
  return fill(words.value[`${key}.${form}` as Key], {
    n: n.toLocaleString(language.value),
    ...values,
  });
}

function fill(text: string, values: Values | undefined): string {
  if (!values) return text;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** English is part of the app, everything else is fetched when it is wanted. */
export async function setLanguage(wanted: Language, keep = true): Promise<void> {
  words.value = wanted === "zh" ? (await import("./zh")).zh : en;
  plurals = new Intl.PluralRules(wanted);
  language.value = wanted;
  document.documentElement.lang = wanted;
  if (keep) localStorage.setItem(KEPT, wanted);
}

/** What was chosen, else what the browser prefers among ours. */
export async function startLanguage(): Promise<void> {
  const kept = localStorage.getItem(KEPT) ?? "";
  const preferred = [kept, ...navigator.languages].map((tag) => tag.slice(0, 2).toLowerCase());
  const found = preferred.find((tag): tag is Language => tag in LANGUAGES) ?? "en";
  await setLanguage(found, false).catch(() => {});
}
