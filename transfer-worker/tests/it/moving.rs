//! Blobs on their way from staging to durable storage.

use std::{sync::atomic::Ordering, time::Duration};

use cloudstore_backends::queue::{Job, Queue as _};
use cloudstore_content::digest::Hasher;
use cloudstore_proto::{file::BlobState, transfer::TransferState};
use cloudstore_transfer::Config;

use crate::site::{Site, config, content, eventually};

/// No sweep but the one at the start.
fn only_woken() -> Config {
    Config {
        sweep_every: Duration::from_secs(3_600),
        ..config()
    }
}

#[tokio::test]
async fn woken_transfers_of_every_size() {
    let site = Site::new().await;
    let worker = site.worker(only_woken());
    for size in [0, 1, 4_096, 1 << 20, (1 << 20) + 1, 3_500_000] {
        let upload = site.upload(&format!("/{size}"), content(size, 1)).await;
        site.wake(&upload.root).await;
        site.stored(&upload).await;
        let blob = site.stat(&upload.path).await.blob.unwrap();
        let mut hasher = Hasher::new(true, true);
        hasher.update(&upload.content);
        let digests = hasher.finish();
        assert_eq!(blob.sha1, &digests.sha1.unwrap()[..]);
        assert_eq!(blob.sha256, &digests.sha256.unwrap()[..]);
        assert!(site.is_staged(&upload), "the grace is not over");
    }
    assert!(site.transfers(TransferState::Unspecified).await.is_empty());
    worker.stop().await;
}

#[tokio::test]
async fn a_lost_wake_up_is_found_by_the_sweep() {
    let site = Site::new().await;
    let before = site.upload("/before", content(2_000_000, 1)).await;
    let worker = site.worker(config());
    let after = site.upload("/after", content(4_096, 2)).await;
    site.stored(&before).await;
    site.stored(&after).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_sweep_goes_on_at_once_while_batches_are_full() {
    let site = Site::new().await;
    let mut uploads = Vec::new();
    for index in 0..50 {
        uploads.push(site.upload(&format!("/{index}"), content(100, index)).await);
    }
    let worker = site.worker(Config {
        batch: 8,
        ..only_woken()
    });
    for upload in &uploads {
        site.stored(upload).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn many_jobs_some_of_them_often_and_some_of_them_nonsense() {
    let site = Site::new().await;
    let worker = site.worker(only_woken());
    let mut uploads = Vec::new();
    for index in 0..200 {
        let upload = site.upload(&format!("/{index}"), content(100, index)).await;
        for _ in 0..=index % 10 {
            site.wake(&upload.root).await;
        }
        uploads.push(upload);
    }
    site.wake(&[7; 32]).await;
    for nonsense in ["", "../../etc/passwd", "zz"] {
        site.queue
            .publish(&Job {
                blake3: nonsense.to_owned(),
                traceparent: None,
            })
            .await
            .unwrap();
    }
    for upload in &uploads {
        site.stored(upload).await;
    }
    eventually(async || site.queue.dead() == 3 && site.queue.waiting() == 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn of_two_workers_one_commits() {
    let site = Site::new().await;
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    // The first worker claims, and gets stuck.
    let slow = Config {
        lease: Duration::from_secs(3),
        ..only_woken()
    };
    let first = site.worker_with(slow, |store| store.hang.store(true, Ordering::SeqCst));
    first.store.hanging(1).await;
    let claimed = site.transfers(TransferState::Claimed).await;
    assert_eq!((claimed.len(), claimed[0].attempts), (1, 0));
    assert_eq!(site.state(&upload).await, BlobState::Transferring);
    // As long as it renews its lease nobody else can have the claim.
    let second = site.worker(config());
    let other = site.upload("/other", content(100, 2)).await;
    site.stored(&other).await;
    assert_eq!(
        site.transfers(TransferState::Claimed).await[0].fence,
        claimed[0].fence
    );
    // Its lease ends in one moment: it may win the race to renew it, but not every time.
    eventually(async || {
        site.advance(Duration::from_secs(4));
        site.state(&upload).await == BlobState::Stored
    })
    .await;
    // It notices, and lets go without a commit.
    first.store.hanging(0).await;
    site.stored(&upload).await;
    assert!(site.transfers(TransferState::Unspecified).await.is_empty());
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_long_transfer_outlives_its_lease() {
    let site = Site::new().await;
    let upload = site.upload("/file", content(100, 1)).await;
    let short = Config {
        lease: Duration::from_secs(6),
        drain: Duration::ZERO,
        ..only_woken()
    };
    let worker = site.worker_with(short, |store| store.hang.store(true, Ordering::SeqCst));
    worker.store.hanging(1).await;
    let claimed = site.transfers(TransferState::Claimed).await.remove(0);
    eventually(async || {
        let now = site.transfers(TransferState::Claimed).await.remove(0);
        assert_eq!(now.fence, claimed.fence);
        now.due_at_ms >= claimed.due_at_ms + 1_500
    })
    .await;
    assert_eq!(site.state(&upload).await, BlobState::Transferring);
    worker.stop().await;
}

#[tokio::test]
async fn shutdown_finishes_what_can_be_finished() {
    let site = Site::new().await;
    let upload = site.upload("/file", content(5_000_000, 1)).await;
    let worker = site.worker(only_woken());
    eventually(async || site.transfers(TransferState::Waiting).await.is_empty()).await;
    worker.stop().await;
    site.stored(&upload).await;
}

#[tokio::test]
async fn shutdown_gives_back_what_hangs() {
    let site = Site::new().await;
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    let queued = site.upload("/queued", content(3_000_000, 2)).await;
    let impatient = Config {
        drain: Duration::from_millis(50),
        large_at_once: 1,
        ..only_woken()
    };
    let worker = site.worker_with(impatient, |store| store.hang.store(true, Ordering::SeqCst));
    worker.store.hanging(1).await;
    let store = worker.store.clone();
    worker.stop().await;
    store.hanging(0).await;
    assert_eq!(site.transfers(TransferState::Waiting).await.len(), 2);
    assert_eq!(site.state(&upload).await, BlobState::Staged);
    assert!(!site.object(&upload).exists());
    let next = site.worker(only_woken());
    site.stored(&upload).await;
    site.stored(&queued).await;
    next.stop().await;
}
