//! Who is calling: people with the access token of a login, programs with an API token. A handler
//! that takes a [`User`] or one of its relatives (`access.rs`) requires valid credentials, one that
//! does not is public.

mod access;
mod api_token;
mod credentials;
mod keys;
mod secret;
mod share;
mod tokens;
mod verifier;

use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

pub(crate) use self::credentials::bearer;
pub use self::{
    access::{Access, Credential, Login, Reader, Uploader, User, insufficient},
    api_token::{ApiToken, PREFIX},
    share::{
        SHARE_AUDIENCE, SHARE_PREFIX, SHARE_TICKET, SHARE_TICKET_TTL, ShareClaims, ShareToken,
    },
    verifier::Verifier,
};

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
