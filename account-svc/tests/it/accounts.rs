//! Registration and profile.

use cloudstore_proto::http::Account;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stack::{PASSWORD, Stack, problem};

#[tokio::test]
async fn register_and_read_the_profile() {
    let stack = Stack::start().await;
    let body = json!({
        "username": "Anna", "password": PASSWORD,
        "email": "anna@example.org", "display_name": "Anna Müller",
    });
    let answer = stack.post("/api/v1/accounts", &body).await;
    assert_eq!(answer.status(), 201);
    let text = answer.text().await.unwrap();
    assert!(
        !text.contains(PASSWORD) && !text.contains("argon2"),
        "{text}"
    );
    let new: Account = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&*new.username, &*new.display_name),
        ("Anna", "Anna Müller")
    );
    assert_eq!(
        (new.quota_bytes, new.used_bytes, new.reserved_bytes),
        (100 << 30, 0, 0)
    );

    let tokens = stack.login("ANNA").await;
    assert_eq!((&*tokens.token_type, tokens.expires_in), ("Bearer", 600));
    let me: Account = stack
        .get("/api/v1/me", &tokens.access_token)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!((me.id, me.created_at), (new.id.clone(), new.created_at));
    let elsewhere = stack
        .get("/whoami", &tokens.access_token)
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(elsewhere, new.id);
}

#[tokio::test]
async fn usernames_are_unique_without_regard_to_case() {
    let stack = Stack::start().await;
    stack.register("anna").await;
    let again = json!({"username": "ANNA", "password": PASSWORD});
    problem(
        stack.post("/api/v1/accounts", &again).await,
        409,
        "name-taken",
    )
    .await;
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let stack = Stack::start().await;
    let body = json!({
        "username": "a b", "password": "short", "email": "nowhere", "display_name": "a\u{7}",
    });
    let body = problem(
        stack.post("/api/v1/accounts", &body).await,
        422,
        "invalid-fields",
    )
    .await;
    let fields: Vec<_> = body["errors"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["display_name", "email", "password", "username"]);
    for (body, field) in [
        (json!({"username": "anna"}), "password"),
        (
            json!({"username": "anna", "password": PASSWORD, "admin": true}),
            "admin",
        ),
        (json!({"username": 7, "password": PASSWORD}), "username"),
    ] {
        let answer = stack.post("/api/v1/accounts", &body).await;
        let body = problem(answer, 422, "invalid-fields").await;
        assert!(body["errors"].get(field).is_some(), "{body}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let stack = Stack::start().await;
    let post = || stack.request(Method::POST, "/api/v1/accounts");
    let json = || post().header("content-type", "application/json");
    for (request, status, slug) in [
        (post().body("{}"), 415, "unsupported-media-type"),
        (json().body("{"), 400, "malformed-request"),
        (json().body(""), 400, "malformed-request"),
        (json().body(" ".repeat(33 * 1024)), 413, "too-large"),
        (
            json().header("content-encoding", "gzip").body("{}"),
            415,
            "unsupported-media-type",
        ),
        (
            stack.request(Method::GET, "/api/v1/accounts"),
            405,
            "method-not-allowed",
        ),
    ] {
        problem(request.send().await.unwrap(), status, slug).await;
    }
}

#[tokio::test]
async fn update_the_profile() {
    let (stack, tokens) = Stack::with_user("anna").await;
    let patch = async |body: Value| {
        let request = stack.request(Method::PATCH, "/api/v1/me").json(&body);
        request
            .bearer_auth(&tokens.access_token)
            .send()
            .await
            .unwrap()
    };
    let me: Account = patch(json!({"email": "a@b.c"})).await.json().await.unwrap();
    assert_eq!((&*me.email, &*me.display_name), ("a@b.c", ""));
    let me: Account = patch(json!({"display_name": "Änni"}))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!((&*me.email, &*me.display_name), ("a@b.c", "Änni"));
    let me: Account = patch(json!({"email": ""})).await.json().await.unwrap();
    assert_eq!((&*me.email, &*me.display_name), ("", "Änni"));
    problem(patch(json!({"email": "x"})).await, 422, "invalid-fields").await;
    problem(
        patch(json!({"username": "ben"})).await,
        422,
        "invalid-fields",
    )
    .await;
    problem(
        patch(json!({"quota_bytes": 1})).await,
        422,
        "invalid-fields",
    )
    .await;
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let (stack, tokens) = Stack::with_user("anna").await;
    let other = stack.login("anna").await;
    let put = async |body: Value| {
        let request = stack
            .request(Method::PUT, "/api/v1/me/password")
            .json(&body);
        request
            .bearer_auth(&tokens.access_token)
            .send()
            .await
            .unwrap()
    };
    let wrong = json!({"old_password": "wrong password", "new_password": "another password"});
    let body = problem(put(wrong).await, 422, "invalid-fields").await;
    assert!(body["errors"].get("old_password").is_some(), "{body}");
    let short = json!({"old_password": PASSWORD, "new_password": "short"});
    let body = problem(put(short).await, 422, "invalid-fields").await;
    assert!(body["errors"].get("new_password").is_some(), "{body}");

    let good = json!({"old_password": PASSWORD, "new_password": "another password"});
    assert_eq!(put(good).await.status(), 204);
    assert_eq!(
        stack.get("/api/v1/me", &tokens.access_token).await.status(),
        200
    );
    assert_eq!(stack.refresh(&tokens.refresh_token).await.status(), 200);
    problem(
        stack.get("/api/v1/me", &other.access_token).await,
        401,
        "unauthenticated",
    )
    .await;
    problem(
        stack.refresh(&other.refresh_token).await,
        401,
        "unauthenticated",
    )
    .await;
    problem(
        stack.try_login("anna", PASSWORD).await,
        401,
        "unauthenticated",
    )
    .await;
    assert_eq!(
        stack.try_login("anna", "another password").await.status(),
        201
    );
}
