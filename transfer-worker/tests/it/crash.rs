//! A worker that dies between any two steps, as by `kill -9`: the next one ends what it began.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::Ordering,
    time::Duration,
};

use cloudstore_content::tree::TreeHasher;
use cloudstore_proto::{file::BlobState, transfer::TransferState};
use cloudstore_transfer::{Config, STEPS};
use tokio::process::Command;
use uuid::Uuid;

use crate::{
    garage,
    site::{Running, Site, Upload, config, content, eventually},
};

/// Where the process that is to die works.
const DIR: &str = "CLOUDSTORE_TEST_CRASH_DIR";
/// Its [`Store`].
const STORE: &str = "CLOUDSTORE_TEST_CRASH_STORE";
const PATH: &str = "/file";
const ABORTED: i32 = 6;

/// Several parts.
fn the_content() -> Vec<u8> {
    content(40_000_000, 1)
}

/// Where the blobs go.
#[derive(Clone, Debug)]
enum Store {
    /// Linked on this disk.
    Linked,
    /// Copied on this disk.
    Copied,
    /// A Garage, below this prefix.
    Garage(String),
}

impl Store {
    fn name(&self) -> String {
        match self {
            Self::Linked => "linked".to_owned(),
            Self::Copied => "copied".to_owned(),
            Self::Garage(prefix) => prefix.clone(),
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "linked" => Self::Linked,
            "copied" => Self::Copied,
            prefix => Self::Garage(prefix.to_owned()),
        }
    }

    async fn site(&self, dir: &Path) -> Site {
        let mut site = Site::at(dir).await;
        if let Self::Garage(prefix) = self {
            site.disk = garage::corner(prefix.clone());
        }
        site
    }

    fn worker(&self, site: &Site) -> Running {
        let links = matches!(self, Self::Linked);
        site.worker_with(hasty(), |store| store.links.store(links, Ordering::SeqCst))
    }
}

fn hasty() -> Config {
    Config {
        staged_grace: Duration::ZERO,
        ..config()
    }
}

/// Not a test but the process that dies: `FAILPOINTS` says where.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test below, to die"]
async fn dies() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let store = Store::named(&std::env::var(STORE).unwrap());
    let site = store.site(&dir).await;
    let upload = site.upload(PATH, the_content()).await;
    let worker = store.worker(&site);
    site.wake(&upload.root).await;
    eventually(async || !site.is_staged(&upload)).await;
    worker.stop().await;
}

async fn die(dir: &Path, step: &str, store: &Store) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::dies", "--ignored"])
        .env("FAILPOINTS", format!("{step}=return"))
        .env(DIR, dir)
        .env(STORE, store.name())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let died = command.status().await.unwrap();
    assert_eq!(died.signal(), Some(ABORTED), "{step}, {store:?}: {died}");
}

async fn ended_by_the_next_one(step: &str, store: &Store) {
    let dir = tempfile::tempdir().unwrap();
    die(dir.path(), step, store).await;
    let site = store.site(dir.path()).await;
    let mut hasher = TreeHasher::new();
    hasher.update(&the_content());
    let blob = site.stat(PATH).await.blob.unwrap();
    let upload = Upload {
        path: PATH.to_owned(),
        root: *hasher.finish().root(),
        staging_id: Uuid::from_slice(&blob.staging_id).unwrap(),
        content: the_content(),
    };
    if blob.state() != BlobState::Stored {
        assert!(site.is_staged(&upload), "{step}");
    }
    let worker = store.worker(&site);
    // The lease of the dead ends.
    site.advance(Duration::from_secs(120));
    site.stored(&upload).await;
    eventually(async || site.stat(PATH).await.blob.unwrap().staging_id.is_empty()).await;
    assert!(!site.is_staged(&upload));
    site.stored(&upload).await;
    assert!(site.transfers(TransferState::Unspecified).await.is_empty());
    let unfinished = site.disk.abort_unfinished(Duration::ZERO).await;
    assert_eq!(unfinished.unwrap(), 0, "{step}: nothing is left over");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn death_between_any_two_steps_has_no_effect() {
    for step in STEPS {
        // Linking has no parts.
        if step != "during-parts" {
            ended_by_the_next_one(step, &Store::Linked).await;
        }
        ended_by_the_next_one(step, &Store::Copied).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_a_real_store() {
    for step in STEPS {
        let prefix = format!("test-{}/", Uuid::now_v7());
        ended_by_the_next_one(step, &Store::Garage(prefix)).await;
    }
}
