//! Content that has to be copied: into stores that cannot link, from other nodes.

use std::{
    fmt, io,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use cloudstore_backends::{
    blob::ByteStream,
    staging::{Content, Error, LocalStaging, RemoteCopy, Staged, StagedBlobs},
};
use cloudstore_content::{Root, digest::Hasher};
use cloudstore_proto::{file::BlobState, transfer::TransferState};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use crate::{
    site::{Site, config, content, eventually},
    store::Faulty,
};

/// Groups and frames do not fit each other.
const FRAME: usize = 300_007;

/// The staging directory as if it were on another node.
struct Elsewhere {
    local: LocalStaging,
    facts: Arc<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    /// Bytes that were read.
    read: AtomicU64,
    /// Readings that will break in the middle.
    breaks: AtomicU32,
}

struct Copy {
    content: Content,
    facts: Arc<Facts>,
}

impl fmt::Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Copy")
    }
}

#[async_trait]
impl StagedBlobs for Elsewhere {
    async fn open(&self, node: &str, id: Uuid, size: u64, root: &Root) -> Result<Staged, Error> {
        let staged = self.local.open(node, id, size, root).await?;
        let copy = Copy {
            content: staged.content,
            facts: self.facts.clone(),
        };
        let content = Content::Remote(Arc::new(copy));
        Ok(Staged { content, ..staged })
    }

    async fn remove(&self, node: &str, ids: &[Uuid]) -> Result<(), Error> {
        self.local.remove(node, ids).await
    }
}

#[async_trait]
impl RemoteCopy for Copy {
    async fn read(&self, range: Range<u64>) -> Result<ByteStream, Error> {
        let whole = self.content.read(range.clone()).await?;
        let frames = whole.map_ok(|mut piece| {
            let frames = std::iter::from_fn(move || {
                (!piece.is_empty()).then(|| piece.split_to(piece.len().min(FRAME)))
            });
            stream::iter(frames.map(io::Result::Ok))
        });
        let facts = self.facts.clone();
        let counted = frames.try_flatten().inspect_ok(move |frame| {
            facts.read.fetch_add(frame.len() as u64, Ordering::SeqCst);
        });
        let fewer = |breaks: u32| breaks.checked_sub(1);
        let breaks = &self.facts.breaks;
        if breaks
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer)
            .is_err()
        {
            return Ok(counted.boxed());
        }
        let frames = usize::try_from(range.end / 2).unwrap() / FRAME;
        let broken = stream::once(async { Err(io::ErrorKind::ConnectionReset.into()) });
        Ok(counted.take(frames).chain(broken).boxed())
    }
}

fn no_links(store: &Faulty) {
    store.links.store(false, Ordering::SeqCst);
}

async fn elsewhere() -> (Site, Arc<Facts>) {
    let mut site = Site::new().await;
    let facts = Arc::new(Facts::default());
    site.staged = Arc::new(Elsewhere {
        local: LocalStaging::new(site.layout.clone()),
        facts: facts.clone(),
    });
    (site, facts)
}

const SIZES: [usize; 6] = [0, 1, 4_096, 1 << 20, (1 << 20) + 1, 30_500_000];

async fn every_size_arrives(site: &Site) {
    for (seed, size) in (0..).zip(SIZES) {
        let upload = site.upload(&format!("/{size}"), content(size, seed)).await;
        site.stored(&upload).await;
        let blob = site.stat(&upload.path).await.blob.unwrap();
        let mut hasher = Hasher::new(true, true);
        hasher.update(&upload.content);
        let digests = hasher.finish();
        assert_eq!(blob.sha1, &digests.sha1.unwrap()[..]);
        assert_eq!(blob.sha256, &digests.sha256.unwrap()[..]);
    }
    assert!(site.transfers(TransferState::Unspecified).await.is_empty());
}

#[tokio::test]
async fn every_size_is_copied() {
    let site = Site::new().await;
    let worker = site.worker_with(config(), no_links);
    every_size_arrives(&site).await;
    worker.stop().await;
}

#[tokio::test]
async fn every_size_comes_from_another_node_and_is_read_once() {
    let (site, facts) = elsewhere().await;
    // A store that links takes what is elsewhere as well.
    let worker = site.worker(config());
    every_size_arrives(&site).await;
    let all: usize = SIZES.iter().sum();
    assert_eq!(facts.read.load(Ordering::SeqCst), all as u64);
    worker.stop().await;
}

#[tokio::test]
async fn a_reading_that_breaks_is_tried_again() {
    let (site, facts) = elsewhere().await;
    facts.breaks.store(2, Ordering::SeqCst);
    let upload = site.upload("/file", content(5_000_000, 1)).await;
    let worker = site.worker(config());
    site.stored(&upload).await;
    assert_eq!(facts.breaks.load(Ordering::SeqCst), 0);
    worker.stop().await;
}

async fn damage_is_parked(site: &Site) {
    let large = site.upload("/large", content(5_000_000, 1)).await;
    let small = site.upload("/small", content(100, 2)).await;
    let open = |id| {
        let path = site.layout.data(id);
        std::fs::File::options().write(true).open(path).unwrap()
    };
    open(large.staging_id)
        .write_all_at(b"damage", 3_500_000)
        .unwrap();
    open(small.staging_id).write_all_at(b"damage", 50).unwrap();
    let worker = site.worker_with(config(), no_links);
    eventually(async || site.transfers(TransferState::Parked).await.len() == 2).await;
    for parked in site.transfers(TransferState::Parked).await {
        assert_eq!(parked.attempts, 1);
        let error = &parked.last_error;
        assert!(error.contains("damaged"), "{error}");
    }
    for upload in [&large, &small] {
        assert_eq!(site.state(upload).await, BlobState::Staged);
        assert!(!site.object(upload).exists());
    }
    worker.stop().await;
}

#[tokio::test]
async fn damage_is_seen_while_the_content_is_sent() {
    damage_is_parked(&Site::new().await).await;
    damage_is_parked(&elsewhere().await.0).await;
}

#[tokio::test]
async fn a_put_that_fails_early_ends_the_reading() {
    let (site, _) = elsewhere().await;
    let upload = site.upload("/file", content(30_000_000, 1)).await;
    let worker = site.worker_with(config(), |store| {
        no_links(store);
        store.failures.store(3, Ordering::SeqCst);
    });
    site.stored(&upload).await;
    worker.stop().await;
}
