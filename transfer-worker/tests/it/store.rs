//! The store on disk, failing on demand.

use std::{
    fs::File,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloudstore_backends::blob::{BlobStore, ByteStream, Error, Key, Listed, Source, Stat};
use tokio::sync::watch;
use url::Url;

/// A real store whose puts fail or hang while they are told to.
pub(crate) struct Faulty {
    inner: Arc<dyn BlobStore>,
    /// Puts that will fail.
    pub(crate) failures: AtomicU32,
    /// Puts that failed because the store was away.
    pub(crate) refused: AtomicU32,
    /// The store as a whole cannot be used: puts fail, and so does its check.
    pub(crate) away: AtomicBool,
    /// Puts never end.
    pub(crate) hang: AtomicBool,
    /// Of those that hang: only what has more bytes than this.
    pub(crate) hang_above: AtomicU64,
    /// Stat tells less than was put.
    pub(crate) shorten: AtomicBool,
    /// A put of a file costs no copy.
    pub(crate) links: AtomicBool,
    /// Puts that hang now.
    pub(crate) hanging: watch::Sender<usize>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self {
            inner,
            failures: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            away: AtomicBool::new(false),
            hang: AtomicBool::new(false),
            hang_above: AtomicU64::new(0),
            shorten: AtomicBool::new(false),
            links: AtomicBool::new(true),
            hanging: watch::Sender::new(0),
        }
    }

    /// Waits until that many puts hang.
    pub(crate) async fn hanging(&self, count: usize) {
        self.hanging
            .subscribe()
            .wait_for(|hanging| *hanging == count)
            .await
            .unwrap();
    }
}

/// A put that hangs, until it is dropped.
struct Hanging<'a>(&'a watch::Sender<usize>);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|hanging| *hanging -= 1);
    }
}

#[async_trait]
impl BlobStore for Faulty {
    async fn put(&self, key: &Key, source: Source) -> Result<Stat, Error> {
        if self.hang.load(Ordering::SeqCst) && source.len() > self.hang_above.load(Ordering::SeqCst)
        {
            self.hanging.send_modify(|hanging| *hanging += 1);
            let _hanging = Hanging(&self.hanging);
            std::future::pending::<()>().await;
        }
        if self.away.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::Unavailable("the store is away".into()));
        }
        let left = |failures: u32| failures.checked_sub(1);
        if self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .is_ok()
        {
            return Err(Error::Unavailable("the store is down".into()));
        }
        self.inner.put(key, source).await
    }

    async fn get(&self, key: &Key, range: Range<u64>) -> Result<ByteStream, Error> {
        self.inner.get(key, range).await
    }

    async fn open_local(&self, key: &Key) -> Result<Option<File>, Error> {
        self.inner.open_local(key).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        let stat = self.inner.stat(key).await?;
        let missing = u64::from(self.shorten.load(Ordering::SeqCst));
        Ok(stat.map(|stat| Stat {
            len: stat.len - missing,
        }))
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Listed)>, Error> {
        self.inner.list(prefix, after, limit).await
    }

    async fn abort_unfinished(&self, older_than: Duration) -> Result<u64, Error> {
        self.inner.abort_unfinished(older_than).await
    }

    fn links(&self) -> bool {
        self.links.load(Ordering::SeqCst)
    }

    async fn presign_get(&self, key: &Key, ttl: Duration) -> Result<Option<Url>, Error> {
        self.inner.presign_get(key, ttl).await
    }

    async fn check(&self) -> Result<(), Error> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("the store is away".into()));
        }
        self.inner.check().await
    }
}
