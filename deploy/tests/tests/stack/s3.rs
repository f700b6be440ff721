//! Object storage: gone, and silent.

use std::{path::PathBuf, time::Duration};

use cloudstore_proto::http::FileState;
use cloudstore_stack_tests::{Run, Stack, Writer};
use cloudstore_testkit::{Content, Kind};
use tokio::time::Instant;

const MIB: u64 = 1 << 20;
/// Long enough for several attempts of a transfer.
const GONE: Duration = Duration::from_secs(12);
/// Longer than the time after which a client of the store takes it for stalled.
const STALLED: Duration = Duration::from_secs(20);
/// The pauses between attempts have grown meanwhile.
const CAUGHT_UP: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn s3_down() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    let writer = Writer::new(&stack).await;
    stack.kill(&["garage"]).await;
    run.say("the store is killed");
    let outage = uploads_and_reads_go_on(&stack, &writer, GONE);
    run.during(outage).await;
    run.during(stack.start(&["garage"])).await;
    run.say("the store is back");
    catches_up(run, writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_stalled() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    let writer = Writer::new(&stack).await;
    stack.pause("garage");
    run.say("the store is paused");
    let outage = uploads_and_reads_go_on(&stack, &writer, STALLED);
    run.during(outage).await;
    stack.resume("garage");
    run.say("the store goes on");
    catches_up(run, writer).await;
}

/// What comes while the store is away is kept in staging, is read from there, and is never called
/// stored.
async fn uploads_and_reads_go_on(stack: &Stack, writer: &Writer, time: Duration) {
    let mut staged: Vec<(String, Content, PathBuf)> = Vec::new();
    for (number, size) in [MIB / 3, 3 * MIB, 20 * MIB].into_iter().enumerate() {
        let (path, content) = (format!("/staged/{number}"), Writer::content(size));
        writer.put(&path, content).await;
        let copy = stack.staged_copy(&content.hex()).await;
        staged.push((path, content, copy));
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        for (path, content, copy) in &staged {
            assert_ne!(writer.state(path).await, FileState::Stored, "I2: {path}");
            let kept = std::fs::metadata(copy).map(|copy| copy.len());
            assert_eq!(kept.ok(), Some(content.size), "I3: {path}");
            let found = writer.client.read(path).await.map(hex);
            assert_eq!(found, Some(content.hex()), "I1: {path}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn hex(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn catches_up(mut run: Run, writer: Writer) {
    for number in 0..3 {
        let path = format!("/staged/{number}");
        run.during(writer.stored(&path, CAUGHT_UP)).await;
    }
    run.say("what was staged is stored");
    run.progress(10).await;
    // To prove that one has content that only the store has takes the store, and so does deleting
    // content, for whose end the same content waits.
    run.assert_unbroken(&[Kind::Read, Kind::Change]);
    let log = &run.load.shared.log;
    for broken in log.broken_ones() {
        let waits = broken
            .why
            .contains("the same content is just being deleted");
        assert!(broken.what.ends_with("/proof") || waits, "{broken:#?}");
    }
    run.finish().await;
    writer.finish().await;
}
