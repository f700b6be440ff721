//! Tokens that must not open anything, and one that must.
//!
//! The key that the tests sign with is published beside the server's own ones before the start,
//! so that every token here has a good signature unless it says otherwise: what is tested is the
//! rest.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cloudstore_dbproxy::SqliteStore;
use cloudstore_proto::account::{PublicKey, PublishKeyRequest};
use cloudstore_service::clock::now_ms;
use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Local, TestStack, User, send};

const KID: &str = "e2e-test-key";

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// A server that trusts [`key`].
async fn trusting_server() -> Local {
    let mut local = Local::start().await;
    local.stop().await;
    publish(&local.data().join("metadata.sqlite")).await;
    local.launch().await;
    local
}

async fn publish(database: &Path) {
    let store = SqliteStore::open(database).await.unwrap();
    let key = PublicKey {
        kid: KID.into(),
        public_key: key().verifying_key().to_bytes().to_vec().into(),
        expires_at_ms: now_ms() + 3_600_000,
    };
    store
        .publish_key(PublishKeyRequest { key: Some(key) })
        .await
        .unwrap();
    assert_eq!(
        Arc::strong_count(&store),
        1,
        "closed before the server opens it"
    );
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap())
}

fn decode(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn signed(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = key().sign(message.as_bytes()).to_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "JWT", "kid": KID })
}

/// The claims of the user's own token, which live.
fn claims(user: &User) -> Value {
    decode(user.token.split('.').nth(1).unwrap())
}

fn changed(mut value: Value, member: &str, to: Value) -> Value {
    value[member] = to;
    value
}

fn without(mut value: Value, member: &str) -> Value {
    value.as_object_mut().unwrap().remove(member).unwrap();
    value
}

async fn me(user: &User, token: &str) -> Answer {
    let user = User {
        token: token.to_owned(),
        ..user.clone()
    };
    // Each service asks on its own.
    let listing = user.try_stat("/").await;
    let uploads = user.get("/api/v1/uploads").await;
    let me = user.get("/api/v1/me").await;
    assert_eq!((listing.status, uploads.status), (me.status, me.status));
    me
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_checked_even_if_the_signature_is_good() {
    let local = trusting_server().await;
    let user = local.user().await;
    let now = u64::try_from(now_ms()).unwrap() / 1_000;
    me(&user, &signed(&header(), &claims(&user)))
        .await
        .status(200);

    let expired = changed(claims(&user), "exp", json!(now - 120));
    let answer = me(&user, &signed(&header(), &expired)).await;
    assert!(answer.header("www-authenticate").contains("invalid_token"));
    answer.problem(401, "token-expired");

    let rows = [
        (
            "another audience",
            changed(claims(&user), "aud", json!("internal")),
        ),
        (
            "another issuer",
            changed(claims(&user), "iss", json!("somebody")),
        ),
        (
            "not valid yet",
            changed(claims(&user), "nbf", json!(now + 600)),
        ),
        (
            "an account id that is none",
            changed(claims(&user), "sub", json!("admin")),
        ),
        (
            "expiry as text",
            changed(claims(&user), "exp", json!("tomorrow")),
        ),
        ("without expiry", without(claims(&user), "exp")),
        ("without start", without(claims(&user), "nbf")),
        ("without audience", without(claims(&user), "aud")),
        ("without issuer", without(claims(&user), "iss")),
        ("without account", without(claims(&user), "sub")),
        ("without session", without(claims(&user), "sid")),
    ];
    for (what, claims) in rows {
        let answer = me(&user, &signed(&header(), &claims)).await;
        assert_eq!(answer.status, 401, "{what}");
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_may_differ_a_little() {
    let local = trusting_server().await;
    let user = local.user().await;
    let now = u64::try_from(now_ms()).unwrap() / 1_000;
    let slow = changed(claims(&user), "exp", json!(now - 5));
    me(&user, &signed(&header(), &slow)).await.status(200);
    let fast = changed(claims(&user), "nbf", json!(now + 5));
    me(&user, &signed(&header(), &fast)).await.status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_our_algorithm_and_only_our_keys_count() {
    let local = trusting_server().await;
    let user = local.user().await;
    let claims = claims(&user);
    let unsigned = |header: &Value| format!("{}.{}.", encode(header), encode(&claims));
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519",
        "x": URL_SAFE_NO_PAD.encode(key().verifying_key().to_bytes()),
    });
    let rows = [
        (
            "no signature",
            unsigned(&json!({ "alg": "none", "kid": KID })),
        ),
        ("no signature, EdDSA", unsigned(&header())),
        ("HMAC with the public key", hmac(&claims)),
        (
            "an unknown key",
            signed(&changed(header(), "kid", json!("nobody")), &claims),
        ),
        ("no key", signed(&without(header(), "kid"), &claims)),
        (
            "its own key",
            signed(
                &json!({ "alg": "EdDSA", "jwk": jwk, "kid": "own" }),
                &claims,
            ),
        ),
        (
            "a critical extension",
            signed(&changed(header(), "crit", json!(["x"])), &claims),
        ),
        (
            "claims of somebody else",
            swapped_claims(&local, &user).await,
        ),
        (
            "a kilobyte of key id",
            signed(&changed(header(), "kid", json!("k".repeat(1_000))), &claims),
        ),
        (
            "a huge token",
            format!("{}.{}.{}", "A".repeat(20_000), "A".repeat(20_000), "A"),
        ),
    ];
    for (what, token) in rows {
        let answer = me(&user, &token).await;
        assert_eq!(answer.status, 401, "{what}");
        answer.problem(401, "unauthenticated");
    }
}

/// HS256 with the published key as the secret: the classic confusion.
fn hmac(claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT", "kid": KID });
    let message = format!("{}.{}", encode(&header), encode(claims));
    let secret = key().verifying_key().to_bytes();
    let tag = hmac_sha256(&secret, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// RFC 2104.
fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let pad = |byte: u8| -> Vec<u8> {
        let padded = key.iter().copied().chain([0; 32]);
        padded.map(|key| key ^ byte).collect()
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

/// Header and signature of one user's token around the claims of another's.
async fn swapped_claims(local: &Local, user: &User) -> String {
    let other = local.user().await;
    let parts: Vec<_> = user.token.split('.').collect();
    let claims = other.token.split('.').nth(1).unwrap();
    format!("{}.{claims}.{}", parts[0], parts[2])
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_a_bearer_token_in_the_header() {
    let (stack, user) = TestStack::with_user().await;
    let get = |path: &str| stack.api().request(Method::GET, path);
    let token = &user.token;
    let mut flipped = token.clone().into_bytes();
    let middle = flipped.len() - 20;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let rows = [
        ("nothing", get("/api/v1/me")),
        (
            "in the query",
            get(&format!("/api/v1/me?access_token={token}")),
        ),
        (
            "another scheme",
            get("/api/v1/me").basic_auth(&user.name, Some("x")),
        ),
        (
            "no scheme",
            get("/api/v1/me").header("authorization", token),
        ),
        (
            "no token",
            get("/api/v1/me").header("authorization", "Bearer "),
        ),
        (
            "twice",
            get("/api/v1/me")
                .bearer_auth(token)
                .header("authorization", format!("Bearer {token}")),
        ),
        ("garbage", get("/api/v1/me").bearer_auth("a.b.c")),
        (
            "the refresh token",
            get("/api/v1/me").bearer_auth(&user.refresh),
        ),
        ("a flipped bit", get("/api/v1/me").bearer_auth(&flipped)),
        (
            "not text",
            get("/api/v1/me").header("authorization", &b"Bearer \xff\xfe"[..]),
        ),
    ];
    for (what, request) in rows {
        let answer = send(request).await;
        // A gateway may refuse what cannot be a request before it comes to credentials.
        if stack.is_gateway() && what == "twice" && answer.status == 400 {
            answer.problem(400, "malformed-request");
            continue;
        }
        assert_eq!(answer.status, 401, "{what}");
        assert!(
            answer.header("www-authenticate").starts_with("Bearer"),
            "{what}"
        );
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_private_address_demands_a_token() {
    let stack = TestStack::start().await;
    let rows = [
        ("GET", "/api/v1/me"),
        ("PATCH", "/api/v1/me"),
        ("PUT", "/api/v1/me/password"),
        ("DELETE", "/api/v1/sessions"),
        ("DELETE", "/api/v1/sessions/current"),
        ("POST", "/api/v1/uploads"),
        ("GET", "/api/v1/uploads"),
        ("POST", "/api/v1/uploads/batch"),
        (
            "GET",
            "/api/v1/uploads/0197a0b0-0000-7000-8000-000000000000",
        ),
        (
            "DELETE",
            "/api/v1/uploads/0197a0b0-0000-7000-8000-000000000000",
        ),
        (
            "POST",
            "/api/v1/uploads/0197a0b0-0000-7000-8000-000000000000/proof",
        ),
        (
            "POST",
            "/api/v1/uploads/0197a0b0-0000-7000-8000-000000000000/complete",
        ),
        (
            "PUT",
            "/api/v1/uploads/0197a0b0-0000-7000-8000-000000000000/chunks/0",
        ),
        ("GET", "/api/v1/content/a"),
        ("HEAD", "/api/v1/content/a"),
        ("PUT", "/api/v1/content/a"),
        ("GET", "/api/v1/files"),
        ("GET", "/api/v1/files/"),
        ("GET", "/api/v1/files/a"),
        ("PATCH", "/api/v1/files/a"),
        ("DELETE", "/api/v1/files/a"),
        ("POST", "/api/v1/folders"),
    ];
    for (method, path) in rows {
        let method: Method = method.parse().unwrap();
        let answer = send(stack.api().request(method.clone(), path)).await;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert!(
            answer.header("www-authenticate").starts_with("Bearer"),
            "{method} {path}"
        );
        if method != Method::HEAD {
            answer.problem(401, "unauthenticated");
        }
    }
}
