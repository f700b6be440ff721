//! More logins than the machine can hash, and more tokens of shares than anybody has.

use cloudstore_account::Config;
use cloudstore_service::auth::ShareToken;
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::stack::{Stack, problem};

#[tokio::test]
async fn a_flood_of_logins_is_bounded() {
    let config = Config {
        hash_concurrency: 1,
        hash_queue: 2,
        ..Config::default()
    };
    let stack = Stack::start_with(config).await;
    stack.register("anna").await;
    let names: Vec<_> = (0..60).map(|index| format!("user{index}")).collect();
    let answers = join_all(names.iter().map(|name| stack.try_login(name, "a password"))).await;
    let (mut hashed, mut refused) = (0, 0);
    for answer in answers {
        if answer.status() == 401 {
            hashed += 1;
        } else {
            assert!(answer.headers().contains_key("retry-after"));
            problem(answer, 503, "overloaded").await;
            refused += 1;
        }
    }
    assert!(
        hashed >= 3 && refused > 0,
        "{hashed} hashed, {refused} refused"
    );
    // Nobody's attempts were used up by answers that looked at no password.
    stack.login("anna").await;
}

#[tokio::test]
async fn made_up_tokens_of_shares_are_bounded() {
    /// Of one client in a minute.
    const GUESSES: usize = 60;
    let stack = Stack::start().await;
    let guess = async || {
        let token = ShareToken::generate().unwrap().text();
        let path = format!("/api/v1/public/shares/{token}/unlock");
        let request = stack.request(Method::POST, &path);
        let body = json!({ "password": "a password" });
        request.json(&body).send().await.unwrap()
    };
    let mut answers = join_all((0..GUESSES).map(|_| guess())).await;
    // More, in case some took so long that others were free again.
    while answers.len() < 10 * GUESSES && answers.last().unwrap().status() == 404 {
        answers.push(guess().await);
    }
    let last = answers.pop().unwrap();
    for answer in answers {
        problem(answer, 404, "not-found").await;
    }
    assert!(last.headers().contains_key("retry-after"));
    problem(last, 429, "rate-limited").await;
}
