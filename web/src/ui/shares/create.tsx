import { useId, useState } from "preact/hooks";
import { ApiError } from "../../api/error";
import type { CreatedShare } from "../../api/types";
import { api } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t, tn } from "../../i18n";
import { Field } from "../parts/field";
import { DAY, dayOf, ENDS, type End, type Faults, isRequest, requestOf } from "./form";

interface Props {
  path: string;
  kind: "file" | "folder";
  created(share: CreatedShare): void;
}

/** The form for a new link. */
export function Create({ path, kind, created }: Props) {
  const [uploads, setUploads] = useState(false);
  const [password, setPassword] = useState("");
  const [end, setEnd] = useState<End>("never");
  const [date, setDate] = useState(() => dayOf(new Date(Date.now() + 7 * DAY * 1000)));
  const [downloads, setDownloads] = useState("");
  const [faults, setFaults] = useState<Faults>({});
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setError(undefined);
    const request = requestOf({ path, uploads, password, end, date, downloads }, Date.now());
    setFaults(isRequest(request) ? {} : request);
    if (!isRequest(request)) return;
    setBusy(true);
    try {
      created(await api.createShare(request));
    } catch (problem) {
      setError(wordsOf(problem));
      setBusy(false);
    }
  };
  const optional = <span class="muted"> {t("account.optional")}</span>;
  const said = (key: keyof Faults) => faults[key] && t(faults[key]);
  return (
    <form class="share-form" onSubmit={submit} noValidate>
      {error && (
        <p class="alert" role="alert">
          {error}
        </p>
      )}
      {kind === "folder" && <Purpose uploads={uploads} choose={setUploads} />}
      <div class="columns">
        <Field
          label={t("shares.password")}
          value={password}
          onInput={setPassword}
          type="password"
          autocomplete="new-password"
          after={optional}
          hint={t("shares.passwordHint")}
          error={said("password")}
        />
        {!uploads && (
          <Field
            label={t("shares.limit")}
            value={downloads}
            onInput={setDownloads}
            inputMode="numeric"
            after={optional}
            hint={t("shares.limitHint")}
            error={said("downloads")}
          />
        )}
        <Ends end={end} choose={setEnd} />
        {end === "date" && <Until date={date} choose={setDate} error={said("date")} />}
      </div>
      <button type="submit" class="primary" disabled={busy}>
        {t("shares.create")}
      </button>
    </form>
  );
}

/** An account cannot have more, and the general words do not say of what. */
function wordsOf(error: unknown): string {
  const full = error instanceof ApiError && error.slug === "limit-reached";
  return full ? t("shares.tooMany") : wordsFor(error);
}

function Purpose({ uploads, choose }: { uploads: boolean; choose(uploads: boolean): void }) {
  const name = useId();
  const choices = [
    { value: false, text: t("shares.show"), hint: t("shares.showHint") },
    { value: true, text: t("shares.collect"), hint: t("shares.collectHint") },
  ];
  return (
    <fieldset class="share-purpose">
      <legend>{t("shares.purpose")}</legend>
      {choices.map(({ value, text, hint }) => (
        <label key={text}>
          <input
            type="radio"
            name={name}
            checked={uploads === value}
            onChange={() => choose(value)}
          />
          <span>
            {text}
            <span class="muted">{hint}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

function Ends({ end, choose }: { end: End; choose(end: End): void }) {
  const id = useId();
  const words = (value: End): string => {
    if (value === "never") return t("shares.never");
    return value === "date" ? t("shares.onDate") : tn("shares.days", Number(value));
  };
  return (
    <div class="field">
      <label for={id}>{t("shares.ends")}</label>
      <select id={id} value={end} onChange={(event) => choose(event.currentTarget.value as End)}>
        {ENDS.map((value) => (
          <option value={value} key={value}>
            {words(value)}
          </option>
        ))}
      </select>
    </div>
  );
}

interface UntilProps {
  date: string;
  choose(date: string): void;
  error: string | undefined;
}

function Until({ date, choose, error }: UntilProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{t("shares.date")}</label>
      <input
        id={id}
        type="date"
        value={date}
        min={dayOf(new Date())}
        aria-invalid={error ? true : undefined}
        aria-describedby={error ? `${id}-error` : undefined}
        onInput={(event) => choose(event.currentTarget.value)}
      />
      {error && (
        <p class="field-error" id={`${id}-error`} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
