/** Errors in words that say what to do. */
import { ApiError, NetworkError } from "../api/error";
import { SignedOut } from "../api/session";
import { type Key, t } from "../i18n";
import { en } from "../i18n/en";
import { Unreadable } from "../upload/hashing-errors";
import { Changed, Differs, Endless } from "../upload/item";
import { plain } from "./format";

export function wordsFor(error: unknown): string {
  if (error instanceof ApiError) {
    const key = `problem.${error.slug}`;
    const request = error.problem.request_id ?? "";
    if (key in en) return t(key as Key, { request, detail: plain(error.message) });
    if (error.status >= 502 && error.status <= 504) return t("problem.unavailable");
    return t("problem.unknown", { detail: plain(error.message) });
  }
  if (error instanceof NetworkError) return t("problem.network");
  if (error instanceof SignedOut) return t("problem.signed-out");
  if (error instanceof Changed) return t("problem.changed");
  if (error instanceof Unreadable) return t("problem.unreadable");
  if (error instanceof Differs) return t("problem.differs");
  if (error instanceof Endless) return t("problem.endless");
  return t("problem.unknown", { detail: error instanceof Error ? plain(error.message) : "?" });
}
