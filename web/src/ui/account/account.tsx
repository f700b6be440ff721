import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../../api/error";
import { day } from "../../app/format";
import { go } from "../../app/router";
import { account, api, engine, engineTick, refreshAccount, startOver } from "../../app/services";
import { setTheme, type Theme, theme } from "../../app/theme";
import { wordsFor } from "../../app/words";
import { LANGUAGES, type Language, language, setLanguage, t } from "../../i18n";
import { Field } from "../parts/field";
import { tell, tellError } from "../parts/toast";
import { Sessions } from "./sessions";
import { Tokens } from "./tokens";

export function Account() {
  useEffect(() => {
    document.title = `${t("nav.account")} · ${t("app.title")}`;
    void refreshAccount();
  }, []);
  return (
    <div class="page">
      <h1>{t("nav.account")}</h1>
      <Profile />
      <Look />
      <Password />
      <Tokens />
      <Sessions />
      <Leave />
    </div>
  );
}

function Profile() {
  const mine = account.value;
  const [name, setName] = useState(mine?.display_name ?? "");
  const [email, setEmail] = useState(mine?.email ?? "");
  const [errors, setErrors] = useState<Record<string, string>>({});
  useEffect(() => {
    setName(mine?.display_name ?? "");
    setEmail(mine?.email ?? "");
  }, [mine?.id]);
  const save = async (event: Event) => {
    event.preventDefault();
    setErrors({});
    try {
      account.value = await api.updateMe({ display_name: name, email });
      tell(t("account.saved"));
    } catch (error) {
      const fields = error instanceof ApiError ? error.problem.errors : undefined;
      if (fields) setErrors(fields);
      else tellError(error);
    }
  };
  const optional = <span class="muted"> {t("account.optional")}</span>;
  return (
    <section class="card" aria-labelledby="profile">
      <h2 id="profile">{t("account.profile")}</h2>
      {mine && (
        <p class="muted">
          {t("account.since", { username: mine.username, date: day(mine.created_at) })}
        </p>
      )}
      <form onSubmit={save}>
        <div class="columns">
          <Field
            label={t("account.displayName")}
            value={name}
            onInput={setName}
            autocomplete="name"
            error={errors.display_name}
            after={optional}
          />
          <Field
            label={t("account.email")}
            value={email}
            onInput={setEmail}
            autocomplete="email"
            error={errors.email}
            after={optional}
          />
        </div>
        <button type="submit">{t("account.save")}</button>
      </form>
    </section>
  );
}

function Look() {
  const themes: [Theme, string][] = [
    ["auto", t("account.themeAuto")],
    ["light", t("account.themeLight")],
    ["dark", t("account.themeDark")],
  ];
  return (
    <section class="card" aria-labelledby="look">
      <h2 id="look">{t("account.look")}</h2>
      <div class="columns">
        <div class="field">
          <label for="theme">{t("account.theme")}</label>
          <select
            id="theme"
            value={theme.value}
            onChange={(event) => setTheme(event.currentTarget.value as Theme)}
          >
            {themes.map(([value, text]) => (
              <option value={value} key={value}>
                {text}
              </option>
            ))}
          </select>
        </div>
        <div class="field">
          <label for="language">{t("account.language")}</label>
          <select
            id="language"
            value={language.value}
            onChange={(event) => void setLanguage(event.currentTarget.value as Language)}
          >
            {Object.entries(LANGUAGES).map(([value, text]) => (
              <option value={value} key={value} lang={value}>
                {text}
              </option>
            ))}
          </select>
        </div>
      </div>
    </section>
  );
}

function Password() {
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [errors, setErrors] = useState<Record<string, string>>({});
  const change = async (event: Event) => {
    event.preventDefault();
    setErrors({});
    try {
      await api.changePassword(old, fresh);
      setOld("");
      setFresh("");
      tell(t("account.passwordChanged"));
    } catch (error) {
      const fields = error instanceof ApiError ? error.problem.errors : undefined;
      if (fields) setErrors(fields);
      else setErrors({ new_password: wordsFor(error) });
    }
  };
  return (
    <section class="card" aria-labelledby="password">
      <h2 id="password">{t("account.password")}</h2>
      <form onSubmit={change}>
        <div class="columns">
          <Field
            label={t("account.oldPassword")}
            value={old}
            onInput={setOld}
            type="password"
            autocomplete="current-password"
            required
            error={errors.old_password && t("account.oldWrong")}
          />
          <Field
            label={t("account.newPassword")}
            value={fresh}
            onInput={setFresh}
            type="password"
            autocomplete="new-password"
            required
            hint={t("sign.passwordRule")}
            error={errors.new_password}
          />
        </div>
        <button type="submit">{t("account.changePassword")}</button>
      </form>
    </section>
  );
}

function Leave() {
  void engineTick.value;
  const leave = async (everywhere: boolean) => {
    const known = await api.signOut(everywhere);
    startOver();
    go("/signin", true);
    if (!known) tell(t(everywhere ? "account.notEverywhere" : "account.serverUntold"), true);
  };
  return (
    <section class="card" aria-labelledby="session">
      <h2 id="session">{t("account.session")}</h2>
      {engine.busy && <p class="alert">{t("account.busy")}</p>}
      <p class="muted">{t("account.signOutAllHint")}</p>
      <div class="row-of-buttons">
        <button type="button" onClick={() => void leave(false)}>
          {t("account.signOut")}
        </button>
        <button type="button" class="danger-text" onClick={() => void leave(true)}>
          {t("account.signOutAll")}
        </button>
      </div>
    </section>
  );
}
