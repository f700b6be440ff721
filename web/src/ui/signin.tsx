import { useState } from "preact/hooks";
import { ApiError } from "../api/error";
import { go } from "../app/router";
import { api, refreshAccount, refreshUnfinished, session, startOver } from "../app/services";
import { wordsFor } from "../app/words";
import { t } from "../i18n";
import { Field } from "./parts/field";
import { Icon } from "./parts/icons";

/** Sign in, or register. With an expired session the work behind it goes on afterwards. */
export function SignIn({ register }: { register: boolean }) {
  const expired = session.state.value === "expired";
  const [username, setUsername] = useState(expired ? session.username.value : "");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const fields = error instanceof ApiError ? error.problem.errors : undefined;

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      if (register) await api.register(username, password);
      await session.signIn(username, password, () => {
        startOver();
        // Who came by a link stays where it leads.
        if (expired) go("/", true);
      });
      void refreshAccount();
      void refreshUnfinished().catch(() => {});
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };

  const wrong = error instanceof ApiError && error.status === 401;
  const summary = error && !fields ? (wrong ? t("sign.wrong") : wordsFor(error)) : undefined;
  const title = t(register ? "sign.up" : "sign.in");
  return (
    <main class="sign" id="main">
      <form class="card" onSubmit={submit} aria-labelledby="sign-title">
        <div class="brand">
          <Icon name="cloud" />
          <span>{t("app.title")}</span>
        </div>
        <h1 id="sign-title">{title}</h1>
        <p class="muted">{expired ? t("sign.expired") : t("app.tagline")}</p>
        {summary && (
          <p class="alert" role="alert">
            <Icon name="alert" />
            {summary}
          </p>
        )}
        <Field
          label={t("sign.username")}
          value={username}
          onInput={setUsername}
          autocomplete="username"
          autofocus={!expired}
          required
          error={fields?.username}
          hint={register ? t("sign.usernameRule") : undefined}
        />
        <Field
          label={t("sign.password")}
          value={password}
          onInput={setPassword}
          type="password"
          autocomplete={register ? "new-password" : "current-password"}
          autofocus={expired}
          required
          error={fields?.password}
          hint={register ? t("sign.passwordRule") : undefined}
        />
        <button type="submit" class="primary wide" disabled={busy}>
          {title}
        </button>
        <Other register={register} expired={expired} />
      </form>
    </main>
  );
}

/** The way for those who wanted something else here. */
function Other({ register, expired }: { register: boolean; expired: boolean }) {
  return (
    <p class="muted center">
      {expired ? (
        <button type="button" class="link" onClick={() => session.leave()}>
          {t("sign.other")}
        </button>
      ) : register ? (
        <>
          {t("sign.haveAccount")} <a href="/signin">{t("sign.in")}</a>
        </>
      ) : (
        <>
          {t("sign.newHere")} <a href="/register">{t("sign.up")}</a>
        </>
      )}
    </p>
  );
}
