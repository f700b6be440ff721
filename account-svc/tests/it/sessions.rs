//! Login, refresh, logout.

use std::time::Duration;

use cloudstore_proto::http::{SessionList, Tokens};
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::stack::{PASSWORD, Stack, problem};

/// Far longer than the second after which a logout counts everywhere.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn unknown_users_and_wrong_passwords_look_the_same() {
    let (stack, _) = Stack::with_user("anna").await;
    let mut bodies = Vec::new();
    for (username, password) in [
        ("anna", "wrong password"),
        ("ben", PASSWORD),
        ("no such name!", PASSWORD),
        ("anna", ""),
    ] {
        let answer = stack.try_login(username, password).await;
        assert_eq!(
            answer.headers()["www-authenticate"],
            "Bearer realm=\"cloudstore\""
        );
        let mut body = problem(answer, 401, "unauthenticated").await;
        body.as_object_mut().unwrap().remove("request_id");
        bodies.push(body);
    }
    assert!(
        bodies.windows(2).all(|pair| pair[0] == pair[1]),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn guessing_is_slowed_down_for_one_username_only() {
    let (stack, _) = Stack::with_user("anna").await;
    stack.register("ben").await;
    let limited = async {
        loop {
            let answer = stack.try_login("anna", "wrong password").await;
            if answer.status() != 401 {
                return answer;
            }
        }
    };
    let limited = timeout(PATIENCE, limited)
        .await
        .expect("guessing is never limited");
    let wait: u32 = limited.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait));
    problem(limited, 429, "rate-limited").await;
    problem(stack.try_login("ANNA", PASSWORD).await, 429, "rate-limited").await;
    stack.login("ben").await;
}

#[tokio::test]
async fn refresh_rotates_and_reuse_ends_the_session() {
    let (stack, first) = Stack::with_user("anna").await;
    let second: Tokens = stack
        .refresh(&first.refresh_token)
        .await
        .json()
        .await
        .unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    let third: Tokens = stack
        .refresh(&second.refresh_token)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        stack.get("/api/v1/me", &third.access_token).await.status(),
        200
    );

    problem(
        stack.refresh(&first.refresh_token).await,
        401,
        "unauthenticated",
    )
    .await;
    problem(
        stack.refresh(&third.refresh_token).await,
        401,
        "unauthenticated",
    )
    .await;
    problem(
        stack.get("/api/v1/me", &third.access_token).await,
        401,
        "unauthenticated",
    )
    .await;
}

#[tokio::test]
async fn refresh_tokens_that_never_were() {
    let (stack, tokens) = Stack::with_user("anna").await;
    for token in ["", "x", &"A".repeat(43), &tokens.access_token] {
        problem(stack.refresh(token).await, 401, "unauthenticated").await;
    }
    let answer = stack.post("/api/v1/sessions/refresh", &json!({})).await;
    problem(answer, 422, "invalid-fields").await;
    assert_eq!(stack.refresh(&tokens.refresh_token).await.status(), 200);
}

#[tokio::test]
async fn logout_ends_one_session_here_at_once_and_soon_everywhere() {
    let (stack, one) = Stack::with_user("anna").await;
    let other = stack.login("anna").await;
    assert_eq!(stack.get("/whoami", &one.access_token).await.status(), 200);
    let gone = stack
        .delete("/api/v1/sessions/current", &one.access_token)
        .await;
    assert_eq!(gone.status(), 204);
    problem(
        stack.get("/api/v1/me", &one.access_token).await,
        401,
        "unauthenticated",
    )
    .await;
    problem(
        stack.refresh(&one.refresh_token).await,
        401,
        "unauthenticated",
    )
    .await;
    let again = stack
        .delete("/api/v1/sessions/current", &one.access_token)
        .await;
    problem(again, 401, "unauthenticated").await;
    let refused = async { while stack.get("/whoami", &one.access_token).await.status() == 200 {} };
    timeout(PATIENCE, refused)
        .await
        .expect("a revoked session is let in elsewhere");
    problem(
        stack.get("/whoami", &one.access_token).await,
        401,
        "unauthenticated",
    )
    .await;

    assert_eq!(
        stack.get("/api/v1/me", &other.access_token).await.status(),
        200
    );
    assert_eq!(
        stack.get("/whoami", &other.access_token).await.status(),
        200
    );
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one() {
    let (stack, one) = Stack::with_user("anna").await;
    let two = stack.login("anna").await;
    stack.register("ben").await;
    let ben = stack.login("ben").await;
    let list = async |token: &str| {
        let answer = stack.get("/api/v1/sessions", token).await;
        assert_eq!(answer.status(), 200);
        answer.json::<SessionList>().await.unwrap().sessions
    };
    let listed = list(&one.access_token).await;
    let current: Vec<_> = listed.iter().map(|session| session.current).collect();
    assert_eq!(current, [false, true], "last used first");
    assert_eq!(list(&ben.access_token).await.len(), 1);
    assert!(listed[0].created_at <= listed[0].last_used_at);
    assert!(listed[0].last_used_at < listed[0].expires_at);

    let path = format!("/api/v1/sessions/{}", listed[0].id);
    let foreign = stack.delete(&path, &ben.access_token).await;
    problem(foreign, 404, "not-found").await;
    assert_eq!(
        stack.get("/api/v1/me", &two.access_token).await.status(),
        200
    );
    let ended = stack.delete(&path, &one.access_token).await;
    assert_eq!(ended.status(), 204);
    let refused = stack.get("/api/v1/me", &two.access_token).await;
    problem(refused, 401, "unauthenticated").await;
    assert_eq!(list(&one.access_token).await.len(), 1);
    let nonsense = stack.delete("/api/v1/sessions/x", &one.access_token).await;
    problem(nonsense, 404, "not-found").await;
}

#[tokio::test]
async fn logout_everywhere_ends_every_session_of_the_account() {
    let (stack, one) = Stack::with_user("anna").await;
    let two = stack.login("anna").await;
    stack.register("ben").await;
    let ben = stack.login("ben").await;
    assert_eq!(
        stack
            .delete("/api/v1/sessions", &two.access_token)
            .await
            .status(),
        204
    );
    for tokens in [one, two] {
        problem(
            stack.get("/api/v1/me", &tokens.access_token).await,
            401,
            "unauthenticated",
        )
        .await;
        problem(
            stack.refresh(&tokens.refresh_token).await,
            401,
            "unauthenticated",
        )
        .await;
    }
    assert_eq!(
        stack.get("/api/v1/me", &ben.access_token).await.status(),
        200
    );
}

#[tokio::test]
async fn everything_private_needs_a_token() {
    let stack = Stack::start().await;
    for (method, path) in [
        (Method::GET, "/api/v1/me"),
        (Method::PATCH, "/api/v1/me"),
        (Method::PUT, "/api/v1/me/password"),
        (Method::DELETE, "/api/v1/sessions"),
        (Method::DELETE, "/api/v1/sessions/current"),
    ] {
        let answer = stack.request(method, path).send().await.unwrap();
        assert_eq!(
            answer.headers()["www-authenticate"],
            "Bearer realm=\"cloudstore\""
        );
        problem(answer, 401, "unauthenticated").await;
    }
}
