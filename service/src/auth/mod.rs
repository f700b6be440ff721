//! Access tokens: who is calling. A handler that takes a [`User`] requires a valid token, one that
//! does not is public.

mod keys;
mod verifier;

use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, header, request::Parts};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

pub use verifier::Verifier;

use crate::{Kind, Problem, Result};

/// `iss` of access tokens.
pub const ISSUER: &str = "cloudstore";
/// `aud` of access tokens: the public API.
pub const AUDIENCE: &str = "cloudstore-api";
/// Life of an access token. Short, because only logout ends it sooner.
pub const ACCESS_TOKEN_TTL: Duration = Duration::from_secs(10 * 60);
/// Difference between the clocks of issuer and verifier that is tolerated.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Claims of an access token. Times are seconds since 1970; all are required.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// Account id.
    pub sub: Uuid,
    /// Session id.
    pub sid: Uuid,
    /// Issued at.
    pub iat: u64,
    /// Not valid before.
    pub nbf: u64,
    /// Not valid after.
    pub exp: u64,
}

/// The caller, as its access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Account.
    pub account_id: Uuid,
    /// The login that the token belongs to.
    pub session_id: Uuid,
}

impl<S> FromRequestParts<S> for User
where
    Verifier: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let token = bearer(&parts.headers)?;
        Verifier::from_ref(state).verify(token).await
    }
}

/// The token of `Authorization: Bearer`. Tokens in the query string are not looked at: they would
/// end up in logs.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let detail = "send an access token: Authorization: Bearer <token>";
        return Err(Problem::new(Kind::Unauthenticated, detail));
    };
    match value.to_str().ok().and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Problem::new(
            Kind::Unauthenticated,
            "only the Bearer scheme is accepted",
        )),
    }
}
