//! Access tokens: forgeries, keys, and life without the database.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use cloudstore_proto::account::{
    PublicKey, PublishKeyRequest, account_store_client::AccountStoreClient,
};
use cloudstore_service::{auth, clock, rpc, settings::Settings};
use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::stack::{Stack, problem};

fn token(header: &Value, claims: &Value, key: &SigningKey) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn jwks(stack: &Stack) -> Vec<Value> {
    let answer = stack
        .request(Method::GET, "/.well-known/jwks.json")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    body["keys"].as_array().unwrap().clone()
}

async fn publish(stack: &Stack, kid: &str, key: &SigningKey) {
    let key = PublicKey {
        kid: kid.into(),
        public_key: key.verifying_key().to_bytes().to_vec().into(),
        expires_at_ms: clock::now_ms() + 3_600_000,
    };
    let mut store = AccountStoreClient::new(stack.channel.clone());
    store
        .publish_key(rpc::deadline(PublishKeyRequest { key: Some(key) }))
        .await
        .unwrap();
}

#[tokio::test]
async fn forgeries_are_refused() {
    let (stack, tokens) = Stack::with_user("anna").await;
    let good = &tokens.access_token;
    let (header, claims) = (part(good, 0), part(good, 1));
    let key = &jwks(&stack).await[0];
    assert_eq!(
        (&key["kid"], &key["alg"]),
        (&header["kid"], &json!("EdDSA"))
    );
    assert_eq!(key.get("d"), None, "the private half is nobody's business");

    let foreign = SigningKey::from_bytes(&[9; 32]);
    let with_alg = |alg: &str| json!({"alg": alg, "kid": header["kid"], "typ": "JWT"});
    let payload = good.split('.').nth(1).unwrap();
    let none = BASE64_URL_SAFE_NO_PAD.encode(with_alg("none").to_string());
    let public = BASE64_URL_SAFE_NO_PAD
        .decode(key["x"].as_str().unwrap())
        .unwrap();
    let mut hmac = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    hmac.kid = header["kid"].as_str().map(Into::into);
    let secret = jsonwebtoken::EncodingKey::from_secret(&public);
    for forged in [
        format!("{none}.{payload}."),
        jsonwebtoken::encode(&hmac, &claims, &secret).unwrap(),
        token(&header, &claims, &foreign),
        token(
            &json!({"alg": "EdDSA", "kid": "unknown"}),
            &claims,
            &foreign,
        ),
        format!("{good}x"),
        tokens.refresh_token.clone(),
        String::new(),
    ] {
        for path in ["/api/v1/me", "/whoami"] {
            problem(stack.get(path, &forged).await, 401, "unauthenticated").await;
        }
    }
    assert_eq!(stack.get("/whoami", good).await.status(), 200);
}

#[tokio::test]
async fn claims_are_checked() {
    let (stack, tokens) = Stack::with_user("anna").await;
    let key = SigningKey::from_bytes(&[7; 32]);
    publish(&stack, "test", &key).await;
    let header = json!({"alg": "EdDSA", "kid": "test"});
    let now = clock::now_s();
    let changed = |name: &str, value: Value| {
        let mut claims = part(&tokens.access_token, 1);
        claims[name] = value;
        token(&header, &claims, &key)
    };
    // The key is new to the verifier: it looks for it.
    let good = changed("exp", json!(now + 60));
    assert_eq!(stack.get("/whoami", &good).await.status(), 200);
    for (name, value, slug) in [
        ("aud", json!("another-api"), "unauthenticated"),
        ("iss", json!("somebody"), "unauthenticated"),
        ("nbf", json!(now + 3_600), "unauthenticated"),
        ("exp", json!(now - 3_600), "token-expired"),
    ] {
        let answer = stack.get("/whoami", &changed(name, value)).await;
        let challenge = answer.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(challenge.contains("invalid_token"), slug == "token-expired");
        problem(answer, 401, slug).await;
    }
    // A good token of a session that does not exist ends here, where sessions are looked up.
    let nobody = changed("sid", json!(Uuid::now_v7()));
    problem(
        stack.get("/api/v1/me", &nobody).await,
        401,
        "unauthenticated",
    )
    .await;
}

#[tokio::test]
async fn a_restart_brings_a_new_key_and_old_tokens_stay_valid() {
    let (stack, tokens) = Stack::with_user("anna").await;
    let old = jwks(&stack).await;
    let shutdown = CancellationToken::new();
    let verifier = auth::Verifier::new(stack.channel.clone(), shutdown.clone());
    let config = cloudstore_account::Config::default();
    let channel = stack.channel.clone();
    let again = cloudstore_account::router(
        config,
        channel,
        verifier.clone(),
        Settings::fixed(),
        shutdown.clone(),
    );
    let _again = again.await.unwrap();
    let new = jwks(&stack).await;
    assert_eq!((old.len(), new.len()), (1, 2));
    assert!(new.contains(&old[0]));
    verifier.verify(&tokens.access_token).await.unwrap();
    assert_eq!(
        stack.get("/api/v1/me", &tokens.access_token).await.status(),
        200
    );
    shutdown.cancel();
}

#[tokio::test]
async fn without_the_database_known_keys_go_on_working() {
    let (mut stack, tokens) = Stack::with_user("anna").await;
    let other = stack.login("anna").await;
    assert_eq!(
        stack.get("/whoami", &tokens.access_token).await.status(),
        200
    );
    stack.stop_database().await;
    // One token that was seen before, and one that is new.
    assert_eq!(
        stack.get("/whoami", &tokens.access_token).await.status(),
        200
    );
    assert_eq!(
        stack.get("/whoami", &other.access_token).await.status(),
        200
    );
    let answer = stack.get("/api/v1/me", &tokens.access_token).await;
    assert!(answer.headers().contains_key("retry-after"));
    problem(answer, 503, "unavailable").await;
    problem(
        stack.try_login("anna", "whatever it is").await,
        503,
        "unavailable",
    )
    .await;
}
