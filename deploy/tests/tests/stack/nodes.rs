//! Instances of the services: killed, and replaced one after the other.

use std::time::Duration;

use cloudstore_stack_tests::{
    Run, Stack,
    stack::{INSTANCES, UPLOAD_NODES},
};
use cloudstore_testkit::Kind;

/// Long enough for requests to fail at the killed one.
const OUTAGE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn upload_node_killed() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    for node in UPLOAD_NODES {
        stack.kill(&[node]).await;
        run.say("an upload node is killed");
        run.lasts(OUTAGE).await;
        run.during(stack.start(&[node])).await;
        run.say("it is back");
        // By then everybody has heard of it.
        run.progress(15).await;
        run.check_now().await;
    }
    run.assert_unbroken(&[Kind::Read, Kind::Change]);
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart_of_everything() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    for instance in INSTANCES {
        run.during(stack.restart(instance)).await;
        run.say(&format!("{instance} was restarted"));
        run.progress(2).await;
    }
    // Uploads belong to a node and wait for it.
    run.assert_unbroken(&[Kind::Read, Kind::Change]);
    run.finish().await;
}
