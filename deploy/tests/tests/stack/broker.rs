//! RabbitMQ: gone, without its queue, repeating itself, and with messages that are none.

use std::time::Duration;

use cloudstore_stack_tests::{
    Run, Stack, Writer,
    servers::{QUEUE, delete_queue, publish, queue},
    stack::WORKERS,
};
use cloudstore_testkit::{Kind, eventually};
use tokio::time::timeout;

const MIB: u64 = 1 << 20;
/// What the requirement says.
const OUTAGE: Duration = Duration::from_secs(60);
/// What the requirement says: from the return of the broker until everything is stored.
const CAUGHT_UP: Duration = Duration::from_secs(30);
/// Far more than a connection or a declaration takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_down_for_a_minute() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    stack.kill(&["rabbitmq"]).await;
    run.say("RabbitMQ is killed");
    run.lasts(OUTAGE).await;
    run.during(stack.start(&["rabbitmq"])).await;
    run.say("RabbitMQ is back");
    let snapshot = run.stop().await;
    let stored = run.checker.is_all_stored(&snapshot);
    timeout(CAUGHT_UP, stored)
        .await
        .expect("all of it is stored half a minute later");
    run.assert_unbroken(&[Kind::Upload, Kind::Read, Kind::Change]);
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_ups_lost_repeated_and_poisoned() {
    let stack = Stack::up().await;
    let writer = Writer::new(&stack).await;
    the_queue_is_deleted(&stack, &writer).await;
    one_job_comes_eleven_times(&stack, &writer).await;
    messages_are_poison(&stack, &writer).await;
    writer.finish().await;
}

/// Uploads succeed, everything is stored soon, and the queue comes back with its consumers.
async fn the_queue_is_deleted(stack: &Stack, writer: &Writer) {
    delete_queue(stack, QUEUE).await;
    for number in 0..5 {
        writer
            .put(&format!("/lost/{number}"), Writer::content(2 * MIB))
            .await;
    }
    for number in 0..5 {
        writer.stored(&format!("/lost/{number}"), CAUGHT_UP).await;
    }
    let back = async || match queue(stack, QUEUE).await {
        Some((_, consumers)) if consumers >= WORKERS.len() as u64 => Ok(()),
        found => Err(format!("messages and consumers of the queue: {found:?}")),
    };
    eventually(PATIENCE, back).await;
}

/// Two workers get the same job again and again: it has one effect.
async fn one_job_comes_eleven_times(stack: &Stack, writer: &Writer) {
    stack.kill(&WORKERS).await;
    let content = Writer::content(20 * MIB);
    writer.put("/repeated", content).await;
    let job = serde_json::json!({ "blake3": content.hex() }).to_string();
    publish(stack, &job, 10).await;
    stack.start(&WORKERS).await;
    writer.stored("/repeated", PATIENCE).await;
    queue_is_empty(stack).await;
    // Both started from nothing.
    let transfers = stack.sum(&WORKERS, "cloudstore_transfers_total", &[]).await;
    assert_eq!(transfers, 1.0, "transfers of one blob");
}

async fn queue_is_empty(stack: &Stack) {
    let empty = async || match queue(stack, QUEUE).await {
        Some((0, _)) => Ok(()),
        found => Err(format!("messages and consumers of the queue: {found:?}")),
    };
    eventually(PATIENCE, empty).await;
}

/// What is no job, or names no blob, is put aside after one delivery; its neighbours do not notice.
async fn messages_are_poison(stack: &Stack, writer: &Writer) {
    let dead = format!("{QUEUE}.dead");
    let (before, _) = queue(stack, &dead)
        .await
        .expect("the queue of dead letters");
    publish(stack, "this is no job", 2).await;
    for number in 0..3 {
        writer
            .put(&format!("/neighbour/{number}"), Writer::content(MIB / 2))
            .await;
    }
    publish(stack, "{\"blake3\": \"this is no blob\"}", 1).await;
    // A blob that nobody has: there is nothing to do, and nothing wrong.
    let unknown = serde_json::json!({ "blake3": Writer::content(1).hex() }).to_string();
    publish(stack, &unknown, 1).await;
    for number in 0..3 {
        writer
            .stored(&format!("/neighbour/{number}"), CAUGHT_UP)
            .await;
    }
    queue_is_empty(stack).await;
    let aside = async || match queue(stack, &dead).await {
        Some((found, _)) if found == before + 3 => Ok(()),
        found => Err(format!("dead letters: {found:?} after {before}")),
    };
    eventually(PATIENCE, aside).await;
}
