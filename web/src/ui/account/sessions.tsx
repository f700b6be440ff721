import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../../api/error";
import type { Login } from "../../api/types";
import { date, day, fullDate, plain } from "../../app/format";
import { api } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t } from "../../i18n";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { tell, tellError } from "../parts/toast";
import { clientOf } from "./client";

/** Where this account is signed in, to end what should not be. */
export function Sessions() {
  const [sessions, setSessions] = useState<Login[]>();
  const [error, setError] = useState<unknown>();
  const load = () =>
    api.sessions().then((list) => {
      setSessions(list.sessions);
      setError(undefined);
    }, setError);
  useEffect(() => void load(), []);
  const end = async (session: Login) => {
    try {
      await api.endSession(session.id);
      tell(t("sessions.ended", { client: nameOf(session) }));
    } catch (problem) {
      // It has ended already, which is what was wanted.
      if (!(problem instanceof ApiError && problem.slug === "not-found")) tellError(problem);
    }
    await load();
  };
  return (
    <section class="card" aria-labelledby="sessions">
      <h2 id="sessions" tabIndex={-1}>
        {t("sessions.title")}
      </h2>
      <p class="muted">{t("sessions.intro")}</p>
      {error !== undefined && (
        <p class="alert" role="alert">
          {wordsFor(error)}
          <button type="button" class="small" onClick={() => void load()}>
            {t("app.retry")}
          </button>
        </p>
      )}
      <ul class="tokens">
        {sessions?.map((session) => (
          <Row
            key={session.id}
            session={session}
            end={() => {
              // Its button goes with it.
              document.getElementById("sessions")?.focus();
              void end(session);
            }}
          />
        ))}
      </ul>
    </section>
  );
}

/** The browser in words; what somebody else's program says of itself is not to be trusted as text. */
function nameOf({ client }: Login): string {
  const known = clientOf(client);
  if (!known) return client === "" ? t("sessions.unknown") : plain(client);
  const { browser, system } = known;
  return system ? t("sessions.client", { browser, system }) : browser;
}

function Row({ session, end }: { session: Login; end(): void }) {
  const name = nameOf(session);
  const isRaw = session.client !== "" && !clientOf(session.client);
  return (
    <li>
      <Icon name="user" />
      <div class="upload-text">
        <span class="session-name">
          {isRaw ? <Name name={session.client} /> : <span title={session.client}>{name}</span>}
          {session.current && <strong class="tag">{t("sessions.current")}</strong>}
        </span>
        <p class="muted wrap" title={fullDate(session.last_used_at)}>
          {t("sessions.used", { date: date(session.last_used_at) })} ·{" "}
          {t("sessions.since", { date: day(session.created_at) })}
        </p>
        <p class="muted wrap">{t("sessions.until", { date: day(session.expires_at) })}</p>
      </div>
      {!session.current && (
        <button
          type="button"
          class="danger-text"
          aria-label={t("sessions.endName", { client: name })}
          onClick={end}
        >
          {t("sessions.end")}
        </button>
      )}
    </li>
  );
}
