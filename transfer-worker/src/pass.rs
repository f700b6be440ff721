//! The one reading of a staged copy: verifies every group and computes the lookup digests, alone
//! or while the content goes to the store.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use cloudstore_backends::{blob::ByteStream, staging::Content};
use cloudstore_content::{
    Damaged, GROUP_BYTES, Outboard,
    digest::{Digests, Hasher},
    tree::{group_count, group_len},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::step::step;

/// Verified groups that wait for the store. While it sends the parts that it has, the next one is
/// read: more than a few would only take memory.
const READ_AHEAD: usize = 8;
/// Groups from another node that wait to be verified.
const ARRIVED: usize = 2;
/// How long another node may send nothing.
const STALL: Duration = Duration::from_secs(60);

/// Why the reading ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The bytes are not the blob's.
    #[error("the staged copy is damaged: {0}")]
    Damaged(#[from] Damaged),
    /// The disk failed, or the other node.
    #[error("the staged copy cannot be read: {0}")]
    Read(#[source] io::Error),
}

/// Reads the whole copy on a blocking thread, one group in memory. Dropping the future ends the
/// reading after the current group.
pub(crate) async fn read(
    data: Arc<File>,
    outboard: Arc<Outboard>,
    hasher: Hasher,
) -> Result<Digests, Error> {
    let dropped = CancellationToken::new();
    let _guard = dropped.clone().drop_guard();
    let mut groups = Groups::of_file(data);
    let task = tokio::task::spawn_blocking(move || {
        pass(&mut groups, &outboard, hasher, |_, _| {
            !dropped.is_cancelled()
        })
    });
    task.await
        .map_err(|error| Error::Read(io::Error::other(error)))?
}

/// A copy that is being read and verified while its content is passed on.
pub(crate) struct Passing {
    task: JoinHandle<Result<Digests, Error>>,
    /// What fetches the groups from another node; it ends with this.
    _fetch: JoinSet<()>,
}

impl Passing {
    /// Begins. The stream yields verified content only, and ends with an error of the kind
    /// `InvalidData` when there is no more. Dropping it ends the reading.
    pub(crate) fn begin(
        content: Content,
        outboard: Arc<Outboard>,
        hasher: Hasher,
    ) -> (ByteStream, Self) {
        let mut fetch = JoinSet::new();
        let mut groups = match content {
            Content::Local { file, .. } => Groups::of_file(file),
            content @ Content::Remote(_) => {
                let (arrived, groups) = mpsc::channel(ARRIVED);
                fetch.spawn(fetch_groups(content, outboard.size(), arrived));
                Groups::Arriving(groups)
            }
        };
        let (verified, mut receiver) = mpsc::channel(READ_AHEAD);
        let task = tokio::task::spawn_blocking(move || {
            let middle = group_count(outboard.size()) / 2;
            let passed = pass(&mut groups, &outboard, hasher, |index, group| {
                if index == middle {
                    step("during-parts");
                }
                verified.blocking_send(Ok(group.clone())).is_ok()
            });
            if let Err(error) = &passed {
                let kind = match error {
                    Error::Damaged(_) => io::ErrorKind::InvalidData,
                    Error::Read(error) => error.kind(),
                };
                // Nobody is there to hear it when the put has failed already.
                let _ = verified.blocking_send(Err(io::Error::new(kind, error.to_string())));
            }
            passed
        });
        let stream = stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed();
        let passing = Self {
            task,
            _fetch: fetch,
        };
        (stream, passing)
    }

    /// The digests, or why the stream ended with an error. To be called when the stream has ended
    /// or was dropped.
    pub(crate) async fn end(self) -> Result<Digests, Error> {
        let Self {
            task,
            _fetch: fetch,
        } = self;
        drop(fetch);
        task.await
            .map_err(|error| Error::Read(io::Error::other(error)))?
    }
}

/// Where the groups come from, in order.
enum Groups {
    File {
        file: Arc<File>,
        /// Memory of a group that is not needed any more.
        spare: BytesMut,
    },
    Arriving(mpsc::Receiver<io::Result<Bytes>>),
}

impl Groups {
    fn of_file(file: Arc<File>) -> Self {
        let spare = BytesMut::new();
        Self::File { file, spare }
    }

    /// Blocks until the group is there.
    fn next(&mut self, index: u64, len: usize) -> Result<Bytes, Error> {
        match self {
            Self::File { file, spare } => {
                let mut group = std::mem::take(spare);
                group.resize(len, 0);
                match file.read_exact_at(&mut group, index * GROUP_BYTES) {
                    Ok(()) => Ok(group.freeze()),
                    // The file is shorter than the blob.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        Err(Damaged::Group(index).into())
                    }
                    Err(error) => Err(Error::Read(error)),
                }
            }
            Self::Arriving(groups) => {
                let group = groups.blocking_recv();
                let broken = || Err(io::ErrorKind::BrokenPipe.into());
                group.unwrap_or_else(broken).map_err(Error::Read)
            }
        }
    }

    /// Takes back the memory of a group, if nobody else needs it.
    fn take_back(&mut self, group: Bytes) {
        if let Self::File { spare, .. } = self
            && let Ok(unused) = group.try_into_mut()
        {
            *spare = unused;
        }
    }
}

/// Verifies and hashes group after group. `go_on` gets each verified one, and may end it all.
fn pass(
    groups: &mut Groups,
    outboard: &Outboard,
    mut hasher: Hasher,
    go_on: impl Fn(u64, &Bytes) -> bool,
) -> Result<Digests, Error> {
    let size = outboard.size();
    for index in 0..group_count(size) {
        let group = groups.next(index, group_bytes(size, index))?;
        outboard.verify_group(index, &group)?;
        if !go_on(index, &group) {
            return Err(Error::Read(io::ErrorKind::Interrupted.into()));
        }
        // Last, so that the group can be on its way meanwhile.
        hasher.update(&group);
        groups.take_back(group);
    }
    Ok(hasher.finish())
}

fn group_bytes(size: u64, index: u64) -> usize {
    usize::try_from(group_len(size, index)).expect("invariant: a group is a mebibyte at most")
}

/// Reads a copy that is elsewhere from its beginning to its end.
async fn fetch_groups(content: Content, size: u64, arrived: mpsc::Sender<io::Result<Bytes>>) {
    let fetching = async {
        let unavailable = |error| io::Error::other(format!("{error}"));
        let mut stream = match size {
            0 => stream::empty().boxed(),
            _ => content.read(0..size).await.map_err(unavailable)?,
        };
        let mut rest = Bytes::new();
        for index in 0..group_count(size) {
            let mut group = BytesMut::with_capacity(group_bytes(size, index));
            while group.len() < group_bytes(size, index) {
                if rest.is_empty() {
                    let next = timeout(STALL, stream.try_next()).await;
                    let next = next.map_err(io::Error::other)??;
                    rest = next.ok_or(io::ErrorKind::UnexpectedEof)?;
                }
                let fits = rest.len().min(group_bytes(size, index) - group.len());
                group.extend_from_slice(&rest.split_to(fits));
            }
            if arrived.send(Ok(group.freeze())).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    };
    if let Err(error) = fetching.await {
        let _ = arrived.send(Err(error)).await;
    }
}
