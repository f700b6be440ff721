//! The worker and a real Garage.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cloudstore_backends::blob::{
    BlobStore, KEYS, Key,
    s3::{Checksums, MIN_PART_BYTES, S3BlobStore, S3Config},
};
use cloudstore_proto::{file::BlobState, transfer::TransferState};
use cloudstore_service::testing::server;
use cloudstore_transfer::Config;
use uuid::Uuid;

use crate::site::{Site, config, content, eventually};

/// A site with a corner of the bucket that is its own.
async fn site() -> Site {
    let mut site = Site::new().await;
    site.disk = corner(format!("test-{}/", Uuid::now_v7()));
    site
}

/// What is in the bucket below a prefix.
pub(crate) fn corner(prefix: String) -> Arc<dyn BlobStore> {
    Arc::new(S3BlobStore::new(S3Config {
        endpoint: Some(server("S3_ENDPOINT")),
        region: server("S3_REGION"),
        bucket: server("S3_BUCKET"),
        prefix,
        path_style: true,
        access_key: server("S3_ACCESS_KEY"),
        secret_key: server("S3_SECRET_KEY"),
        checksums: Checksums::WhenRequired,
        part_bytes: MIN_PART_BYTES,
    }))
}

async fn is_empty(site: &Site) -> bool {
    site.disk.list(KEYS, None, 1).await.unwrap().is_empty()
}

fn no_links(store: &crate::store::Faulty) {
    store.links.store(false, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_arrives_and_goes_again() {
    let site = site().await;
    let worker = site.worker_with(
        Config {
            staged_grace: Duration::ZERO,
            garbage_grace: Duration::ZERO,
            ..config()
        },
        no_links,
    );
    let mut uploads = Vec::new();
    for (seed, size) in (0..).zip([0, 1, 1 << 20, (1 << 20) + 1, 8 << 20, 20_000_000]) {
        uploads.push(site.upload(&format!("/{size}"), content(size, seed)).await);
    }
    for upload in &uploads {
        site.stored(upload).await;
        eventually(async || !site.is_staged(upload)).await;
        site.delete(&upload.path).await;
    }
    eventually(async || {
        site.advance(Duration::from_secs(1));
        is_empty(&site).await
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_leaves_nothing() {
    let site = site().await;
    let upload = site.upload("/file", content(40_000_000, 1)).await;
    let file = std::fs::File::options()
        .write(true)
        .open(site.layout.data(upload.staging_id))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"damage", 39_000_000).unwrap();
    let worker = site.worker_with(config(), no_links);
    eventually(async || site.transfers(TransferState::Parked).await.len() == 1).await;
    let parked = site.transfers(TransferState::Parked).await.remove(0);
    assert!(
        parked.last_error.contains("damaged"),
        "{}",
        parked.last_error
    );
    assert_eq!(site.state(&upload).await, BlobState::Staged);
    assert!(is_empty(&site).await);
    let unfinished = site.disk.abort_unfinished(Duration::ZERO).await;
    assert_eq!(unfinished.unwrap(), 0, "it was aborted at once");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_found() {
    let site = site().await;
    let worker = site.worker_with(config(), no_links);
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    site.stored(&upload).await;
    worker.stop().await;
    let orphan = Key::blob(&[7; 32]);
    let bytes = bytes::Bytes::from_static(b"nobody's");
    let source = cloudstore_backends::blob::Source::Bytes(bytes);
    site.disk.put(&orphan, source).await.unwrap();
    let worker = site.worker(Config {
        reconcile_after: Duration::ZERO,
        reconcile_every: Duration::from_secs(1),
        orphan_grace: Duration::ZERO,
        ..config()
    });
    eventually(async || site.disk.stat(&orphan).await.unwrap().is_none()).await;
    site.stored(&upload).await;
    worker.stop().await;
}
