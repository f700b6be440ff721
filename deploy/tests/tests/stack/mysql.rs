//! The primary is gone: nothing can be written, everything can be read.

use std::time::Duration;

use cloudstore_proto::http::{Entry, Listing};
use cloudstore_stack_tests::{Run, Stack, Writer};
use cloudstore_testkit::{Content, client::attempt};
use tokio::time::Instant;

const MIB: u64 = 1 << 20;
/// Long enough to notice what only works for the first seconds.
const OUTAGE: Duration = Duration::from_secs(12);
/// A request is answered within this, whatever the answer is.
const ANSWERED: Duration = Duration::from_secs(10);
/// Files that are read during the outage.
const FILES: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn mysql_primary_killed() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    let writer = Writer::new(&stack).await;
    let mut files = Vec::new();
    for number in 0..FILES {
        let (path, content) = (
            format!("/files/{number}"),
            Writer::content(1 + number * MIB),
        );
        writer.put(&path, content).await;
        files.push((path, content));
    }
    writer.stored("/files/0", ANSWERED * 3).await;
    // The replica has all of it.
    stack.wait("mysql-replica").await;
    stack.kill(&["mysql-primary"]).await;
    run.say("the primary is killed");
    run.during(reads_go_on(&writer, &files)).await;
    run.during(stack.start(&["mysql-primary"])).await;
    run.say("the primary is back");
    // What was refused meanwhile is done now.
    run.during(writer.put("/refused", refused())).await;
    run.progress(20).await;
    run.assert_unbroken(&[]);
    run.finish().await;
    writer.finish().await;
}

/// Small, so that it is one command.
fn refused() -> Content {
    Content::new(7, 1_000)
}

async fn reads_go_on(writer: &Writer, files: &[(String, Content)]) {
    let client = &writer.client;
    let end = Instant::now() + OUTAGE;
    let mut refusals = 0;
    while Instant::now() < end {
        for (path, content) in files {
            let asked = Instant::now();
            let answer = attempt(client.get(&format!("/api/v1/content{path}"))).await;
            let answer = answer.unwrap_or_else(|broken| panic!("I1: {broken:#?}"));
            assert_eq!(
                (answer.status, &*answer.body),
                (200, &*content.bytes()),
                "I1: {path}"
            );
            assert!(
                asked.elapsed() < ANSWERED,
                "{path} took {:?}",
                asked.elapsed()
            );
        }
        let listed = attempt(client.get("/api/v1/files/files")).await;
        let listed = listed.unwrap_or_else(|broken| panic!("I1: {broken:#?}"));
        assert_eq!(listed.status, 200, "{}", listed.text());
        let listing: Listing = listed.json();
        assert!(matches!(listing.entry, Entry::Folder(_)), "{listing:?}");
        refusals += u32::from(is_refused(writer).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(refusals >= 2, "only {refusals} writes were refused");
}

/// A write is refused as it should be, soon.
async fn is_refused(writer: &Writer) -> bool {
    let asked = Instant::now();
    let key = (writer.client.account, "/refused".to_owned());
    writer.log.ask(&key, Some(refused()));
    let broken = match attempt(writer.client.put("/refused", &refused())).await {
        Ok(answer) => panic!("written without a primary: {}", answer.text()),
        Err(broken) => broken,
    };
    assert!(broken.why.starts_with("503"), "{broken:#?}");
    assert!(broken.well_formed, "{broken:#?}");
    assert!(
        asked.elapsed() < ANSWERED,
        "refused after {:?}",
        asked.elapsed()
    );
    true
}

/// Writes that were on their way when the primary died may have happened: whoever asks again finds
/// them once, and once only.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_primary_killed_again_and_again() {
    let stack = Stack::up().await;
    let mut run = Run::start(&stack).await;
    for _ in 0..3 {
        stack.kill(&["mysql-primary"]).await;
        run.during(stack.start(&["mysql-primary"])).await;
        run.say("the primary was killed and is back");
        run.progress(10).await;
        run.check_now().await;
    }
    let unknown = stack.sum(
        &["dbproxy-1", "dbproxy-2"],
        "dbproxy_unknown_commits_total",
        &[],
    );
    println!("commits without an answer: {}", unknown.await);
    run.assert_unbroken(&[]);
    run.finish().await;
}
