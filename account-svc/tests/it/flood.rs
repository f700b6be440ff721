//! More logins than the machine can hash.

use cloudstore_account::Config;
use futures::future::join_all;

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
