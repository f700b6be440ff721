import { useEffect, useState } from "preact/hooks";
import type { ApiToken, Scope } from "../../api/types";
import { day, plain } from "../../app/format";
import { api } from "../../app/services";
import { wordsFor } from "../../app/words";
import { t, tn } from "../../i18n";
import { copy } from "../drive/details";
import { Confirm } from "../parts/dialog";
import { Field } from "../parts/field";
import { Icon } from "../parts/icons";
import { Name } from "../parts/name";
import { tell, tellError } from "../parts/toast";

const DAYS = [7, 30, 90, 365];
const DAY = 86_400;
const SCOPES: Scope[] = ["full", "upload", "read"];

/** Tokens for programs: made, listed, revoked. A secret is shown once. */
export function Tokens() {
  const [tokens, setTokens] = useState<ApiToken[]>();
  const [secret, setSecret] = useState("");
  const [revoking, setRevoking] = useState<ApiToken>();
  const load = () => api.tokens().then((list) => setTokens(list.tokens), tellError);
  useEffect(() => void load(), []);
  const revoke = async (token: ApiToken) => {
    setRevoking(undefined);
    try {
      await api.revokeToken(token.id);
      tell(t("tokens.revoked", { name: plain(token.name) }));
    } catch (error) {
      tellError(error);
    }
    await load();
  };
  return (
    <section class="card" aria-labelledby="tokens">
      <h2 id="tokens">{t("tokens.title")}</h2>
      <p class="muted">{t("tokens.intro")}</p>
      <Create
        created={(token) => {
          setSecret(token);
          void load();
        }}
      />
      {secret && (
        <div class="secret" role="status">
          <p>{t("tokens.created")}</p>
          <span class="digest">
            <code>
              <span class="unseen">{t("tokens.secret")}: </span>
              {secret}
            </code>
            <button type="button" class="small" onClick={() => void copy(secret)}>
              {t("app.copy")}
            </button>
          </span>
        </div>
      )}
      {tokens?.length === 0 && <p class="muted">{t("tokens.none")}</p>}
      <ul class="tokens">
        {tokens?.map((token) => (
          <li key={token.id}>
            <Icon name="key" />
            <div class="upload-text">
              <Name name={token.name} />
              <p class="muted">
                {t(`tokens.${token.scope}`)} · {t("tokens.until", { date: day(token.expires_at) })}
              </p>
            </div>
            <button
              type="button"
              class="danger-text"
              aria-label={t("tokens.revokeName", { name: plain(token.name) })}
              onClick={() => setRevoking(token)}
            >
              {t("tokens.revoke")}
            </button>
          </li>
        ))}
      </ul>
      {revoking && (
        <Confirm
          title={t("tokens.revokeTitle", { name: plain(revoking.name) })}
          text={t("tokens.revokeText")}
          action={t("tokens.revoke")}
          onConfirm={() => void revoke(revoking)}
          onClose={() => setRevoking(undefined)}
        />
      )}
    </section>
  );
}

function Create({ created }: { created(token: string): void }) {
  const [name, setName] = useState("");
  const [scope, setScope] = useState<Scope>("upload");
  const [days, setDays] = useState(90);
  const [error, setError] = useState<string>();
  const create = async (event: Event) => {
    event.preventDefault();
    setError(undefined);
    try {
      const { token } = await api.createToken(name, scope, days * DAY);
      setName("");
      created(token);
    } catch (problem) {
      setError(wordsFor(problem));
    }
  };
  return (
    <form onSubmit={create}>
      <div class="columns three">
        <Field
          label={t("tokens.name")}
          value={name}
          onInput={setName}
          error={error}
          maxLength={128}
          required
        />
        <div class="field">
          <label for="scope">{t("tokens.scope")}</label>
          <select
            id="scope"
            value={scope}
            onChange={(event) => setScope(event.currentTarget.value as Scope)}
          >
            {SCOPES.map((value) => (
              <option value={value} key={value}>
                {t(`tokens.${value}`)}
              </option>
            ))}
          </select>
        </div>
        <div class="field">
          <label for="expires">{t("tokens.expires")}</label>
          <select
            id="expires"
            value={days}
            onChange={(event) => setDays(Number(event.currentTarget.value))}
          >
            {DAYS.map((value) => (
              <option value={value} key={value}>
                {tn("tokens.days", value)}
              </option>
            ))}
          </select>
        </div>
      </div>
      <button type="submit">{t("tokens.create")}</button>
    </form>
  );
}
