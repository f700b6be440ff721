//! Sessions: a login, the tokens it hands out, and its end.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use cloudstore_proto::{
    account::{
        Account, CreateSessionRequest, Credentials, FindCredentialsRequest, GetSessionRequest,
        ListSessionsRequest, RevokeAllSessionsRequest, RevokeSessionRequest, RotateSessionRequest,
        Session, SetPasswordRequest, account_store_client::AccountStoreClient,
    },
    convert, http,
};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::{ACCESS_TOKEN_TTL, User},
    json::invalid_fields,
    rpc::{Channel, deadline},
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    attempts::Attempts,
    fields,
    keys::{Jwks, Signer},
    password::Passwords,
};

/// Characters of what a client calls itself that are kept: enough to tell devices apart.
const CLIENT_CHARS: usize = 200;
/// Bytes of entropy of a refresh token.
const REFRESH_BYTES: usize = 32;

/// Begins, continues and ends sessions.
pub(crate) struct Sessions {
    store: AccountStoreClient<Channel>,
    passwords: Passwords,
    attempts: Attempts,
    signer: Signer,
    ttl_ms: i64,
}

/// A token that is exchanged once for the next pair of tokens. Only its hash is stored.
struct RefreshToken([u8; REFRESH_BYTES]);

impl RefreshToken {
    fn generate() -> Result<Self> {
        let mut bytes = [0; REFRESH_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Self(bytes))
    }

    fn parse(text: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .ok()?
            .try_into()
            .ok()
            .map(Self)
    }

    fn text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0).to_vec()
    }
}

impl Sessions {
    pub(crate) fn new(
        store: AccountStoreClient<Channel>,
        passwords: Passwords,
        attempts: Attempts,
        signer: Signer,
        ttl: Duration,
    ) -> Self {
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        Self {
            store,
            passwords,
            attempts,
            signer,
            ttl_ms,
        }
    }

    /// A new session for a username and its password; `client` is what to recognise it by.
    ///
    /// # Errors
    /// `unauthenticated`, the same and as late for an unknown user and a wrong password;
    /// `rate-limited`, `overloaded`.
    pub(crate) async fn login(&self, login: http::Login, client: &str) -> Result<http::Tokens> {
        let Some(credentials) = self.authenticate(&login.username, login.password).await? else {
            let detail = "the username or the password is wrong";
            return Err(Problem::new(Kind::Unauthenticated, detail));
        };
        let refresh = RefreshToken::generate()?;
        let request = CreateSessionRequest {
            id: bytes(Uuid::now_v7()).into(),
            account_id: credentials.account.id,
            refresh_hash: refresh.hash().into(),
            lifetime_ms: self.ttl_ms,
            client: shown(client),
        };
        let session = self
            .store
            .clone()
            .create_session(deadline(request))
            .await?
            .into_inner();
        self.tokens(&session, &refresh)
    }

    /// Exchanges a refresh token. One that was exchanged before ends the session.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub(crate) async fn refresh(&self, old: &str) -> Result<http::Tokens> {
        let refused = || Problem::new(Kind::Unauthenticated, "the refresh token is not valid");
        let old = RefreshToken::parse(old).ok_or_else(refused)?;
        let new = RefreshToken::generate()?;
        let request = RotateSessionRequest {
            old_refresh_hash: old.hash().into(),
            new_refresh_hash: new.hash().into(),
            lifetime_ms: self.ttl_ms,
        };
        let mut session = self.rotate(request.clone()).await;
        // The exchange may have happened although its answer was lost; the client's own repetition
        // would count as reuse. Repeating it with the same successor is harmless.
        if matches!(&session, Err(problem) if problem.kind() == Kind::Unavailable) {
            session = self.rotate(request).await;
        }
        let session = session.map_err(|problem| match problem.kind() {
            Kind::Unauthenticated | Kind::NotFound => refused(),
            _ => problem,
        })?;
        self.tokens(&session, &new)
    }

    async fn rotate(&self, request: RotateSessionRequest) -> Result<Session> {
        Ok(self
            .store
            .clone()
            .rotate_session(deadline(request))
            .await?
            .into_inner())
    }

    /// The session of a token, if it has not ended. Asks the database, so a logout counts at once.
    ///
    /// # Errors
    /// `unauthenticated` when it has ended.
    pub(crate) async fn live(&self, user: User) -> Result<Session> {
        let request = GetSessionRequest {
            id: bytes(user.session_id).into(),
        };
        let session = self.store.clone().get_session(deadline(request)).await;
        let session = session.map_err(|status| match Problem::from(status) {
            problem if problem.kind() == Kind::NotFound => {
                Problem::new(Kind::Unauthenticated, "the session has ended")
            }
            problem => problem,
        })?;
        Ok(session.into_inner())
    }

    pub(crate) async fn logout(&self, user: User) -> Result<()> {
        let request = RevokeSessionRequest {
            id: bytes(user.session_id).into(),
            ..RevokeSessionRequest::default()
        };
        self.store.clone().revoke_session(deadline(request)).await?;
        Ok(())
    }

    /// The sessions of the caller's account.
    pub(crate) async fn list(&self, user: User) -> Result<http::SessionList> {
        let request = ListSessionsRequest {
            account_id: bytes(user.account_id).into(),
        };
        let listed = self.store.clone().list_sessions(deadline(request)).await?;
        let current = bytes(user.session_id);
        let sessions = listed.into_inner().sessions;
        let sessions = sessions
            .iter()
            .map(|session| convert::session(session, session.id == current));
        Ok(http::SessionList {
            sessions: sessions.collect(),
        })
    }

    /// Ends one session of an account.
    ///
    /// # Errors
    /// `not-found` when it is not one of its own.
    pub(crate) async fn revoke(&self, account: Uuid, session: Uuid) -> Result<()> {
        let request = RevokeSessionRequest {
            id: bytes(session).into(),
            account_id: bytes(account).into(),
        };
        self.store.clone().revoke_session(deadline(request)).await?;
        Ok(())
    }

    pub(crate) async fn logout_everywhere(&self, user: User) -> Result<()> {
        let request = RevokeAllSessionsRequest {
            account_id: bytes(user.account_id).into(),
        };
        self.store
            .clone()
            .revoke_all_sessions(deadline(request))
            .await?;
        Ok(())
    }

    /// Sets a new password and ends every session but the caller's.
    ///
    /// # Errors
    /// `invalid-fields` for a wrong old and for an unfit new password; `rate-limited`,
    /// `overloaded`.
    pub(crate) async fn change_password(
        &self,
        session: Session,
        change: http::ChangePassword,
    ) -> Result<()> {
        fields::check(&[("new_password", Some(&change.new_password), fields::password)])?;
        let Some(credentials) = self
            .authenticate(&session.username, change.old_password)
            .await?
        else {
            return Err(invalid_fields([("old_password", "is wrong")]));
        };
        let request = SetPasswordRequest {
            id: credentials.account.id,
            old_password_hash: credentials.password_hash,
            new_password_hash: self.passwords.hash(change.new_password).await?,
            keep_session_id: session.id,
        };
        self.store.clone().set_password(deadline(request)).await?;
        Ok(())
    }

    pub(crate) async fn jwks(&self) -> Result<Jwks> {
        self.signer.jwks().await
    }

    /// The account of a username, if this is its password.
    async fn authenticate(&self, username: &str, password: String) -> Result<Option<Known>> {
        // Names that nobody can have cost a hash like others, and no place in the memory of names.
        if fields::username(username).is_some() {
            self.passwords.verify(password, None).await?;
            return Ok(None);
        }
        self.attempts.take(username)?;
        let checked = self.check(username, password).await;
        if !matches!(checked, Ok(None)) {
            self.attempts.give_back(username);
        }
        let outcome = match checked {
            Ok(Some(_)) => "succeeded",
            Ok(None) => "failed",
            Err(_) => "error",
        };
        metrics::counter!("cloudstore_account_logins_total", "outcome" => outcome).increment(1);
        checked
    }

    async fn check(&self, username: &str, password: String) -> Result<Option<Known>> {
        let known = self.credentials(username).await?;
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let right = self.passwords.verify(password, hash).await?;
        Ok(known.filter(|_| right))
    }

    async fn credentials(&self, username: &str) -> Result<Option<Known>> {
        let request = FindCredentialsRequest {
            username: username.to_owned(),
        };
        match self.store.clone().find_credentials(deadline(request)).await {
            Ok(found) => {
                let Credentials {
                    account,
                    password_hash,
                } = found.into_inner();
                let account = account.ok_or_else(|| Problem::internal("credentials of nobody"))?;
                Ok(Some(Known {
                    account,
                    password_hash,
                }))
            }
            Err(status) => match Problem::from(status) {
                problem if problem.kind() == Kind::NotFound => Ok(None),
                problem => Err(problem),
            },
        }
    }

    fn tokens(&self, session: &Session, refresh: &RefreshToken) -> Result<http::Tokens> {
        let id = |bytes: &[u8]| Uuid::from_slice(bytes).map_err(Problem::internal);
        Ok(http::Tokens {
            access_token: self
                .signer
                .sign(id(&session.account_id)?, id(&session.id)?)?,
            token_type: "Bearer".to_owned(),
            expires_in: ACCESS_TOKEN_TTL.as_secs(),
            refresh_token: refresh.text(),
        })
    }
}

/// An account that exists, with the hash of its password.
struct Known {
    account: Account,
    password_hash: String,
}

/// A name that can be shown in a list.
fn shown(client: &str) -> String {
    let plain = client.chars().filter(|char| !char.is_control());
    plain.take(CLIENT_CHARS).collect()
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_tokens_round_trip() {
        let token = RefreshToken::generate().unwrap();
        let text = token.text();
        assert_eq!(text.len(), 43);
        assert_eq!(RefreshToken::parse(&text).unwrap().hash(), token.hash());
        for bad in ["", "x", &text[1..], &format!("{text}="), "ä"] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }
}
