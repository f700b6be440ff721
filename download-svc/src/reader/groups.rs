//! One group after the other, each verified as a whole.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::{Buf as _, Bytes};
use cloudstore_backends::{
    blob::{self, BlobStore, ByteStream, Key},
    staging::RemoteCopy,
};
use cloudstore_content::{Damaged, GROUP_BYTES, Outboard, tree::group_len};
use futures::StreamExt as _;

use crate::cache::DiskCache;

use super::{
    Error,
    buffers::{Buffer, Pool, Slot},
    report_damage,
};

/// Where an opened blob is read from.
#[derive(Clone)]
pub(super) enum Source {
    /// A file of this machine, read at offsets.
    Local(Arc<File>),
    /// An object that is streamed from elsewhere.
    Remote(Arc<dyn BlobStore>, Key),
    /// A staged copy on another node.
    Node(Arc<dyn RemoteCopy>),
    /// A copy on this node's disk, which is dropped when it turns out to be damaged.
    Cached {
        file: Arc<File>,
        /// Its name in the cache's directory.
        name: Arc<str>,
        cache: Arc<DiskCache>,
    },
}

/// The bytes of some groups.
fn whole_groups(groups: &Range<u64>, outboard: &Outboard) -> Range<u64> {
    let end = (groups.end * GROUP_BYTES).min(outboard.size());
    groups.start * GROUP_BYTES..end
}

/// Reads the groups that a range touches, in order.
pub(super) struct Groups {
    input: Input,
    outboard: Arc<Outboard>,
    pool: Arc<Pool>,
    range: Range<u64>,
    /// Groups still to be read.
    ahead: Range<u64>,
    /// Where the copy comes from, if it is one that can be done without.
    cache: Option<Arc<DiskCache>>,
}

enum Input {
    File(Arc<File>),
    Frames(Frames),
}

impl Groups {
    /// For a range inside the blob. A remote source is asked for all the groups at once.
    pub(super) async fn open(
        source: &Source,
        outboard: Arc<Outboard>,
        pool: Arc<Pool>,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        let ahead = outboard.groups_of(range.clone());
        let input = match source {
            Source::Local(file) | Source::Cached { file, .. } => Input::File(file.clone()),
            Source::Node(copy) => {
                let stream = copy.read(whole_groups(&ahead, &outboard)).await?;
                Input::Frames(Frames {
                    stream,
                    rest: Bytes::new(),
                })
            }
            Source::Remote(store, key) => {
                let groups = whole_groups(&ahead, &outboard);
                let stream = store.get(key, groups).await.map_err(|error| match error {
                    // The object is shorter than the blob.
                    blob::Error::Range => damaged(&outboard, Damaged::Group(ahead.end - 1)),
                    error => error.into(),
                })?;
                Input::Frames(Frames {
                    stream,
                    rest: Bytes::new(),
                })
            }
        };
        let cache = match source {
            Source::Cached { cache, .. } => Some(cache.clone()),
            _ => None,
        };
        Ok(Self {
            input,
            outboard,
            pool,
            range,
            ahead,
            cache,
        })
    }

    /// Are all groups read?
    pub(super) fn is_done(&self) -> bool {
        self.ahead.is_empty()
    }

    /// The part of the next group that lies in the range, verified.
    pub(super) async fn next(&mut self, slot: Slot) -> Result<Bytes, Error> {
        let index = self.ahead.next().ok_or(Error::Gone)?;
        let len = usize::try_from(group_len(self.outboard.size(), index))
            .expect("a group is a mebibyte at most");
        let mut buffer = self.pool.take(len, slot);
        let outboard = self.outboard.clone();
        let verified = match &mut self.input {
            Input::File(file) => {
                let file = file.clone();
                blocking(move || {
                    fill(&file, &mut buffer, index)?;
                    verify(buffer, &outboard, index)
                })
                .await
            }
            Input::Frames(frames) => {
                frames.fill(buffer.as_mut()).await?;
                blocking(move || verify(buffer, &outboard, index)).await
            }
        };
        let group = verified.map_err(|error| match (error, &self.cache) {
            (Error::Damaged(damage), Some(cache)) => {
                report_damage(self.outboard.root(), &damage);
                cache.forget(self.outboard.root());
                // The durable copy is as good as ever.
                Error::Gone
            }
            (Error::Damaged(damage), None) => damaged(&self.outboard, damage),
            (error, _) => error,
        })?;
        let start = index * GROUP_BYTES;
        let within = |at: u64| {
            usize::try_from(at.saturating_sub(start))
                .unwrap_or(len)
                .min(len)
        };
        Ok(group.slice(within(self.range.start)..within(self.range.end)))
    }
}

fn damaged(outboard: &Outboard, damage: Damaged) -> Error {
    report_damage(outboard.root(), &damage);
    damage.into()
}

async fn blocking(
    work: impl FnOnce() -> Result<Bytes, Error> + Send + 'static,
) -> Result<Bytes, Error> {
    let task = tokio::task::spawn_blocking(work).await;
    task.map_err(|error| Error::Unavailable(Box::new(error)))?
}

fn fill(file: &File, buffer: &mut Buffer, index: u64) -> Result<(), Error> {
    file.read_exact_at(buffer.as_mut(), index * GROUP_BYTES)
        .map_err(|error| match error.kind() {
            // The file is shorter than the blob.
            io::ErrorKind::UnexpectedEof => Damaged::Group(index).into(),
            _ => Error::Unavailable(Box::new(error)),
        })
}

fn verify(buffer: Buffer, outboard: &Outboard, index: u64) -> Result<Bytes, Error> {
    outboard.verify_group(index, buffer.as_ref())?;
    Ok(Bytes::from_owner(buffer))
}

/// A stream cut into pieces of wanted lengths.
struct Frames {
    stream: ByteStream,
    rest: Bytes,
}

impl Frames {
    async fn fill(&mut self, mut out: &mut [u8]) -> Result<(), Error> {
        while !out.is_empty() {
            while !self.rest.has_remaining() {
                let frame = self.stream.next().await.unwrap_or_else(|| {
                    Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the store ended too early",
                    ))
                });
                self.rest = frame.map_err(|error| Error::Unavailable(Box::new(error)))?;
            }
            let len = out.len().min(self.rest.len());
            let (now, later) = out.split_at_mut(len);
            self.rest.copy_to_slice(now);
            out = later;
        }
        Ok(())
    }
}
