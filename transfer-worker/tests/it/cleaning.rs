//! What is removed, and what is not.

use std::time::Duration;

use cloudstore_proto::transfer::TransferState;
use cloudstore_transfer::Config;

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
