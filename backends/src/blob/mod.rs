//! Durable storage of finished blobs.

use std::{
    fs::File,
    io,
    ops::Range,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use url::Url;

pub mod fs;
pub mod s3;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// Content as it comes: pieces of any size, ended by the first error.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// With what every key begins.
pub const KEYS: &str = "blobs/";
/// With what the key of an outboard ends.
const OUTBOARD: &str = ".outboard";

/// Name of a stored object. Keys are ordered as their text is, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// A blob's content: `blobs/<2 hex>/<2 hex>/<blake3>`.
    #[must_use]
    pub fn blob(blake3: &[u8; 32]) -> Self {
        let hex = hex::encode(blake3);
        Self(format!("{KEYS}{}/{}/{hex}", &hex[..2], &hex[2..4]))
    }

    /// A blob's outboard, beside it. Blobs of one group have none: their root is the outboard.
    #[must_use]
    pub fn outboard(blake3: &[u8; 32]) -> Self {
        Self(format!("{}{OUTBOARD}", Self::blob(blake3).0))
    }

    /// The key with this text; `None` for what is neither a blob's name nor an outboard's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let blob = text.strip_suffix(OUTBOARD).unwrap_or(text);
        let mut blake3 = [0; 32];
        hex::decode_to_slice(blob.rsplit_once('/')?.1, &mut blake3).ok()?;
        // Comparing what it would be spares looking at digits and folders one by one.
        (Self::blob(&blake3).0 == blob).then(|| Self(text.to_owned()))
    }

    /// The identity of the blob that the object belongs to.
    #[must_use]
    pub fn blake3(&self) -> [u8; 32] {
        let blob = self.0.strip_suffix(OUTBOARD).unwrap_or(&self.0);
        let mut blake3 = [0; 32];
        let digits = blob.rsplit('/').next().unwrap_or_default();
        hex::decode_to_slice(digits, &mut blake3).expect("invariant: keys end with 64 digits");
        blake3
    }

    /// The key as text: `/`-separated, only `[a-z0-9./]`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What [`BlobStore::put`] stores.
pub enum Source {
    /// A complete, already flushed file that does not change any more and stays until `put`
    /// returns. The adapter may link it, copy it, or read it in parallel.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
    /// Content in memory (outboards).
    Bytes(Bytes),
    /// Content from elsewhere. A stream that ends before or goes on after `len` fails the put. An
    /// error of the kind `InvalidData` says that the content is not what it should be.
    Stream {
        /// Exact length in bytes.
        len: u64,
        /// The content.
        stream: ByteStream,
    },
}

impl Source {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } | Self::Stream { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Is there nothing in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is known of a stored object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Length in bytes.
    pub len: u64,
}

/// An object as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Length in bytes.
    pub len: u64,
    /// When it was put, by the store's clock.
    pub modified: SystemTime,
}

/// Why a storage operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("no such object in the blob store")]
    NotFound,
    /// The range does not lie inside the object.
    #[error("the range lies outside the object")]
    Range,
    /// What was sent or stored has another length than announced.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Announced.
        expected: u64,
        /// Seen.
        found: u64,
    },
    /// What was to be stored could not be read; the store is not to blame.
    #[error("the content cannot be read: {0}")]
    Source(#[source] io::Error),
    /// The storage is full.
    #[error("the blob store is full")]
    Full,
    /// Anything that may work when tried again.
    #[error("blob store: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where finished blobs live for good.
///
/// Objects are immutable and named by their content: two puts of one key carry the same bytes.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Stores an object, atomically: readers see nothing or all of it, also after a crash. When it
    /// returns `Ok` the object survives loss of power, with the announced length verified. Putting
    /// a key again is harmless, also at the same time. A put of the wrong length or of content that
    /// its stream calls invalid leaves nothing; one that fails otherwise or is dropped leaves
    /// nothing that readers see, or the whole object. What it has sent may stay out of sight, for
    /// the next put of that key to go on with, until [`abort_unfinished`](Self::abort_unfinished).
    async fn put(&self, key: &Key, source: Source) -> Result<Stat, Error>;

    /// Reads a non-empty range that lies inside the object. The stream yields exactly the range or
    /// ends with an error, also when the object is deleted meanwhile.
    async fn get(&self, key: &Key, range: Range<u64>) -> Result<ByteStream, Error>;

    /// An open file for stores on this machine's disk, so that it can be read at offsets without
    /// passing through a stream; `None` for remote ones. The open file stays readable when the
    /// object is deleted.
    async fn open_local(&self, key: &Key) -> Result<Option<File>, Error>;

    /// `None` when there is no such object. Sees every finished put and delete.
    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error>;

    /// Removes an object. One that is not there is fine.
    async fn delete(&self, key: &Key) -> Result<(), Error>;

    /// Objects whose keys begin with `prefix` and come after `after`, in the order of the keys: up
    /// to `limit` of them (at least 1), fewer only at the end. Other people's objects are left out.
    /// What is put or deleted meanwhile may be seen or not.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Listed)>, Error>;

    /// Removes what puts have left unfinished that began (or last wrote) at least so long ago, and
    /// says how many there were. A put that still runs may fail by it, so that time must exceed
    /// the longest put.
    async fn abort_unfinished(&self, older_than: Duration) -> Result<u64, Error>;

    /// Does a put of a local file cost no copy, where the file system allows that? Then content is
    /// better handed over as a file than as a stream.
    fn links(&self) -> bool;

    /// A URL at which anybody can read the object for `ttl`; `None` when the store has no such
    /// thing.
    async fn presign_get(&self, key: &Key, ttl: Duration) -> Result<Option<Url>, Error>;

    /// Is the store reachable and, where that can be seen without storing anything, writable? For
    /// readiness checks; bounded to a few seconds.
    async fn check(&self) -> Result<(), Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_they_are_made_of() {
        let blake3 = [0xab; 32];
        for key in [Key::blob(&blake3), Key::outboard(&blake3)] {
            assert_eq!(key.blake3(), blake3);
            assert_eq!(Key::parse(key.as_str()), Some(key));
        }
        let blob = Key::blob(&blake3);
        let hex = hex::encode(blake3);
        for other in [
            "",
            "blobs/",
            "blobs/ab/ab/",
            "README",
            &hex,
            &format!("blobs/ab/ac/{hex}"),
            &format!("blobs/ab/ab/{}", hex.to_uppercase()),
            &format!("{}.part", blob.as_str()),
            &format!("x{}", blob.as_str()),
        ] {
            assert_eq!(Key::parse(other), None, "{other}");
        }
    }
}
