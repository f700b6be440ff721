//! Blobs on a real disk, staged and stored.

use std::{
    fs::File,
    io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloudstore_backends::{
    blob::{BlobStore, ByteStream, Error, Key, Listed, Source, Stat, fs::FsBlobStore},
    flush::Flusher,
    staging::{Layout, LocalStaging, VALUES_AT},
};
use cloudstore_content::{
    Outboard, Root,
    tree::{TreeHasher, group_count},
};
use cloudstore_download::{
    Config,
    reader::{Blob, Reader},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use url::Url;
use uuid::Uuid;

/// A staging directory and a store, removed at the end.
pub(crate) struct Disk {
    dir: tempfile::TempDir,
    pub(crate) layout: Layout,
    pub(crate) blobs: Arc<FsBlobStore>,
}

/// Content that repeats nowhere, the same for the same seed.
pub(crate) fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut content = vec![0; size];
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    blake3::Hasher::new_keyed(&key)
        .finalize_xof()
        .fill(&mut content);
    content
}

pub(crate) fn outboard(content: &[u8]) -> Outboard {
    let mut hasher = TreeHasher::new();
    hasher.update(content);
    hasher.finish()
}

impl Disk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("staging"));
        layout.create().unwrap();
        let blobs = FsBlobStore::open(dir.path().join("blobs"), Flusher::new()).unwrap();
        Self {
            dir,
            layout,
            blobs: Arc::new(blobs),
        }
    }

    /// A file beside the two.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn staged(&self) -> Arc<LocalStaging> {
        Arc::new(LocalStaging::new(self.layout.clone()))
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::new(&Config::default(), self.blobs.clone(), self.staged())
    }

    /// A reader that gets stored content through streams only.
    pub(crate) fn remote_reader(&self) -> (Reader, Arc<AtomicU64>) {
        let pulled = Arc::new(AtomicU64::new(0));
        let remote = Remote {
            blobs: self.blobs.clone(),
            pulled: pulled.clone(),
        };
        (
            Reader::new(&Config::default(), Arc::new(remote), self.staged()),
            pulled,
        )
    }

    /// Where the store keeps an object.
    pub(crate) fn object(&self, key: &Key) -> PathBuf {
        self.path("blobs").join(key.as_str())
    }

    /// Makes content durable, as transfer-worker does.
    pub(crate) async fn store(&self, content: &[u8]) -> Blob {
        let outboard = outboard(content);
        let root = *outboard.root();
        let put = |key, bytes: Vec<u8>| async move {
            self.blobs
                .put(&key, Source::Bytes(bytes.into()))
                .await
                .unwrap();
        };
        put(Key::blob(&root), content.to_vec()).await;
        if group_count(outboard.size()) > 1 {
            put(Key::outboard(&root), outboard.encode()).await;
        }
        Blob {
            root,
            size: outboard.size(),
            staged: None,
            stored: false,
        }
    }

    /// Leaves a finished staged copy, as upload-svc does.
    pub(crate) fn stage(&self, content: &[u8]) -> Blob {
        let (outboard, id) = (outboard(content), Uuid::now_v7());
        std::fs::write(self.layout.data(id), content).unwrap();
        if group_count(outboard.size()) > 1 {
            let mut side = vec![0; usize::try_from(VALUES_AT).unwrap()];
            side.extend(outboard.encode());
            std::fs::write(self.layout.side(id), side).unwrap();
        }
        let staged = Some(("here".to_owned(), id));
        Blob {
            root: *outboard.root(),
            size: outboard.size(),
            staged,
            stored: true,
        }
    }

    /// Changes one byte of a stored blob.
    pub(crate) fn damage(&self, root: &Root, at: u64) {
        let path = self.object(&Key::blob(root));
        let mut content = std::fs::read(&path).unwrap();
        content[usize::try_from(at).unwrap()] ^= 1;
        std::fs::write(path, content).unwrap();
    }
}

/// The store on disk as if it were far away, in frames of odd lengths.
pub(crate) struct Remote {
    blobs: Arc<FsBlobStore>,
    /// Bytes of blobs that were pulled.
    pub(crate) pulled: Arc<AtomicU64>,
}

/// Groups and frames do not fit each other.
const FRAME: usize = 300_007;

#[async_trait]
impl BlobStore for Remote {
    async fn put(&self, key: &Key, source: Source) -> Result<Stat, Error> {
        self.blobs.put(key, source).await
    }

    async fn get(&self, key: &Key, range: Range<u64>) -> Result<ByteStream, Error> {
        let whole = self.blobs.get(key, range).await?;
        if key.as_str().ends_with(".outboard") {
            return Ok(whole);
        }
        let frames = whole.map_ok(|mut piece| {
            let frames = std::iter::from_fn(move || {
                (!piece.is_empty()).then(|| piece.split_to(piece.len().min(FRAME)))
            });
            stream::iter(frames.map(io::Result::Ok))
        });
        let pulled = self.pulled.clone();
        let counted = frames.try_flatten().inspect_ok(move |frame| {
            pulled.fetch_add(frame.len() as u64, Ordering::SeqCst);
        });
        Ok(counted.boxed())
    }

    async fn open_local(&self, _key: &Key) -> Result<Option<File>, Error> {
        Ok(None)
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        self.blobs.stat(key).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.blobs.delete(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Listed)>, Error> {
        self.blobs.list(prefix, after, limit).await
    }

    async fn abort_unfinished(&self, older_than: Duration) -> Result<u64, Error> {
        self.blobs.abort_unfinished(older_than).await
    }

    fn links(&self) -> bool {
        false
    }

    async fn presign_get(&self, _key: &Key, _ttl: Duration) -> Result<Option<Url>, Error> {
        Ok(None)
    }

    async fn check(&self) -> Result<(), Error> {
        self.blobs.check().await
    }
}
