//! What the store has and no row knows.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use cloudstore_backends::blob::{Key, Source};
use cloudstore_transfer::Config;

use crate::site::{Site, config, content, eventually};

const MINUTE: Duration = Duration::from_secs(60);

fn at_once() -> Config {
    Config {
        reconcile_after: Duration::ZERO,
        reconcile_every: Duration::from_millis(1),
        orphan_grace: Duration::ZERO,
        staged_grace: 10 * MINUTE,
        ..config()
    }
}

async fn put(site: &Site, key: &Key) {
    let source = Source::Bytes(Bytes::from_static(b"content"));
    site.disk.put(key, source).await.unwrap();
}

fn unfinished(site: &Site) -> PathBuf {
    let path = site.blobs().join("tmp/unfinished");
    std::fs::write(&path, b"cont").unwrap();
    path
}

#[tokio::test]
async fn objects_without_a_row_go_and_all_others_stay() {
    let site = Site::new().await;
    let stored = site.upload("/stored", content(3_000_000, 1)).await;
    let first = site.worker(config());
    site.stored(&stored).await;
    first.stop().await;
    // One that is put, but not committed: its row is there.
    let put_only = site.upload("/put", content(3_000_000, 2)).await;
    put(&site, &Key::blob(&put_only.root)).await;
    let orphans = [[1; 32], [0xfe; 32]];
    for root in &orphans {
        put(&site, &Key::blob(root)).await;
        put(&site, &Key::outboard(root)).await;
    }
    let left = unfinished(&site);
    let stranger = site.blobs().join("blobs/README");
    std::fs::write(&stranger, b"not ours").unwrap();

    // It must not be stored while we look.
    site.park(&put_only).await;
    let worker = site.worker(at_once());
    for root in &orphans {
        for key in [Key::blob(root), Key::outboard(root)] {
            eventually(async || site.disk.stat(&key).await.unwrap().is_none()).await;
        }
    }
    assert!(!left.exists());
    assert!(stranger.exists());
    assert!(site.object(&put_only).exists());
    site.stored(&stored).await;
    worker.stop().await;
}

#[tokio::test]
async fn what_is_young_stays() {
    let site = Site::new().await;
    put(&site, &Key::blob(&[1; 32])).await;
    let left = unfinished(&site);
    let worker = site.worker(Config {
        orphan_grace: MINUTE,
        ..at_once()
    });
    // Rounds go by while this one is transferred.
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    site.stored(&upload).await;
    assert!(
        site.disk
            .stat(&Key::blob(&[1; 32]))
            .await
            .unwrap()
            .is_some()
    );
    assert!(left.exists());
    worker.stop().await;
}

#[tokio::test]
async fn a_database_that_knows_next_to_nothing_is_not_believed() {
    let site = Site::new().await;
    for number in 0..=100 {
        put(&site, &Key::blob(&[number; 32])).await;
    }
    let left = unfinished(&site);
    let worker = site.worker(at_once());
    // Unfinished puts are judged by their age alone; then a round has begun.
    eventually(async || !left.exists()).await;
    let upload = site.upload("/file", content(3_000_000, 1)).await;
    site.stored(&upload).await;
    for number in 0..=100 {
        let stat = site.disk.stat(&Key::blob(&[number; 32])).await.unwrap();
        assert!(stat.is_some(), "{number}");
    }
    worker.stop().await;
}
