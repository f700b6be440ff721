//! What opens a share: its token, which is in its address, and a ticket for those who have told its
//! password.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ISSUER, secret::Secret};
use crate::Result;

/// What every token of a share begins with, so that people recognise one.
pub const SHARE_PREFIX: &str = "css_";
/// `aud` of tickets: no access token passes for one, and no ticket for an access token.
pub const SHARE_AUDIENCE: &str = "cloudstore-share";
/// Life of a ticket: long enough to look around in a folder, and to go on with a download that broke
/// off.
pub const SHARE_TICKET_TTL: Duration = Duration::from_secs(60 * 60);
/// Name of the cookie that holds a ticket, and of the field that programs may send instead.
pub const SHARE_TICKET: &str = "cloudstore-share-ticket";

/// The token of a share. Only its hash is kept anywhere.
pub struct ShareToken(Secret);

impl ShareToken {
    /// A new one.
    ///
    /// # Errors
    /// `internal` when the system has no randomness.
    pub fn generate() -> Result<Self> {
        Secret::generate().map(Self)
    }

    /// The token with this text, which has one form only.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Secret::parse(SHARE_PREFIX, text).map(Self)
    }

    /// [`SHARE_PREFIX`] and base64url. The secret itself.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.text(SHARE_PREFIX)
    }

    /// SHA-256, under which it is stored.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}

impl fmt::Debug for ShareToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareToken(..)")
    }
}

/// Claims of a ticket. Times are seconds since 1970; all are required.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShareClaims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`SHARE_AUDIENCE`].
    pub aud: String,
    /// Id of the share.
    pub sub: Uuid,
    /// Not valid before.
    pub nbf: u64,
    /// Not valid after.
    pub exp: u64,
}

impl ShareClaims {
    /// Of a ticket for a share, from now on.
    #[must_use]
    pub fn new(share: Uuid, now_s: u64) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            aud: SHARE_AUDIENCE.to_owned(),
            sub: share,
            nbf: now_s,
            exp: now_s + SHARE_TICKET_TTL.as_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ApiToken;

    #[test]
    fn the_text_round_trips_and_is_no_other_token() {
        let token = ShareToken::generate().unwrap();
        let text = token.text();
        assert_eq!(text.len(), SHARE_PREFIX.len() + 43);
        assert_eq!(ShareToken::parse(&text).unwrap().hash(), token.hash());
        assert_eq!(format!("{token:?}"), "ShareToken(..)");
        assert!(ApiToken::parse(&text).is_none());
        let api = ApiToken::generate().unwrap().text();
        for bad in ["", SHARE_PREFIX, &api, &text[1..], &format!("{text}=")] {
            assert!(ShareToken::parse(bad).is_none(), "{bad}");
        }
    }
}
