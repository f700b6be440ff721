//! Accounts, sessions, profile, keys.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cloudstore_proto::http::{Account, Tokens};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, PASSWORD, TestStack, User, eventually, send};

fn fresh_name() -> String {
    format!("u-{}", uuid::Uuid::now_v7().simple())
}

async fn refresh(api: &Api, token: &str) -> crate::support::Answer {
    api.post(
        "/api/v1/sessions/refresh",
        &json!({ "refresh_token": token }),
    )
    .await
}

fn with(user: &User, tokens: &Tokens) -> User {
    User {
        token: tokens.access_token.clone(),
        refresh: tokens.refresh_token.clone(),
        ..user.clone()
    }
}

/// The services other than the one that ends a session hear of it within about a second.
async fn is_locked_out(user: &User) {
    user.get("/api/v1/me").await.problem(401, "unauthenticated");
    eventually("an ended session is refused everywhere", async || {
        (user.try_stat("/").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_answers_with_the_account() {
    let stack = TestStack::start().await;
    let name = fresh_name();
    let body = json!({
        "username": name,
        "password": PASSWORD,
        "email": "anna@example.org",
        "display_name": "Änna 🌻",
    });
    let answer = stack
        .api()
        .post("/api/v1/accounts", &body)
        .await
        .status(201);
    assert!(!answer.text().contains(PASSWORD));
    let account: Account = answer.json(201);
    assert_eq!(
        (account.username, account.email),
        (name.clone(), "anna@example.org".into())
    );
    assert_eq!(account.display_name, "Änna 🌻");
    assert_eq!((account.used_bytes, account.reserved_bytes), (0, 0));
    assert!(account.quota_bytes > 0);
    let user = stack.api().login(&name.to_uppercase(), PASSWORD).await;
    assert_eq!(
        user.me().await.id,
        account.id,
        "usernames do not depend on case"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usernames_are_unique_without_regard_to_case() {
    let (stack, user) = TestStack::with_user().await;
    for name in [user.name.clone(), user.name.to_uppercase()] {
        let body = json!({ "username": name, "password": PASSWORD });
        stack
            .api()
            .post("/api/v1/accounts", &body)
            .await
            .problem(409, "name-taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_registrations_of_a_name_one_succeeds() {
    let stack = TestStack::start().await;
    let body = json!({ "username": fresh_name(), "password": PASSWORD });
    let tries = (0..6).map(|_| stack.api().post("/api/v1/accounts", &body));
    let answers = futures::future::join_all(tries).await;
    let won = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.problem(409, "name-taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_a_registration_is_named() {
    let stack = TestStack::start().await;
    let rows: &[(Value, &[&str])] = &[
        (
            json!({ "username": "a", "password": PASSWORD }),
            &["username"],
        ),
        (
            json!({ "username": "x".repeat(65), "password": PASSWORD }),
            &["username"],
        ),
        (
            json!({ "username": "no spaces", "password": PASSWORD }),
            &["username"],
        ),
        (
            json!({ "username": "nul\0", "password": PASSWORD }),
            &["username"],
        ),
        (
            json!({ "username": fresh_name(), "password": "seven77" }),
            &["password"],
        ),
        (
            json!({ "username": fresh_name(), "password": "x".repeat(1025) }),
            &["password"],
        ),
        (
            json!({ "username": "?", "password": "" }),
            &["password", "username"],
        ),
        (
            json!({ "username": fresh_name(), "password": PASSWORD, "email": "a\r\nBcc: b@c" }),
            &["email"],
        ),
        (
            json!({ "username": fresh_name(), "password": PASSWORD, "display_name": "\u{7}" }),
            &["display_name"],
        ),
        (json!({ "username": fresh_name() }), &["password"]),
        (
            json!({ "username": fresh_name(), "password": PASSWORD, "admin": true }),
            &["admin"],
        ),
        (
            json!({ "username": 7, "password": PASSWORD }),
            &["username"],
        ),
    ];
    for (body, fields) in rows {
        let answer = stack.api().post("/api/v1/accounts", body).await;
        let problem = answer.problem(422, "invalid-fields");
        let errors = problem.extensions["errors"].as_object().unwrap();
        assert_eq!(errors.keys().collect::<Vec<_>>(), *fields, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_answers_with_a_pair_of_tokens() {
    let (stack, user) = TestStack::with_user().await;
    let body = json!({ "username": user.name, "password": PASSWORD });
    let answer = stack
        .api()
        .post("/api/v1/sessions", &body)
        .await
        .status(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let tokens: Tokens = answer.json(201);
    assert_eq!(tokens.token_type, "Bearer");
    assert!((60..=900).contains(&tokens.expires_in), "minutes");
    assert_ne!(tokens.refresh_token, user.refresh);
    assert_eq!(with(&user, &tokens).me().await.username, user.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_user_and_wrong_password_cannot_be_told_apart() {
    let (stack, user) = TestStack::with_user().await;
    let mut quickest = [Duration::MAX; 2];
    for _ in 0..4 {
        let mut bodies = Vec::new();
        for (quickest, name) in quickest.iter_mut().zip([user.name.clone(), fresh_name()]) {
            let start = Instant::now();
            let body = json!({ "username": name, "password": "not the password" });
            let answer = stack.api().post("/api/v1/sessions", &body).await;
            *quickest = start.elapsed().min(*quickest);
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            let mut problem = answer.problem(401, "unauthenticated");
            problem.request_id.clear();
            bodies.push(serde_json::to_value(problem).unwrap());
        }
        assert_eq!(bodies[0], bodies[1]);
    }
    let [known, unknown] = quickest;
    // Hashing a password takes many times as long as not hashing it.
    assert!(
        unknown > known / 3 && known > unknown / 3,
        "{known:?} and {unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_a_password_is_slowed_down() {
    let (stack, user) = TestStack::with_user().await;
    let wrong = json!({ "username": user.name, "password": "not the password" });
    let refused = async {
        for _ in 0..200 {
            let answer = stack.api().post("/api/v1/sessions", &wrong).await;
            if answer.status == 429 {
                return answer;
            }
            answer.problem(401, "unauthenticated");
        }
        panic!("200 guesses in a row were allowed");
    };
    let refused = refused.await;
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    refused.problem(429, "rate-limited");
    user.get("/api/v1/me").await.status(200);
    stack.user().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens_rotate() {
    let (stack, user) = TestStack::with_user().await;
    let first: Tokens = refresh(stack.api(), &user.refresh).await.json(200);
    let second: Tokens = refresh(stack.api(), &first.refresh_token).await.json(200);
    assert_eq!(with(&user, &second).me().await.username, user.name);
    for garbage in [
        "",
        "x",
        &second.access_token,
        &"A".repeat(43),
        &"A".repeat(10_000),
    ] {
        refresh(stack.api(), garbage)
            .await
            .problem(401, "unauthenticated");
    }
    refresh(stack.api(), &second.refresh_token)
        .await
        .status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_of_a_refresh_token_ends_the_session() {
    let (stack, user) = TestStack::with_user().await;
    let other = stack.api().login(&user.name, PASSWORD).await;
    let stolen: Tokens = refresh(stack.api(), &user.refresh).await.json(200);
    refresh(stack.api(), &user.refresh)
        .await
        .problem(401, "unauthenticated");
    refresh(stack.api(), &stolen.refresh_token)
        .await
        .problem(401, "unauthenticated");
    is_locked_out(&user).await;
    is_locked_out(&with(&user, &stolen)).await;
    assert_eq!(
        other.me().await.username,
        user.name,
        "another login is not affected"
    );
    refresh(stack.api(), &other.refresh).await.status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_works_once_however_many_use_it_at_once() {
    let (stack, user) = TestStack::with_user().await;
    let tries = (0..8).map(|_| refresh(stack.api(), &user.refresh));
    let answers = futures::future::join_all(tries).await;
    let won: Vec<Tokens> = answers
        .into_iter()
        .filter(|answer| answer.status != 401)
        .map(|answer| answer.json(200))
        .collect();
    assert_eq!(won.len(), 1);
    refresh(stack.api(), &won[0].refresh_token)
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_one_session() {
    let (stack, user) = TestStack::with_user().await;
    let other = stack.api().login(&user.name, PASSWORD).await;
    user.delete("/api/v1/sessions/current").await.status(204);
    is_locked_out(&user).await;
    refresh(stack.api(), &user.refresh)
        .await
        .problem(401, "unauthenticated");
    user.delete("/api/v1/sessions/current")
        .await
        .problem(401, "unauthenticated");
    other.me().await;
    other.try_stat("/").await.status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_everywhere_ends_all_sessions() {
    let (stack, user) = TestStack::with_user().await;
    let other = stack.api().login(&user.name, PASSWORD).await;
    let stranger = stack.user().await;
    user.delete("/api/v1/sessions").await.status(204);
    for ended in [&user, &other] {
        is_locked_out(ended).await;
        refresh(stack.api(), &ended.refresh)
            .await
            .problem(401, "unauthenticated");
    }
    stranger.me().await;
    stack.api().login(&user.name, PASSWORD).await.me().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_is_read_and_changed() {
    let (_stack, user) = TestStack::with_user().await;
    let before = user.me().await;
    let patch = json!({ "email": "new@example.org", "display_name": "名前" });
    let after: Account = user.patch("/api/v1/me", &patch).await.json(200);
    assert_eq!(
        (&*after.email, &*after.display_name),
        ("new@example.org", "名前")
    );
    let after: Account = user
        .patch("/api/v1/me", &json!({ "email": "" }))
        .await
        .json(200);
    assert_eq!(
        (&*after.email, &*after.display_name),
        ("", "名前"),
        "the rest stays"
    );
    let read = user.me().await;
    assert_eq!((read.id, read.display_name), (before.id, "名前".into()));

    let wrong = [
        json!({ "email": "x" }),
        json!({ "quota_bytes": 1 }),
        json!({ "username": "y" }),
    ];
    for body in wrong {
        user.patch("/api/v1/me", &body)
            .await
            .problem(422, "invalid-fields");
    }
    assert_eq!(user.me().await.quota_bytes, before.quota_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_other_session() {
    let (stack, user) = TestStack::with_user().await;
    let other = stack.api().login(&user.name, PASSWORD).await;
    let change = async |old: &str, new: &str| {
        let body = json!({ "old_password": old, "new_password": new });
        send(user.request(Method::PUT, "/api/v1/me/password").json(&body)).await
    };
    for (old, new, field) in [
        ("wrong password", "another password", "old_password"),
        (PASSWORD, "short", "new_password"),
    ] {
        let problem = change(old, new).await.problem(422, "invalid-fields");
        assert!(
            problem.extensions["errors"].get(field).is_some(),
            "{problem:?}"
        );
    }
    other.me().await;

    change(PASSWORD, "another password").await.status(204);
    user.me().await;
    is_locked_out(&other).await;
    refresh(stack.api(), &other.refresh)
        .await
        .problem(401, "unauthenticated");
    let old = json!({ "username": user.name, "password": PASSWORD });
    stack
        .api()
        .post("/api/v1/sessions", &old)
        .await
        .problem(401, "unauthenticated");
    stack
        .api()
        .login(&user.name, "another password")
        .await
        .me()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_set_is_public_and_has_the_key_of_our_tokens() {
    let (stack, user) = TestStack::with_user().await;
    let keys: Value = send(stack.api().request(Method::GET, "/.well-known/jwks.json"))
        .await
        .json(200);
    let header = user.token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    let keys = keys["keys"].as_array().unwrap();
    let key = keys
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .expect("the key is published");
    assert_eq!(
        (&key["kty"], &key["crv"]),
        (&json!("OKP"), &json!("Ed25519"))
    );
    assert_eq!(
        URL_SAFE_NO_PAD
            .decode(key["x"].as_str().unwrap())
            .unwrap()
            .len(),
        32
    );
    for key in keys {
        assert!(key.get("d").is_none(), "the private half stays private");
    }
}
