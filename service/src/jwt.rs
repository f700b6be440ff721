//! Signed tokens: one algorithm (EdDSA with Ed25519), keys found by `kid` in our own lists only.
//! Users' access tokens (`auth`) and the tokens of services (`trust`) are made and checked here.

use ed25519_dalek::{SigningKey, pkcs8::EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes of an Ed25519 key, of either half.
pub const KEY_BYTES: usize = 32;
/// Longest token that is looked at; ours have about 400 bytes.
const MAX_TOKEN_BYTES: usize = 2048;

/// Why a token, or a key, is not good.
pub use jsonwebtoken::errors::{Error, ErrorKind};

/// A private key, and what is needed to sign with it.
pub struct KeyPair {
    kid: String,
    private: EncodingKey,
    public: [u8; KEY_BYTES],
}

impl KeyPair {
    /// The pair of a seed, which is the whole secret.
    #[must_use]
    pub fn from_seed(kid: impl Into<String>, seed: &[u8; KEY_BYTES]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let der = key
            .to_pkcs8_der()
            .expect("every Ed25519 key has an encoding");
        Self {
            kid: kid.into(),
            private: EncodingKey::from_ed_der(der.as_bytes()),
            public: key.verifying_key().to_bytes(),
        }
    }

    /// What tokens call this key.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The half that everybody may know.
    #[must_use]
    pub fn public(&self) -> &[u8; KEY_BYTES] {
        &self.public
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// When the claims do not serialize to a JSON object.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, Error> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.private)
    }
}

/// 32 bytes that nobody can guess.
///
/// # Errors
/// When the operating system has none.
pub fn random_seed() -> std::io::Result<[u8; KEY_BYTES]> {
    let mut seed = [0; KEY_BYTES];
    getrandom::fill(&mut seed).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(seed)
}

/// The `kid` of a token that could be ours; `None` for every other text.
pub(crate) fn kid(token: &str) -> Option<String> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    if header.alg != Algorithm::EdDSA || header.crit.is_some() {
        return None;
    }
    header.kid
}

/// What is demanded of a token.
pub(crate) struct Demands<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) audience: &'a str,
    /// Claims that must be there.
    pub(crate) claims: &'a [&'a str],
    /// Difference between the clocks of issuer and verifier that is tolerated, in seconds.
    pub(crate) leeway_s: u64,
}

/// The claims of a token that `key` signed and that is as demanded, now.
pub(crate) fn verify<C: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    demands: &Demands<'_>,
) -> Result<C, Error> {
    // One algorithm, whatever the token's header says: no "none", no HMAC with a public key.
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_required_spec_claims(demands.claims);
    rules.set_issuer(&[demands.issuer]);
    rules.set_audience(&[demands.audience]);
    rules.validate_nbf = true;
    rules.leeway = demands.leeway_s;
    Ok(jsonwebtoken::decode::<C>(token, key, &rules)?.claims)
}
