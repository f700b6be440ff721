//! Redis only makes answers faster: nobody notices what happens to it.

use std::time::Duration;

use cloudstore_stack_tests::{Run, Stack, servers::flush_redis};
use cloudstore_testkit::Kind;

const OUTAGE: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_flushed_and_stalled() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    stack.kill(&["redis"]).await;
    run.say("Redis is killed");
    run.lasts(OUTAGE).await;
    run.progress(10).await;
    run.during(stack.start(&["redis"])).await;
    run.say("Redis is back, empty");
    for _ in 0..3 {
        run.progress(5).await;
        flush_redis().await;
    }
    run.say("Redis was flushed");
    stack.pause("redis");
    run.say("Redis is paused");
    run.lasts(OUTAGE).await;
    run.progress(10).await;
    stack.resume("redis");
    run.say("Redis goes on");
    run.progress(20).await;
    run.assert_unbroken(&[Kind::Upload, Kind::Read, Kind::Change]);
    run.finish().await;
}
