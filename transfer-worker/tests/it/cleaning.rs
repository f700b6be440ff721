//! What is removed, and what is not.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cloudstore_backends::{
    blob::Key,
    staging::{Error, Staged, StagedBlobs},
};
use cloudstore_content::Root;
use cloudstore_proto::transfer::TransferState;
use cloudstore_transfer::Config;
use uuid::Uuid;

use crate::site::{Site, config, content, eventually};

const MINUTE: Duration = Duration::from_secs(60);

fn graces() -> Config {
    Config {
        staged_grace: 10 * MINUTE,
        garbage_grace: 10 * MINUTE,
        ..config()
    }
}

#[tokio::test]
async fn a_staged_copy_goes_only_after_it_was_stored_and_the_grace_is_over() {
    let site = Site::new().await;
    let worker = site.worker(graces());
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    site.stored(&upload).await;
    site.advance(9 * MINUTE);
    // Rounds of cleaning go by while this one is transferred.
    let later = site.upload("/later", content(3_000_000, 2)).await;
    site.stored(&later).await;
    assert!(site.is_staged(&upload));
    site.advance(2 * MINUTE);
    eventually(async || !site.is_staged(&upload)).await;
    eventually(async || site.stat("/file").await.blob.unwrap().staging_id.is_empty()).await;
    assert!(site.is_staged(&later), "its grace began later");
    site.stored(&upload).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_never_removed() {
    let site = Site::new().await;
    let worker = site.worker_with(
        Config {
            max_attempts: 1,
            ..graces()
        },
        |store| {
            store
                .failures
                .store(u32::MAX, std::sync::atomic::Ordering::SeqCst);
        },
    );
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    eventually(async || site.transfers(TransferState::Parked).await.len() == 1).await;
    site.advance(1_000 * MINUTE);
    worker
        .store
        .failures
        .store(0, std::sync::atomic::Ordering::SeqCst);
    let later = site.upload("/later", content(100, 2)).await;
    site.stored(&later).await;
    site.advance(1_000 * MINUTE);
    eventually(async || !site.is_staged(&later)).await;
    assert!(site.is_staged(&upload));
    worker.stop().await;
}

#[tokio::test]
async fn content_without_references_is_deleted_after_its_grace() {
    let site = Site::new().await;
    let worker = site.worker(graces());
    let kept = site.upload("/kept", content(3_000_000, 1)).await;
    let same = site.upload("/same", content(3_000_000, 1)).await;
    let gone = site.upload("/gone", content(3_000_000, 2)).await;
    for upload in [&kept, &gone] {
        site.stored(upload).await;
    }
    site.delete("/same").await;
    site.delete("/gone").await;
    // Deleted entries are released in a round of their own; the grace begins with that.
    eventually(async || {
        site.advance(11 * MINUTE);
        !site.object(&gone).exists()
    })
    .await;
    eventually(async || !site.outboard(&gone).exists() && !site.is_staged(&gone)).await;
    site.stored(&kept).await;
    assert_eq!(kept.root, same.root);
    // The same content again is new content.
    let again = site.upload("/again", content(3_000_000, 2)).await;
    site.stored(&again).await;
    worker.stop().await;
}

#[tokio::test]
async fn content_that_comes_back_within_its_grace_stays() {
    let site = Site::new().await;
    let worker = site.worker(graces());
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    site.stored(&upload).await;
    site.delete("/file").await;
    site.advance(9 * MINUTE);
    let back = site.upload("/back", content(3_000_000, 1)).await;
    assert!(!site.is_staged(&back), "the copy that was there is used");
    site.advance(60 * MINUTE);
    // Long enough for rounds of cleaning: this one ends with one of them.
    let other = site.upload("/other", content(100, 2)).await;
    site.stored(&other).await;
    site.advance(60 * MINUTE);
    eventually(async || !site.is_staged(&other)).await;
    site.stored(&back).await;
    worker.stop().await;
}

#[tokio::test]
async fn content_deleted_before_it_was_stored_goes_with_its_staged_copy() {
    let site = Site::new().await;
    let worker = site.worker_with(
        Config {
            max_attempts: 1,
            ..graces()
        },
        |store| {
            store
                .failures
                .store(u32::MAX, std::sync::atomic::Ordering::SeqCst);
        },
    );
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    eventually(async || site.transfers(TransferState::Parked).await.len() == 1).await;
    site.delete("/file").await;
    eventually(async || {
        site.advance(11 * MINUTE);
        !site.is_staged(&upload)
    })
    .await;
    eventually(async || site.transfers(TransferState::Unspecified).await.is_empty()).await;
    worker.stop().await;
}

/// Staged copies of which one node removes none.
struct OneFails(Arc<dyn StagedBlobs>);

const FAILING: &str = "failing";

#[async_trait]
impl StagedBlobs for OneFails {
    async fn open(&self, node: &str, id: Uuid, size: u64, root: &Root) -> Result<Staged, Error> {
        self.0.open(node, id, size, root).await
    }

    async fn remove(&self, node: &str, ids: &[Uuid]) -> Result<(), Error> {
        if node == FAILING {
            return Err(Error::Unavailable(std::io::ErrorKind::TimedOut.into()));
        }
        self.0.remove(node, ids).await
    }
}

#[tokio::test]
async fn a_node_that_fails_holds_up_no_other_one() {
    let mut site = Site::new().await;
    site.staged = Arc::new(OneFails(site.staged.clone()));
    // More than a batch, and all of them before the one that can be removed.
    let mut uploads = Vec::new();
    for number in 0..300 {
        let path = format!("/{number}");
        uploads.push(site.upload_on(FAILING, &path, content(100, number)).await);
    }
    let worker = site.worker(graces());
    for upload in &uploads {
        site.stored(upload).await;
    }
    let good = site.upload("/good", content(100, 1_000)).await;
    site.stored(&good).await;
    site.advance(11 * MINUTE);
    eventually(async || !site.is_staged(&good)).await;
    assert!(uploads.iter().all(|upload| site.is_staged(upload)));
    worker.stop().await;
}

#[tokio::test]
async fn what_the_store_has_lost_is_put_again_before_its_staged_copy_goes() {
    let site = Site::new().await;
    let worker = site.worker(graces());
    let whole = site.upload("/whole", content(3_000_000, 1)).await;
    let values = site.upload("/values", content(3_000_000, 2)).await;
    let damaged = site.upload("/damaged", content(3_000_000, 3)).await;
    for upload in [&whole, &values, &damaged] {
        site.stored(upload).await;
    }
    for key in [
        Key::blob(&whole.root),
        Key::outboard(&whole.root),
        Key::outboard(&values.root),
        Key::blob(&damaged.root),
    ] {
        site.disk.delete(&key).await.unwrap();
    }
    // Of this one there is no good copy any more: what there is stays.
    std::fs::write(site.layout.data(damaged.staging_id), b"damage").unwrap();
    site.advance(11 * MINUTE);
    for upload in [&whole, &values] {
        eventually(async || !site.is_staged(upload)).await;
        site.stored(upload).await;
    }
    assert!(site.is_staged(&damaged));
    worker.stop().await;
}
