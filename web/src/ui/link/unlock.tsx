import { useState } from "preact/hooks";
import type { Link } from "../../api/link";
import { t } from "../../i18n";
import { Field } from "../parts/field";
import { Icon } from "../parts/icons";
import { isGone, unlockWords } from "./words";

interface Props {
  link: Link;
  /** It is open now. */
  opened(): void;
  /** It opens nothing any more. */
  gone(error: unknown): void;
}

/** Asks for the password of a link. */
export function Unlock({ link, opened, gone }: Props) {
  const [password, setPassword] = useState("");
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await link.unlock(password);
      opened();
    } catch (problem) {
      if (isGone(problem)) gone(problem);
      else setError(unlockWords(problem));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="card link-unlock" onSubmit={submit} aria-labelledby="unlock-title">
      <Icon name="key" />
      <h1 id="unlock-title">{t("link.locked")}</h1>
      <p class="muted">{t("link.lockedHint")}</p>
      <Field
        label={t("link.password")}
        value={password}
        onInput={setPassword}
        type="password"
        autocomplete="off"
        autofocus
        required
        error={error}
      />
      <button type="submit" class="primary wide" disabled={busy}>
        {t("link.open")}
      </button>
    </form>
  );
}
