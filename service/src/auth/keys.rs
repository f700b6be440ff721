//! The public keys that verify access tokens, and the check of one token against them.

use std::collections::HashMap;

use cloudstore_proto::account::PublicKey;
use jsonwebtoken::{DecodingKey, errors::ErrorKind};

use super::{AUDIENCE, Claims, ISSUER, LEEWAY, SHARE_AUDIENCE, ShareClaims};
use crate::{
    Kind, Problem, Result,
    jwt::{self, Demands, KEY_BYTES},
};

/// Our own keys by `kid`. Keys that a token brings along (`jwk`, `jku`, `x5u`) are never used.
#[derive(Default)]
pub(super) struct Keys(HashMap<String, Key>);

struct Key {
    public: DecodingKey,
    bytes: Vec<u8>,
    expires_at_ms: i64,
}

impl Keys {
    pub(super) fn from_published(keys: Vec<PublicKey>, now_ms: i64) -> Self {
        let usable = keys
            .into_iter()
            .filter(|key| key.public_key.len() == KEY_BYTES && key.expires_at_ms > now_ms);
        Self(
            usable
                .map(|key| {
                    let bytes = key.public_key.to_vec();
                    let public = DecodingKey::from_ed_der(&bytes);
                    (
                        key.kid,
                        Key {
                            public,
                            bytes,
                            expires_at_ms: key.expires_at_ms,
                        },
                    )
                })
                .collect(),
        )
    }

    pub(super) fn knows(&self, kid: &str, now_ms: i64) -> bool {
        self.0
            .get(kid)
            .is_some_and(|key| key.expires_at_ms > now_ms)
    }

    /// Is every key of `self` in `other`, with the same bytes?
    pub(super) fn subset_of(&self, other: &Self) -> bool {
        self.0
            .iter()
            .all(|(kid, key)| other.0.get(kid).is_some_and(|it| it.bytes == key.bytes))
    }

    fn key(&self, kid: &str, now_ms: i64) -> Result<&Key> {
        let key = self.0.get(kid).filter(|key| key.expires_at_ms > now_ms);
        key.ok_or_else(refused)
    }

    /// Verifies signature and claims of the ticket of a share.
    pub(super) fn verify_share(&self, kid: &str, ticket: &str, now_ms: i64) -> Result<ShareClaims> {
        let key = self.key(kid, now_ms)?;
        let demands = Demands {
            audience: SHARE_AUDIENCE,
            ..DEMANDS
        };
        let claims = jwt::verify(ticket, &key.public, &demands);
        claims.map_err(|error| refused().caused_by(error))
    }

    /// Verifies signature and claims.
    pub(super) fn verify(&self, kid: &str, token: &str, now_ms: i64) -> Result<Claims> {
        let key = self.key(kid, now_ms)?;
        let demands = Demands {
            audience: AUDIENCE,
            ..DEMANDS
        };
        match jwt::verify(token, &key.public, &demands) {
            Ok(claims) => Ok(claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => {
                Err(Problem::new(Kind::TokenExpired, "refresh the access token"))
            }
            Err(error) => Err(refused().caused_by(error)),
        }
    }
}

/// What is demanded of every token that these keys sign.
const DEMANDS: Demands<'static> = Demands {
    issuer: ISSUER,
    audience: "",
    claims: &["exp", "nbf", "iss", "aud", "sub"],
    leeway_s: LEEWAY.as_secs(),
};

/// The `kid` of a token that could be ours.
pub(super) fn kid(token: &str) -> Result<String> {
    jwt::kid(token).ok_or_else(refused)
}

/// One answer for everything that is wrong with a token.
pub(super) fn refused() -> Problem {
    Problem::new(Kind::Unauthenticated, "the access token is not valid")
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    use ed25519_dalek::{Signer as _, SigningKey};
    use jsonwebtoken::Algorithm;
    use serde_json::{Value, json};

    use super::*;
    use crate::clock;

    const KID: &str = "k1";

    fn signing_key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn published(key: &SigningKey, expires_at_ms: i64) -> PublicKey {
        let public_key = key.verifying_key().to_bytes().to_vec().into();
        PublicKey {
            kid: KID.into(),
            public_key,
            expires_at_ms,
        }
    }

    fn keys() -> Keys {
        Keys::from_published(vec![published(&signing_key(1), i64::MAX)], 0)
    }

    fn claims() -> Value {
        let now = clock::now_s();
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 60,
            "sub": "01900000-0000-7000-8000-000000000001",
            "sid": "01900000-0000-7000-8000-000000000002",
        })
    }

    fn token(header: &Value, claims: &Value, key: &SigningKey) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn verify(token: &str) -> Result<Claims, Kind> {
        let kid = kid(token).map_err(|problem| problem.kind())?;
        keys()
            .verify(&kid, token, clock::now_ms())
            .map_err(|problem| problem.kind())
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "kid": KID, "typ": "JWT"})
    }

    #[test]
    fn our_tokens_are_accepted() {
        let claims = verify(&token(&header(), &claims(), &signing_key(1))).unwrap();
        assert_eq!(
            claims.sub.to_string(),
            "01900000-0000-7000-8000-000000000001"
        );
    }

    #[test]
    fn other_signatures_and_algorithms_are_not() {
        let foreign = token(&header(), &claims(), &signing_key(2));
        assert_eq!(verify(&foreign).unwrap_err(), Kind::Unauthenticated);
        let good = token(&header(), &claims(), &signing_key(1));
        let unsigned = good.rsplit_once('.').unwrap().0;
        for alg in ["none", "None", "HS256", "RS256", "ES256", "eddsa"] {
            let header = json!({"alg": alg, "kid": KID});
            let signed = token(&header, &claims(), &signing_key(1));
            assert_eq!(verify(&signed).unwrap_err(), Kind::Unauthenticated, "{alg}");
            let empty = format!("{}.", signed.rsplit_once('.').unwrap().0);
            assert_eq!(verify(&empty).unwrap_err(), Kind::Unauthenticated, "{alg}");
        }
        for broken in [
            "",
            ".",
            "..",
            unsigned,
            &format!("{unsigned}."),
            &"x".repeat(5_000),
        ] {
            assert_eq!(verify(broken).unwrap_err(), Kind::Unauthenticated);
        }
    }

    #[test]
    fn hmac_with_the_public_key_is_not_accepted() {
        let public = signing_key(1).verifying_key().to_bytes();
        let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
        header.kid = Some(KID.into());
        let secret = jsonwebtoken::EncodingKey::from_secret(&public);
        let token = jsonwebtoken::encode(&header, &claims(), &secret).unwrap();
        assert_eq!(verify(&token).unwrap_err(), Kind::Unauthenticated);
    }

    #[test]
    fn keys_inside_a_token_are_ignored() {
        let key = signing_key(2);
        let x = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": KID});
        for extra in [
            json!({"jwk": jwk}),
            json!({"jku": "http://evil.example/keys"}),
            json!({"x5u": "http://evil.example/cert"}),
        ] {
            let mut header = header();
            header
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            let forged = token(&header, &claims(), &key);
            assert_eq!(
                verify(&forged).unwrap_err(),
                Kind::Unauthenticated,
                "{extra}"
            );
        }
        let unknown = json!({"alg": "EdDSA", "kid": "../k1"});
        assert_eq!(
            verify(&token(&unknown, &claims(), &key)).unwrap_err(),
            Kind::Unauthenticated
        );
        let none = json!({"alg": "EdDSA"});
        let keyless = token(&none, &claims(), &signing_key(1));
        assert_eq!(verify(&keyless).unwrap_err(), Kind::Unauthenticated);
    }

    #[test]
    fn every_claim_is_required_and_checked() {
        let check = |name: &str, value: Value| {
            let mut claims = claims();
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.into(), value),
            };
            verify(&token(&header(), &claims, &signing_key(1))).err()
        };
        for name in ["iss", "aud", "sub", "sid", "iat", "nbf", "exp"] {
            assert_eq!(
                check(name, Value::Null),
                Some(Kind::Unauthenticated),
                "{name}"
            );
        }
        for name in ["iss", "aud", "sub", "sid"] {
            assert_eq!(
                check(name, json!("other")),
                Some(Kind::Unauthenticated),
                "{name}"
            );
        }
        let now = clock::now_s();
        let leeway = LEEWAY.as_secs();
        assert_eq!(check("exp", json!(now - 1)), None, "within the leeway");
        assert_eq!(
            check("exp", json!(now - leeway - 5)),
            Some(Kind::TokenExpired)
        );
        assert_eq!(
            check("nbf", json!(now + leeway + 5)),
            Some(Kind::Unauthenticated)
        );
    }

    #[test]
    fn keys_expire_and_odd_ones_are_left_out() {
        let token = token(&header(), &claims(), &signing_key(1));
        let keys = Keys::from_published(vec![published(&signing_key(1), 1_000)], 0);
        assert!(keys.verify(KID, &token, 999).is_ok());
        assert!(keys.verify(KID, &token, 1_000).is_err());
        let mut odd = published(&signing_key(1), i64::MAX);
        odd.public_key = vec![1; 5].into();
        assert!(!Keys::from_published(vec![odd], 0).knows(KID, 0));
        let other = Keys::from_published(vec![published(&signing_key(2), i64::MAX)], 0);
        assert!(keys.subset_of(&super::tests::keys()) && !keys.subset_of(&other));
    }
}
