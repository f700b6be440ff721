//! What happens when the store or the staged copy is not as it should be.

use std::{
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloudstore_backends::staging::{Error, Staged, StagedBlobs};
use cloudstore_content::Root;
use cloudstore_proto::{file::BlobState, transfer::TransferState};
use cloudstore_transfer::Config;
use uuid::Uuid;

use crate::site::{Site, config, content, eventually};

#[tokio::test]
async fn a_store_that_recovers_costs_attempts_only() {
    let site = Site::new().await;
    let worker = site.worker_with(config(), |store| store.failures.store(4, Ordering::SeqCst));
    let upload = site.upload("/file", content(100, 1)).await;
    site.wake(&upload.root).await;
    site.stored(&upload).await;
    assert_eq!(worker.store.failures.load(Ordering::SeqCst), 0);
    worker.stop().await;
}

#[tokio::test]
async fn an_outage_of_the_whole_store_parks_nothing_however_long_it_takes() {
    let site = Site::new().await;
    let config = Config {
        max_attempts: 3,
        away_pause: Duration::from_millis(20),
        ..config()
    };
    let worker = site.worker_with(config, |store| store.away.store(true, Ordering::SeqCst));
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    site.wake(&upload.root).await;
    eventually(async || worker.store.refused.load(Ordering::SeqCst) > 6).await;
    assert!(site.transfers(TransferState::Parked).await.is_empty());
    worker.store.away.store(false, Ordering::SeqCst);
    site.stored(&upload).await;
    worker.stop().await;
}

/// A staging node that nobody can reach.
#[derive(Default)]
struct Away {
    asked: AtomicU32,
}

#[async_trait]
impl StagedBlobs for Away {
    async fn open(&self, _: &str, _: Uuid, _: u64, _: &Root) -> Result<Staged, Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(Error::Unavailable(std::io::ErrorKind::TimedOut.into()))
    }

    async fn remove(&self, _: &str, _: &[Uuid]) -> Result<(), Error> {
        Err(Error::Unavailable(std::io::ErrorKind::TimedOut.into()))
    }
}

#[tokio::test]
async fn a_node_that_is_away_is_waited_for_until_it_counts_as_lost() {
    let mut site = Site::new().await;
    let away = Arc::new(Away::default());
    site.staged = away.clone();
    let config = |node_lost_after| Config {
        max_attempts: 3,
        away_pause: Duration::from_millis(20),
        node_lost_after,
        ..config()
    };
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    let patient = site.worker(config(Duration::MAX));
    site.wake(&upload.root).await;
    eventually(async || away.asked.load(Ordering::SeqCst) > 6).await;
    assert!(site.transfers(TransferState::Parked).await.is_empty());
    patient.stop().await;
    let worker = site.worker(config(Duration::ZERO));
    eventually(async || site.transfers(TransferState::Parked).await.len() == 1).await;
    assert_eq!(site.transfers(TransferState::Parked).await[0].attempts, 3);
    worker.stop().await;
}

#[tokio::test]
async fn a_store_that_refuses_a_blob_parks_the_transfer_until_it_is_replayed() {
    let site = Site::new().await;
    let config = Config {
        max_attempts: 3,
        ..config()
    };
    let worker = site.worker_with(config, |store| {
        store.failures.store(u32::MAX, Ordering::SeqCst);
    });
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    site.wake(&upload.root).await;
    eventually(async || site.transfers(TransferState::Parked).await.len() == 1).await;
    let parked = site.transfers(TransferState::Parked).await.remove(0);
    assert_eq!(parked.attempts, 3);
    assert!(
        parked.last_error.contains("the store is down"),
        "{}",
        parked.last_error
    );
    assert_eq!(
        worker.store.failures.load(Ordering::SeqCst),
        u32::MAX - 3,
        "and no more attempts"
    );
    assert_eq!(site.state(&upload).await, BlobState::Staged);
    assert!(site.is_staged(&upload));
    // Neighbours are not affected.
    worker.store.failures.store(0, Ordering::SeqCst);
    let other = site.upload("/other", content(100, 2)).await;
    site.stored(&other).await;
    assert_eq!(site.transfers(TransferState::Parked).await.len(), 1);
    assert_eq!(site.replay().await, 1);
    site.stored(&upload).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_store_that_lies_about_lengths_is_not_believed() {
    let site = Site::new().await;
    let config = Config {
        max_attempts: 2,
        ..config()
    };
    let worker = site.worker_with(config, |store| store.shorten.store(true, Ordering::SeqCst));
    let upload = site.upload("/file", content(100, 1)).await;
    eventually(async || site.transfers(TransferState::Parked).await.len() == 1).await;
    assert_eq!(site.state(&upload).await, BlobState::Staged);
    assert!(site.is_staged(&upload));
    worker.stop().await;
}

#[tokio::test]
async fn a_damaged_staged_copy_is_parked_at_once_and_never_stored() {
    let site = Site::new().await;
    let large = site.upload("/large", content(3_000_000, 1)).await;
    let small = site.upload("/small", content(100, 2)).await;
    let short = site.upload("/short", content(3_000_000, 3)).await;
    let values = site.upload("/values", content(3_000_000, 4)).await;
    let open = |path| std::fs::File::options().write(true).open(path).unwrap();
    open(site.layout.data(large.staging_id))
        .write_all_at(b"damage", 2_500_000)
        .unwrap();
    open(site.layout.data(small.staging_id))
        .write_all_at(b"damage", 50)
        .unwrap();
    open(site.layout.data(short.staging_id))
        .set_len(2_000_000)
        .unwrap();
    open(site.layout.side(values.staging_id))
        .write_all_at(b"damage", 140)
        .unwrap();
    let worker = site.worker(config());
    let good = site.upload("/good", content(100, 5)).await;
    site.stored(&good).await;
    eventually(async || site.transfers(TransferState::Parked).await.len() == 4).await;
    for parked in site.transfers(TransferState::Parked).await {
        assert_eq!(parked.attempts, 1);
        assert!(
            parked.last_error.contains("damaged"),
            "{}",
            parked.last_error
        );
    }
    for upload in [&large, &small, &short, &values] {
        assert_eq!(site.state(upload).await, BlobState::Staged);
        assert!(!site.object(upload).exists());
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_missing_staged_copy_is_tried_again_and_then_parked() {
    let site = Site::new().await;
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    site.layout.remove(upload.staging_id).unwrap();
    let worker = site.worker(Config {
        max_attempts: 2,
        ..config()
    });
    eventually(async || site.transfers(TransferState::Parked).await.len() == 1).await;
    assert_eq!(site.transfers(TransferState::Parked).await[0].attempts, 2);
    worker.stop().await;
}
