//! API tokens as the rest of the API meets them: found in the database once, then remembered.

use std::time::Instant;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cloudstore_proto::http::{CreatedToken, Scope, Tokens};
use cloudstore_service::{
    Kind,
    auth::{Access, ApiToken, Credential, Verifier},
};
use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::stack::{Stack, problem};

async fn create(stack: &Stack, login: &Tokens, scope: &str) -> CreatedToken {
    let answer = stack
        .request(Method::POST, "/api/v1/tokens")
        .bearer_auth(&login.access_token)
        .json(&json!({"name": "test", "scope": scope}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    answer.json().await.unwrap()
}

async fn ask(verifier: &Verifier, authorization: &str) -> Result<Access, Kind> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, authorization.parse().unwrap());
    let access = verifier.authenticate(&headers).await;
    access.map_err(|problem| problem.kind())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(username: &str, password: &str) -> String {
    let pair = format!("{username}:{password}");
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

fn made_up() -> String {
    ApiToken::generate().unwrap().text()
}

#[tokio::test]
async fn without_the_database_remembered_tokens_go_on_working() {
    let (mut stack, login) = Stack::with_user("anna").await;
    let (seen, unseen) = (
        create(&stack, &login, "full").await,
        create(&stack, &login, "full").await,
    );
    let unknown = made_up();
    assert_eq!(stack.get("/whoami", &seen.token).await.status(), 200);
    problem(stack.get("/whoami", &unknown).await, 401, "unauthenticated").await;
    stack.stop_database().await;
    assert_eq!(stack.get("/whoami", &seen.token).await.status(), 200);
    problem(stack.get("/whoami", &unknown).await, 401, "unauthenticated").await;
    let answer = stack.get("/whoami", &unseen.token).await;
    assert!(answer.headers().contains_key("retry-after"));
    problem(answer, 503, "unavailable").await;
}

#[tokio::test]
async fn the_scope_and_the_name_of_the_account_come_with_the_token() {
    let (stack, login) = Stack::with_user("Anna").await;
    let stop = CancellationToken::new();
    let verifier = Verifier::new(stack.channel.clone(), stop.clone());
    for (name, scope) in [
        ("full", Scope::Full),
        ("upload", Scope::Upload),
        ("read", Scope::Read),
    ] {
        let CreatedToken { token, about } = create(&stack, &login, name).await;
        let access = ask(&verifier, &bearer(&token)).await.unwrap();
        assert_eq!(access.credential, Credential::Token(scope));
        assert_eq!(access.user.session_id.to_string(), about.id);
        for (username, expected) in [
            ("Anna", Ok(access)),
            ("aNNA", Ok(access)),
            ("", Err(Kind::Unauthenticated)),
            ("otto", Err(Kind::Unauthenticated)),
        ] {
            let found = ask(&verifier, &basic(username, &token)).await;
            assert_eq!(found, expected, "{username}");
        }
    }
    stop.cancel();
}

#[tokio::test]
async fn made_up_tokens_cost_a_bounded_number_of_look_ups() {
    const TRIES: u32 = 2_000;
    let (stack, login) = Stack::with_user("anna").await;
    let (known, unseen) = (
        create(&stack, &login, "read").await.token,
        create(&stack, &login, "read").await.token,
    );
    let stop = CancellationToken::new();
    let verifier = Verifier::new(stack.channel.clone(), stop.clone());
    ask(&verifier, &bearer(&known)).await.unwrap();
    let begun = Instant::now();
    let guesses: Vec<_> = (0..TRIES).map(|_| bearer(&made_up())).collect();
    let asked = guesses.iter().map(|guess| ask(&verifier, guess));
    let mut refused = 0;
    for answer in futures::future::join_all(asked).await {
        match answer {
            // It was looked up.
            Err(Kind::Unauthenticated) => refused += 1,
            Err(Kind::Overloaded) => {}
            other => panic!("{other:?}"),
        }
    }
    let bound = 100.0 + 100.0 * begun.elapsed().as_secs_f64();
    assert!(f64::from(refused) <= bound, "{refused} of {bound}");
    assert!(refused < TRIES, "the flood was not stopped");
    // Those that are known are served all the same, and the others as soon as there is room.
    ask(&verifier, &bearer(&known)).await.unwrap();
    while ask(&verifier, &bearer(&unseen)).await.is_err() {
        tokio::task::yield_now().await;
    }
    // One that was refused is not looked up again and again.
    let unknown = bearer(&made_up());
    while ask(&verifier, &unknown).await != Err(Kind::Unauthenticated) {
        tokio::task::yield_now().await;
    }
    for _ in 0..TRIES {
        let again = ask(&verifier, &unknown).await;
        assert_eq!(again, Err(Kind::Unauthenticated));
    }
    stop.cancel();
}

#[tokio::test]
async fn many_requests_with_a_new_token_are_one_look_up() {
    let (stack, login) = Stack::with_user("anna").await;
    let token = bearer(&create(&stack, &login, "full").await.token);
    let stop = CancellationToken::new();
    let verifier = Verifier::new(stack.channel.clone(), stop.clone());
    let asked = (0..1_000).map(|_| ask(&verifier, &token));
    // Each look-up of its own would come out of the budget for guesses, which is smaller.
    for access in futures::future::join_all(asked).await {
        access.unwrap();
    }
    stop.cancel();
}
