//! Consul: gone, and back without its memory.

use std::time::Duration;

use cloudstore_stack_tests::{Run, Stack};
use cloudstore_testkit::{Kind, eventually};

/// What the requirement says.
const OUTAGE: Duration = Duration::from_secs(60);
/// How long all services may take to be known again.
const REGISTERED: Duration = Duration::from_secs(30);
/// Pause between two new connections.
const KNOCK_EVERY: Duration = Duration::from_millis(200);
const SERVICES: [&str; 5] = [
    "account-svc",
    "upload-svc",
    "download-svc",
    "transfer-worker",
    "dbproxy",
];

#[tokio::test(flavor = "multi_thread")]
async fn consul_stopped_and_restarted_empty() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    let knocking = tokio::spawn(knock(stack.url()));
    stack.kill(&["consul"]).await;
    run.say("Consul is killed");
    run.lasts(OUTAGE).await;
    run.progress(10).await;
    for restart in 0..2 {
        if restart > 0 {
            stack.kill(&["consul"]).await;
        }
        run.during(stack.start(&["consul"])).await;
        run.say("Consul is back, empty");
        run.during(all_register(&stack)).await;
        run.say("all are registered");
        run.progress(20).await;
    }
    knocking.abort();
    match knocking.await {
        Err(ended) if ended.is_cancelled() => {}
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        Ok(()) => unreachable!("it never ends by itself"),
    }
    run.assert_unbroken(&[Kind::Upload, Kind::Read, Kind::Change]);
    run.finish().await;
}

async fn all_register(stack: &Stack) {
    for service in SERVICES {
        let both = async || match stack.registered(service).await {
            2 => Ok(()),
            found => Err(format!("{found} instances of {service} are registered")),
        };
        eventually(REGISTERED, both).await;
    }
}

/// New connections, one after the other: each must reach a service.
async fn knock(url: String) {
    loop {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client
            .get(format!("{url}/.well-known/jwks.json"))
            .send()
            .await;
        assert_eq!(answer.unwrap().status(), 200);
        let answer = client.get(format!("{url}/api/v1/files/")).send().await;
        assert_eq!(answer.unwrap().status(), 401);
        tokio::time::sleep(KNOCK_EVERY).await;
    }
}
