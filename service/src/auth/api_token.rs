//! The text of API tokens, with which programs authenticate instead of a login.

use std::fmt;

use super::secret::Secret;
use crate::Result;

/// What every API token begins with, so that people, and programs that look for leaked secrets,
/// recognise one.
pub const PREFIX: &str = "cst_";

/// An API token. Only its hash is kept anywhere.
pub struct ApiToken(Secret);

impl ApiToken {
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
        Secret::parse(PREFIX, text).map(Self)
    }

    /// [`PREFIX`] and base64url. The secret itself.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.text(PREFIX)
    }

    /// SHA-256, under which it is stored.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.0.hash()
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::secret::BYTES;

    #[test]
    fn the_text_round_trips_and_stays_out_of_debug_output() {
        let token = ApiToken::generate().unwrap();
        let text = token.text();
        assert_eq!(text.len(), PREFIX.len() + 43);
        assert_eq!(ApiToken::parse(&text).unwrap().hash(), token.hash());
        assert_eq!(format!("{token:?}"), "ApiToken(..)");
        let other = ApiToken::generate().unwrap();
        assert_ne!(other.text(), text);
    }

    #[test]
    fn other_texts_are_none() {
        let text = ApiToken(Secret([0xff; BYTES])).text();
        let body = &text[PREFIX.len()..];
        for bad in [
            "",
            PREFIX,
            body,
            &text[..text.len() - 1],
            &format!("{text}="),
            &format!("{text}A"),
            &format!(" {text}"),
            &format!("CST_{body}"),
            // The same bytes with other unused bits at the end.
            &format!("{}9", &text[..text.len() - 1]),
            &format!("{PREFIX}{}", "ä".repeat(43)),
            &format!("{PREFIX}{}", "x".repeat(100_000)),
        ] {
            assert!(ApiToken::parse(bad).is_none(), "{bad}");
        }
    }
}
