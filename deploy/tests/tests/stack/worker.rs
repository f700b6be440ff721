//! A worker that dies between any two steps: the next one ends what it began.

use std::time::Duration;

use cloudstore_backends::blob::{BlobStore as _, Key, Source};
use cloudstore_stack_tests::{Stack, Writer, places::bucket, stack::WORKERS};
use cloudstore_testkit::eventually;

const MIB: u64 = 1 << 20;
/// Content of one group, and content that is sent to the store in several parts.
const SIZES: [u64; 2] = [MIB / 2, 40 * MIB];
/// As `transfer-worker/src/step.rs` has them.
const STEPS: [&str; 8] = [
    "after-claim",
    "after-open",
    "during-parts",
    "after-blob",
    "after-outboard",
    "before-commit",
    "after-commit",
    "after-removal",
];
/// The lease of the dead has to run out, and the staged copy rests for a while.
const TAKEN_OVER: Duration = Duration::from_secs(60);
/// Every second, whatever is a second old.
const RECONCILE: [(&str, &str); 2] = [
    ("CLOUDSTORE_TRANSFER_RECONCILE_EVERY", "1"),
    ("CLOUDSTORE_TRANSFER_ORPHAN_GRACE", "1"),
];
/// How long a reconciliation may take to come and to end.
const RECONCILED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn worker_killed_at_every_step() {
    let stack = Stack::up().await;
    let writer = Writer::new(&stack).await;
    stack.kill(&WORKERS).await;
    for step in STEPS {
        for size in SIZES {
            writer
                .put(&format!("/{step}/{size}"), Writer::content(size))
                .await;
        }
        // Both wait for it.
        let failpoint = format!("{step}=return");
        stack
            .start_to_die("worker-1", &[("FAILPOINTS", &failpoint)])
            .await;
        println!("died {step}");
        stack.start(&WORKERS).await;
        for size in SIZES {
            writer.stored(&format!("/{step}/{size}"), TAKEN_OVER).await;
        }
        println!("ended what began {step}");
        stack.kill(&WORKERS).await;
    }
    reconciled(&stack).await;
    stack.kill(&["worker-1"]).await;
    stack.start(&WORKERS).await;
    writer.finish().await;
}

/// Whatever nobody knows is removed.
async fn reconciled(stack: &Stack) {
    let bucket = bucket();
    let orphan = Key::blob(&[7; 32]);
    let content = Source::Bytes(b"nobody's"[..].into());
    bucket.put(&orphan, content).await.unwrap();
    stack.start_with(&["worker-1"], &RECONCILE).await;
    let gone = async || match bucket.stat(&orphan).await.unwrap() {
        None => Ok(()),
        Some(_) => Err("the orphan is still there".to_owned()),
    };
    eventually(RECONCILED, gone).await;
    let counted = async || {
        let metrics = stack.metrics("worker-1").await;
        match metrics.sum("cloudstore_orphans_deleted_total", &[]) {
            0.0 => Err("the reconciliation does not end".to_owned()),
            _ => Ok(()),
        }
    };
    eventually(RECONCILED, counted).await;
}
