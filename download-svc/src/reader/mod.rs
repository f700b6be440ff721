//! Reading of blobs wherever they are: from the staged copy, a local store or a remote one. Every
//! group is verified against the blob's outboard before any byte of it is handed out.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use cloudstore_backends::{
    blob::{self, BlobStore, Key},
    staging::{self, StagedBlobs},
};
use cloudstore_content::{Damaged, Outboard, Root, tree::group_count};
use cloudstore_proto::file;
use futures::TryStreamExt as _;
use moka::future::Cache;
use url::Url;
use uuid::Uuid;

mod admission;
mod buffers;
mod groups;
mod pieces;

pub use pieces::{Content, Pieces};

use crate::{
    Config,
    archive::{MAX_ARCHIVES, MAX_ARCHIVES_PER_ACCOUNT},
    cache::{Cached, DiskCache, Ranking},
};
use admission::{Admission, Admissions};
use groups::Source;

/// Bytes of a value in an encoded outboard.
const VALUE_BYTES: u64 = 32;
/// What a cached outboard costs beside its values.
const CACHE_ENTRY_BYTES: usize = 128;

/// Which blob to read, and where its staged copy is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Identity.
    pub root: Root,
    /// Length in bytes.
    pub size: u64,
    /// Node and id of the staged copy, while there is one.
    pub staged: Option<(String, Uuid)>,
    /// It is in durable storage.
    pub stored: bool,
}

impl Blob {
    /// From dbproxy's message; `None` for a message that describes no blob.
    #[must_use]
    pub fn from_message(blob: &file::Blob) -> Option<Self> {
        let staged = match Uuid::from_slice(&blob.staging_id) {
            Ok(id) => Some((blob.node.clone(), id)),
            Err(_) if blob.staging_id.is_empty() => None,
            Err(_) => return None,
        };
        Some(Self {
            root: blob.blake3.as_ref().try_into().ok()?,
            size: u64::try_from(blob.size).ok()?,
            staged,
            stored: blob.state() == file::BlobState::Stored,
        })
    }
}

/// Why content could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not where it was said to be: look the blob up again, it may have moved.
    #[error("the content is not where it was said to be")]
    Gone,
    /// What is there is not the content.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// As many streams as are allowed are open.
    #[error("too many downloads at once")]
    Overloaded,
    /// Anything that may work when tried again.
    #[error("the content cannot be read: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<blob::Error> for Error {
    fn from(error: blob::Error) -> Self {
        match error {
            blob::Error::NotFound => Self::Gone,
            error => Self::Unavailable(Box::new(error)),
        }
    }
}

impl From<staging::Error> for Error {
    fn from(error: staging::Error) -> Self {
        match error {
            staging::Error::NotFound => Self::Gone,
            staging::Error::Damaged => Self::Damaged(Damaged::Outboard),
            error => Self::Unavailable(Box::new(error)),
        }
    }
}

/// A place for reading one blob after the other.
pub(crate) struct Ticket {
    stream: Arc<Admission>,
    _archive: Admission,
}

/// Opens blobs.
pub struct Reader {
    blobs: Arc<dyn BlobStore>,
    staged: Arc<dyn StagedBlobs>,
    /// Outboards of stored blobs of more than one group. A blob has only one outboard, so entries
    /// never go stale.
    outboards: Cache<Root, Arc<Outboard>>,
    pool: Arc<buffers::Pool>,
    streams: Admissions,
    archives: Admissions,
    cache: Option<Arc<DiskCache>>,
    ranking: Arc<Ranking>,
}

impl Reader {
    /// Over the places where content can be.
    #[must_use]
    pub fn new(config: &Config, blobs: Arc<dyn BlobStore>, staged: Arc<dyn StagedBlobs>) -> Self {
        let weigh = |_: &Root, outboard: &Arc<Outboard>| {
            let bytes = size_of_val(outboard.values()) + CACHE_ENTRY_BYTES;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder()
            .max_capacity(config.outboard_cache_bytes)
            .weigher(weigh);
        Self {
            blobs,
            staged,
            outboards: cache.build(),
            pool: Arc::default(),
            streams: Admissions::new(config.max_streams, config.max_streams_per_account),
            archives: Admissions::new(MAX_ARCHIVES, MAX_ARCHIVES_PER_ACCOUNT),
            cache: None,
            ranking: Arc::default(),
        }
    }

    /// With copies of hot blobs on this node's disk.
    #[must_use]
    pub(crate) fn with_cache(mut self, cache: Arc<DiskCache>, ranking: Arc<Ranking>) -> Self {
        self.cache = Some(cache);
        self.ranking = ranking;
        self
    }

    /// A URL at which anybody can read a stored blob for `ttl`, if the store has such a thing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn presign(&self, blob: &Blob, ttl: Duration) -> Result<Option<Url>, Error> {
        self.ranking.count(&blob.root);
        Ok(self.blobs.presign_get(&Key::blob(&blob.root), ttl).await?)
    }

    /// Finds a copy of the blob for an account that may read it. Removing that copy afterwards does
    /// not disturb a local reader.
    ///
    /// # Errors
    /// [`Error::Gone`] when no copy is left where the blob was said to be.
    pub async fn open(&self, account: Uuid, blob: &Blob) -> Result<Content, Error> {
        let stream = self.streams.enter(account).ok_or(Error::Overloaded)?;
        self.open_in(blob, Arc::new(stream)).await
    }

    /// A place for an archive of an account: it is one download, whatever is in it.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(crate) fn enter_archive(&self, account: Uuid) -> Result<Ticket, Error> {
        let archive = self.archives.enter(account).ok_or(Error::Overloaded)?;
        let stream = self.streams.enter(account).ok_or(Error::Overloaded)?;
        Ok(Ticket {
            stream: Arc::new(stream),
            _archive: archive,
        })
    }

    /// As [`Self::open`], for who has a place.
    ///
    /// # Errors
    /// [`Error::Gone`] likewise.
    pub(crate) async fn open_with(&self, place: &Ticket, blob: &Blob) -> Result<Content, Error> {
        self.open_in(blob, place.stream.clone()).await
    }

    async fn open_in(&self, blob: &Blob, stream: Arc<Admission>) -> Result<Content, Error> {
        let (source, outboard) = self.locate(blob).await?;
        Ok(Content::new(source, outboard, self.pool.clone(), stream))
    }

    /// What is stored is read from there, or from a copy on this node's disk.
    async fn locate(&self, blob: &Blob) -> Result<(Source, Arc<Outboard>), Error> {
        if !blob.stored {
            return self.open_staged(blob).await;
        }
        if let Some(cached) = self.open_cached(blob).await? {
            return Ok(cached);
        }
        match self.open_stored(blob).await {
            Err(_) if blob.staged.is_some() => self.open_staged(blob).await,
            opened => opened,
        }
    }

    async fn open_cached(&self, blob: &Blob) -> Result<Option<(Source, Arc<Outboard>)>, Error> {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        self.ranking.count(&blob.root);
        let Some(Cached { file, name }) = cache.read(&blob.root, blob.size) else {
            return Ok(None);
        };
        let source = Source::Cached {
            file: Arc::new(file),
            name: name.into(),
            cache: cache.clone(),
        };
        Ok(Some((source, self.outboard(blob).await?)))
    }

    /// The staged copy first: most likely there is no other. One that cannot be used is no reason
    /// to fail while the durable one can.
    async fn open_staged(&self, blob: &Blob) -> Result<(Source, Arc<Outboard>), Error> {
        let Some((node, id)) = &blob.staged else {
            return self.open_stored(blob).await;
        };
        let failure = match self.staged.open(node, *id, blob.size, &blob.root).await {
            Ok(staged) => {
                let source = match staged.content {
                    staging::Content::Local { file, .. } => Source::Local(file),
                    staging::Content::Remote(copy) => Source::Node(copy),
                };
                return Ok((source, staged.outboard));
            }
            Err(failure) => failure,
        };
        if !matches!(failure, staging::Error::NotFound) {
            let blob = hex::encode(blob.root);
            tracing::warn!(blob, node, error = %failure, "staged copy cannot be used");
        }
        match (self.open_stored(blob).await, failure) {
            (Err(Error::Gone), staging::Error::Damaged) => Err(Damaged::Outboard.into()),
            (Err(Error::Gone), staging::Error::Unavailable(error)) => {
                Err(Error::Unavailable(Box::new(error)))
            }
            (stored, _) => stored,
        }
    }

    async fn open_stored(&self, blob: &Blob) -> Result<(Source, Arc<Outboard>), Error> {
        let key = Key::blob(&blob.root);
        let source = match self.blobs.open_local(&key).await? {
            Some(file) => Source::Local(Arc::new(file)),
            None => Source::Remote(self.blobs.clone(), key),
        };
        Ok((source, self.outboard(blob).await?))
    }

    async fn outboard(&self, blob: &Blob) -> Result<Arc<Outboard>, Error> {
        if group_count(blob.size) == 1 {
            return Ok(Arc::new(Outboard::single(blob.size, blob.root)));
        }
        let loaded = self
            .outboards
            .try_get_with(blob.root, self.load_outboard(blob))
            .await;
        loaded.map_err(|error: Arc<Error>| match *error {
            Error::Gone => Error::Gone,
            Error::Damaged(damaged) => Error::Damaged(damaged),
            _ => Error::Unavailable(Box::new(error)),
        })
    }

    async fn load_outboard(&self, blob: &Blob) -> Result<Arc<Outboard>, Error> {
        let loaded = load_outboard(&*self.blobs, &blob.root, blob.size).await;
        loaded.map(Arc::new)
    }
}

/// The outboard of a stored blob of more than one group.
pub(crate) async fn load_outboard(
    blobs: &dyn BlobStore,
    root: &Root,
    size: u64,
) -> Result<Outboard, Error> {
    let encoded = read_outboard(blobs, root, size)
        .await
        .and_then(|encoded| Ok(Outboard::decode(size, root, &encoded)?));
    if let Err(Error::Damaged(damage)) = &encoded {
        report_damage(root, damage);
    }
    encoded
}

async fn read_outboard(blobs: &dyn BlobStore, root: &Root, size: u64) -> Result<Bytes, Error> {
    let range: Range<u64> = 0..group_count(size) * VALUE_BYTES;
    let stream = blobs.get(&Key::outboard(root), range).await;
    let stream = stream.map_err(|error| match error {
        blob::Error::Range => Error::Damaged(Damaged::Outboard),
        error => error.into(),
    })?;
    let encoded = stream.try_fold(BytesMut::new(), async |mut encoded, frame| {
        encoded.extend_from_slice(&frame);
        Ok(encoded)
    });
    encoded
        .await
        .map(BytesMut::freeze)
        .map_err(|error| Error::Unavailable(Box::new(error)))
}

/// Damage is never normal: somebody has to look at the disk or the store.
fn report_damage(root: &Root, damage: &Damaged) {
    metrics::counter!("cloudstore_download_damaged_total").increment(1);
    tracing::error!(blob = hex::encode(root), %damage, "damaged content found while reading");
}
