//! How much happens at a time.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use cloudstore_proto::transfer::TransferState;
use cloudstore_service::settings::Settings;
use cloudstore_transfer::Config;
use tokio::sync::watch;

use crate::site::{Site, config, content, eventually};

#[tokio::test]
async fn large_blobs_that_wait_keep_no_small_one_from_its_turn() {
    let site = Site::new().await;
    for number in 0..6 {
        let path = format!("/large-{number}");
        site.upload(&path, content(2_000_000, number)).await;
    }
    // Room for two claims besides those of large blobs.
    let narrow = Config {
        batch: 1,
        large_at_once: 1,
        drain: Duration::ZERO,
        ..config()
    };
    let worker = site.worker_with(narrow, |store| {
        store.hang_above.store(1 << 20, Ordering::SeqCst);
        store.hang.store(true, Ordering::SeqCst);
    });
    eventually(async || site.transfers(TransferState::Claimed).await.len() == 6).await;
    for number in 10..15 {
        let path = format!("/small-{number}");
        let small = site.upload(&path, content(100, number)).await;
        site.stored(&small).await;
    }
    assert_eq!(*worker.store.hanging.borrow(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn limits_change_while_the_worker_runs() {
    let site = Site::new().await;
    let set = |number: &str| {
        let name = "transfer.large_at_once".to_owned();
        BTreeMap::from([(name, number.as_bytes().to_vec())])
    };
    let (sender, values) = watch::channel(set("1"));
    for number in 0..6 {
        let path = format!("/{number}");
        site.upload(&path, content(2_000_000, number)).await;
    }
    let live = Config {
        settings: Settings::watching(values),
        large_at_once: 5,
        drain: Duration::ZERO,
        ..config()
    };
    let worker = site.worker_with(live, |store| store.hang.store(true, Ordering::SeqCst));
    eventually(async || site.transfers(TransferState::Claimed).await.len() == 6).await;
    worker.store.hanging(1).await;
    sender.send_replace(set("3"));
    worker.store.hanging(3).await;
    // Those that run go on; and the number grows again while they do.
    sender.send_replace(set("1"));
    sender.send_replace(set("4"));
    worker.store.hanging(4).await;
    sender.send_replace(BTreeMap::new());
    worker.store.hanging(5).await;
    worker.stop().await;
}
