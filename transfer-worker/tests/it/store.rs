//! The store on disk, failing on demand.

use std::{
    fs::File,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloudstore_backends::blob::{BlobStore, ByteStream, Error, Key, Source, Stat, fs::FsBlobStore};
use tokio::sync::watch;
use url::Url;

/// A real store whose puts fail or hang while they are told to.
pub(crate) struct Faulty {
    inner: Arc<FsBlobStore>,
    /// Puts that will fail.
    pub(crate) failures: AtomicU32,
    /// Puts never end.
    pub(crate) hang: AtomicBool,
    /// Stat tells less than was put.
    pub(crate) shorten: AtomicBool,
    /// Puts that hang now.
    pub(crate) hanging: watch::Sender<usize>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<FsBlobStore>) -> Self {
        Self {
            inner,
            failures: AtomicU32::new(0),
            hang: AtomicBool::new(false),
            shorten: AtomicBool::new(false),
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
        if self.hang.load(Ordering::SeqCst) {
            self.hanging.send_modify(|hanging| *hanging += 1);
            let _hanging = Hanging(&self.hanging);
            std::future::pending::<()>().await;
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

    async fn presign_get(&self, key: &Key, ttl: Duration) -> Result<Option<Url>, Error> {
        self.inner.presign_get(key, ttl).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.inner.check().await
    }
}
