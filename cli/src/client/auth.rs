//! The token for each request: from `CLOUDSTORE_TOKEN`, or from a stored login that is refreshed
//! when it expires, once for all requests of this process and for all processes.

use cloudstore_proto::http::{Refresh, Tokens};
use reqwest::Method;
use tokio::sync::Mutex;

use super::{
    answer::Json,
    wire::{Request, Wire},
};
use crate::{
    credentials::{Login, Store, now_ms},
    error::{Error, Exit, Result},
};

/// A token that expires sooner is refreshed first: a long upload must not start with it.
const REFRESH_BEFORE_MS: i64 = 30_000;

/// Where the token comes from.
pub(crate) enum Auth {
    /// No login; requests that need one fail with 401.
    Anonymous,
    /// `CLOUDSTORE_TOKEN`, an API token or an access token: used as it is.
    Token(String),
    /// A stored login.
    Stored {
        /// Where it is stored.
        store: Store,
        /// Under this name.
        profile: String,
        /// The newest tokens this process knows; held while they are refreshed.
        login: Mutex<Login>,
    },
}

impl Auth {
    /// The token to send.
    pub(crate) async fn bearer(&self, wire: &Wire) -> Result<Option<String>> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Token(token) => Ok(Some(token.clone())),
            Self::Stored {
                store,
                profile,
                login,
            } => {
                let mut login = login.lock().await;
                if login.expires_at_ms - now_ms() < REFRESH_BEFORE_MS {
                    refresh(wire, store, profile, &mut login).await?;
                }
                Ok(Some(login.access_token.clone()))
            }
        }
    }

    /// A token other than `refused`, which the server did not accept; `None` if there is no way
    /// to get one.
    pub(crate) async fn renew(&self, wire: &Wire, refused: &str) -> Result<Option<String>> {
        let Self::Stored {
            store,
            profile,
            login,
        } = self
        else {
            return Ok(None);
        };
        let mut login = login.lock().await;
        if login.access_token == refused {
            refresh(wire, store, profile, &mut login).await?;
        }
        Ok(Some(login.access_token.clone()))
    }
}

/// Refreshes under the lock of the credentials file. A refresh token can be used once, and using
/// it twice ends the whole login, so a newer pair that another process stored is taken instead.
async fn refresh(wire: &Wire, store: &Store, profile: &str, login: &mut Login) -> Result<()> {
    let guard = store.lock().await?;
    let stored = guard
        .get(profile)?
        .filter(|stored| stored.server == login.server);
    let Some(stored) = stored else {
        return Err(logged_out());
    };
    if stored.access_token != login.access_token {
        *login = stored;
        if login.expires_at_ms - now_ms() >= REFRESH_BEFORE_MS {
            return Ok(());
        }
    }
    let body = Refresh {
        refresh_token: login.refresh_token.clone(),
    };
    let mut request = Request::new(Method::POST, "/api/v1/sessions/refresh").json(&body)?;
    let Json(tokens) = wire
        .run::<Json<Tokens>>(&mut request, None)
        .await
        .map_err(|trouble| {
            if trouble.is_unauthenticated() {
                logged_out()
            } else {
                trouble.into_error(wire.base())
            }
        })?;
    login.renew(tokens);
    guard.put(profile, login)
}

/// There is no login, or it has ended.
pub(crate) fn logged_out() -> Error {
    Error::new(
        Exit::AuthRequired,
        "you are not logged in, or the login has ended",
    )
    .advise("run `cloudstore login`")
}
