//! What a caller may do, as an argument of the handler: a route says by the type that it takes whom
//! it serves.
//!
//! | argument | login | token `full` | `upload` | `read` |
//! |---|---|---|---|---|
//! | [`Login`] | yes | | | |
//! | [`User`] | yes | yes | | |
//! | [`Uploader`] | yes | yes | yes | |
//! | [`Reader`] | yes | yes | | yes |
//! | [`Access`] | yes | yes | yes | yes |

use axum::extract::{FromRef, FromRequestParts};
use cloudstore_proto::http::Scope;
use http::request::Parts;
use uuid::Uuid;

use super::Verifier;
use crate::{Kind, Problem, Result};

/// A caller that may do everything with its account's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Account.
    pub account_id: Uuid,
    /// The login that the access token belongs to, or the API token.
    pub session_id: Uuid,
}

/// A caller that has logged in, no program with an API token: it may manage the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login(pub User);

/// A caller that may create files and folders, and go on with the account's unfinished uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploader {
    /// Account.
    pub account_id: Uuid,
    /// It may put new content in the place of old one. Else nothing that exists may change.
    pub may_replace: bool,
}

/// A caller that may list and download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Account.
    pub account_id: Uuid,
}

/// Whoever has shown valid credentials, and what they are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who it is; what it may do is in `credential`.
    pub user: User,
    /// How it has shown that.
    pub credential: Credential,
}

/// What a caller has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The access token of a login.
    Login,
    /// An API token.
    Token(Scope),
}

impl Access {
    /// # Errors
    /// `insufficient-scope` for API tokens.
    pub fn login(self) -> Result<Login> {
        match self.credential {
            Credential::Login => Ok(Login(self.user)),
            Credential::Token(_) => Err(insufficient("this needs a login, not an API token")),
        }
    }

    /// # Errors
    /// `insufficient-scope` for API tokens but those of the scope `full`.
    pub fn user(self) -> Result<User> {
        match self.credential {
            Credential::Login | Credential::Token(Scope::Full) => Ok(self.user),
            Credential::Token(Scope::Upload | Scope::Read) => {
                Err(insufficient("this needs a token with the scope full"))
            }
        }
    }

    /// # Errors
    /// `insufficient-scope` for API tokens of the scope `read`.
    pub fn uploader(self) -> Result<Uploader> {
        let may_replace = match self.credential {
            Credential::Login | Credential::Token(Scope::Full) => true,
            Credential::Token(Scope::Upload) => false,
            Credential::Token(Scope::Read) => {
                return Err(insufficient(
                    "this needs a token with the scope upload or full",
                ));
            }
        };
        Ok(Uploader {
            account_id: self.user.account_id,
            may_replace,
        })
    }

    /// # Errors
    /// `insufficient-scope` for API tokens of the scope `upload`.
    pub fn reader(self) -> Result<Reader> {
        match self.credential {
            Credential::Login | Credential::Token(Scope::Full | Scope::Read) => Ok(Reader {
                account_id: self.user.account_id,
            }),
            Credential::Token(Scope::Upload) => Err(insufficient(
                "this needs a token with the scope read or full",
            )),
        }
    }
}

/// The credentials are good, but not for this.
#[must_use]
pub fn insufficient(detail: &str) -> Problem {
    Problem::new(Kind::InsufficientScope, detail)
}

impl<S> FromRequestParts<S> for Access
where
    Verifier: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Verifier::from_ref(state).authenticate(&parts.headers).await
    }
}

macro_rules! extractors {
    ($($caller:ident = $narrow:ident;)*) => {
        $(impl<S> FromRequestParts<S> for $caller
        where
            Verifier: FromRef<S>,
            S: Send + Sync,
        {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
                Access::from_request_parts(parts, state).await?.$narrow()
            }
        })*
    };
}

extractors! {
    Login = login;
    User = user;
    Uploader = uploader;
    Reader = reader;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds() {
        use Credential::{Login, Token};
        let user = User {
            account_id: Uuid::from_u128(1),
            session_id: Uuid::from_u128(2),
        };
        for (credential, expected) in [
            (Login, [true, true, true, true, true]),
            (Token(Scope::Full), [false, true, true, true, true]),
            (Token(Scope::Upload), [false, false, true, false, false]),
            (Token(Scope::Read), [false, false, false, false, true]),
        ] {
            let access = Access { user, credential };
            let kind = |problem: Problem| assert_eq!(problem.kind(), Kind::InsufficientScope);
            let uploader = access.uploader().map_err(kind);
            let found = [
                access.login().map_err(kind).is_ok(),
                access.user().map_err(kind).is_ok(),
                uploader.is_ok(),
                uploader.is_ok_and(|uploader| uploader.may_replace),
                access.reader().map_err(kind).is_ok(),
            ];
            assert_eq!(found, expected, "{credential:?}");
        }
    }
}
