//! Staged copies: content that is complete (or on its way) on a staging node and not yet in
//! durable storage. [`LocalStaging`] is this machine's directory, [`HttpStaging`] reaches those of
//! every node through their upload-svc.
//!
//! Layout of a staging directory: `<id>.data` holds the bytes at their final offsets, `<id>.side`
//! the facts that belong to them. Only upload-svc writes there; this module is what the other
//! services need to read and remove finished copies.
//!
//! ```text
//! <id>.side   0..64    header, see HEADER_MAGIC
//!             64..128  of an unfinished upload: what is kept of a group (TAIL_AT); else ignored
//!             128..    one 32-byte group value for each group; zeros: not received
//! ```
//! The group values of a finished copy are its outboard. Blobs of one group need none and have
//! no `.side` file.

use std::{
    fmt,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_content::{Outboard, Root, tree::group_count};
use futures::{StreamExt as _, stream};
use uuid::Uuid;

use crate::{blob::ByteStream, flush::create_dirs_durably};

mod http;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use http::HttpStaging;

/// Makes service tokens: the audience in, a token out that the audience accepts from this process.
pub type Tokens = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// First bytes of a sidecar: name and version of the format.
pub const HEADER_MAGIC: &[u8; 8] = b"cs-side1";
/// Where the record of a group begins of which only the beginning is kept.
pub const TAIL_AT: u64 = 64;
/// Where the group values begin.
pub const VALUES_AT: u64 = 128;
/// Bytes of one group value.
pub const VALUE_BYTES: u64 = 32;

/// Permissions of both files: those of stored objects, which they become when they are linked.
pub const MODE: u32 = 0o640;

/// Names of the files in one node's staging directory.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// For a directory that exists or will be created by [`Layout::create`].
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Creates the directory and its parents, durably.
    ///
    /// # Errors
    /// As [`create_dirs_durably`].
    pub fn create(&self) -> io::Result<()> {
        create_dirs_durably(&self.dir)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file with the content.
    #[must_use]
    pub fn data(&self, id: Uuid) -> PathBuf {
        self.dir.join(format!("{}.data", id.simple()))
    }

    /// The file with the group values.
    #[must_use]
    pub fn side(&self, id: Uuid) -> PathBuf {
        self.dir.join(format!("{}.side", id.simple()))
    }

    /// Ids of everything in the directory, each once.
    ///
    /// # Errors
    /// As `std::fs::read_dir`.
    pub fn ids(&self) -> io::Result<Vec<Uuid>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.split_once('.'));
            ids.extend(stem.and_then(|(id, _)| Uuid::try_parse(id).ok()));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Removes the files of an id; what is not there is fine.
    ///
    /// # Errors
    /// As `std::fs::remove_file`, except for missing files.
    pub fn remove(&self, id: Uuid) -> io::Result<()> {
        for path in [self.data(id), self.side(id)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Why a staged copy could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there (any more): look the blob up again, it may have been stored meanwhile.
    #[error("no such staged copy")]
    NotFound,
    /// The copy's group values do not lead to the blob's root, or its length is wrong.
    #[error("the staged copy is damaged")]
    Damaged,
    /// The node could not be asked, or its disk failed.
    #[error("staged copy: {0}")]
    Unavailable(#[source] io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Unavailable(error),
        }
    }
}

/// An opened staged copy.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The bytes. Opening does not verify them; the outboard does, group by group.
    pub content: Content,
    /// Verified to lead to the blob's root.
    pub outboard: Arc<Outboard>,
}

/// Where the bytes of a staged copy are.
#[derive(Clone, Debug)]
pub enum Content {
    /// On this machine. The open file keeps the content readable when the copy is removed.
    Local {
        /// Read it at offsets.
        file: Arc<File>,
        /// Where it is, for stores that can link it.
        path: PathBuf,
    },
    /// On another node.
    Remote(Arc<dyn RemoteCopy>),
}

/// A staged copy on another node.
#[async_trait]
pub trait RemoteCopy: Send + Sync + fmt::Debug {
    /// Reads a non-empty range inside the content. The stream yields exactly the range or ends
    /// with an error, also when the copy is removed meanwhile.
    async fn read(&self, range: Range<u64>) -> Result<ByteStream, Error>;
}

impl Content {
    /// Reads a non-empty range inside the content, wherever it is.
    ///
    /// # Errors
    /// As [`RemoteCopy::read`].
    pub async fn read(&self, range: Range<u64>) -> Result<ByteStream, Error> {
        match self {
            Self::Remote(copy) => copy.read(range).await,
            Self::Local { file, .. } => Ok(read_file(file.clone(), range)),
        }
    }
}

/// Bytes read from a local file at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// Pieces of a file in memory: the next one is read while one is on its way.
const PIECES: usize = 2;

fn read_file(file: Arc<File>, range: Range<u64>) -> ByteStream {
    let count = (range.end - range.start).div_ceil(PIECE_BYTES);
    let pieces = (0..count).map(move |index| {
        let start = range.start + index * PIECE_BYTES;
        start..(start + PIECE_BYTES).min(range.end)
    });
    stream::iter(pieces)
        .map(move |piece| read_piece(file.clone(), piece))
        .buffered(PIECES)
        .boxed()
}

async fn read_piece(file: Arc<File>, piece: Range<u64>) -> io::Result<Bytes> {
    let read = tokio::task::spawn_blocking(move || {
        let len = usize::try_from(piece.end - piece.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, piece.start)?;
        Ok(Bytes::from(bytes))
    });
    read.await.map_err(io::Error::other)?
}

/// Access to the staged copies of finished blobs, on whatever node they are.
#[async_trait]
pub trait StagedBlobs: Send + Sync {
    /// Opens the staged copy of a blob: it is there, has its length, and its group values lead to
    /// the root. The content itself is not read.
    async fn open(&self, node: &str, id: Uuid, size: u64, root: &Root) -> Result<Staged, Error>;

    /// Opens an unfinished upload that is a part of others, and says how long it is; `None` while it
    /// is not complete. [`Error::NotFound`] when there is no such part of this account; whoever has
    /// only a directory does not know what is complete.
    async fn open_part(
        &self,
        _node: &str,
        _account: Uuid,
        _id: Uuid,
    ) -> Result<Option<(Content, u64)>, Error> {
        Err(Error::NotFound)
    }

    /// Removes staged copies; those that are gone already are fine. One that cannot be removed
    /// does not keep the others.
    async fn remove(&self, node: &str, ids: &[Uuid]) -> Result<(), Error>;
}

/// The staging directory of this very machine, for a single node.
#[derive(Clone, Debug)]
pub struct LocalStaging {
    layout: Layout,
}

impl LocalStaging {
    /// For the node's staging directory.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }
}

#[async_trait]
impl StagedBlobs for LocalStaging {
    async fn open(&self, _node: &str, id: Uuid, size: u64, root: &Root) -> Result<Staged, Error> {
        let (layout, root) = (self.layout.clone(), *root);
        blocking(move || open(&layout, id, size, &root)).await
    }

    async fn remove(&self, _node: &str, ids: &[Uuid]) -> Result<(), Error> {
        let (layout, ids) = (self.layout.clone(), ids.to_vec());
        blocking(move || {
            // One file that cannot be removed must not keep the others.
            let removed: Vec<_> = ids.into_iter().map(|id| layout.remove(id)).collect();
            Ok(removed.into_iter().collect::<io::Result<()>>()?)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let task = tokio::task::spawn_blocking(work).await;
    task.map_err(|error| Error::Unavailable(io::Error::other(error)))?
}

fn open(layout: &Layout, id: Uuid, size: u64, root: &Root) -> Result<Staged, Error> {
    let path = layout.data(id);
    let data = File::open(&path)?;
    if data.metadata()?.len() != size {
        return Err(Error::Damaged);
    }
    let outboard = if group_count(size) == 1 {
        Outboard::single(size, *root)
    } else {
        let values = read_values(&layout.side(id), size)?;
        Outboard::decode(size, root, &values).map_err(|_| Error::Damaged)?
    };
    Ok(Staged {
        content: Content::Local {
            file: Arc::new(data),
            path,
        },
        outboard: Arc::new(outboard),
    })
}

fn read_values(side: &Path, size: u64) -> Result<Vec<u8>, Error> {
    let len = usize::try_from(group_count(size) * VALUE_BYTES).map_err(|_| Error::Damaged)?;
    let mut values = vec![0; len];
    match File::open(side)?.read_exact_at(&mut values, VALUES_AT) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::Damaged),
        read => Ok(read.map(|()| values)?),
    }
}
