/** Errors for people who have nothing here but a link: they cannot sign in or tidy up. */
import { ApiError } from "../../api/error";
import { duration } from "../../app/format";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";

/** The link opens nothing: it never did, it has ended, or it was revoked. */
export function isGone(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.slug === "not-found" || error.slug === "unauthenticated";
}

export function isLocked(error: unknown): boolean {
  return error instanceof ApiError && error.slug === "password-required";
}

export function linkWords(error: unknown): string {
  if (!(error instanceof ApiError)) return wordsFor(error);
  if (isGone(error)) return t("link.gone");
  switch (error.slug) {
    case "rate-limited":
      if (error.retryAfter === undefined) return wordsFor(error);
      return t("link.tooMany", { time: duration(error.retryAfter / 1000) });
    case "quota-exceeded":
      return t("link.full");
    case "forbidden":
    case "insufficient-scope":
      return t("link.forbidden");
    case "too-many-uploads":
      return t("link.busy");
    default:
      return wordsFor(error);
  }
}

/** For the form that asks for the password. */
export function unlockWords(error: unknown): string {
  const wrong = error instanceof ApiError && error.slug === "invalid-fields";
  return wrong ? t("link.wrong") : linkWords(error);
}
