//! Random secrets that are given out once, as text, and kept as hashes.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::{Problem, Result};

/// Random bytes: nobody guesses them, so nothing has to slow guessing down.
pub(super) const BYTES: usize = 32;

/// A secret.
pub(super) struct Secret(pub(super) [u8; BYTES]);

impl Secret {
    /// A new one; `internal` when the system has no randomness.
    pub(super) fn generate() -> Result<Self> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Self(bytes))
    }

    /// The secret with this text, which has one form only.
    pub(super) fn parse(prefix: &str, text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix(prefix)?);
        bytes.ok()?.try_into().ok().map(Self)
    }

    /// The prefix and base64url.
    pub(super) fn text(&self, prefix: &str) -> String {
        format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }

    /// SHA-256, under which it is stored. A slow hash would protect no better: there is nothing to
    /// guess.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}
