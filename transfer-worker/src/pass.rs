//! The one reading of a staged copy: verifies every group and computes the lookup digests.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use cloudstore_content::{
    Damaged, GROUP_BYTES, Outboard,
    digest::{Digests, Hasher},
    tree::{group_count, group_len},
};
use tokio_util::sync::CancellationToken;

/// Why the reading ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The bytes are not the blob's.
    #[error("the staged copy is damaged: {0}")]
    Damaged(#[from] Damaged),
    /// The disk failed.
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
    let task = tokio::task::spawn_blocking(move || pass(&data, &outboard, hasher, &dropped));
    task.await
        .map_err(|error| Error::Read(io::Error::other(error)))?
}

fn pass(
    data: &File,
    outboard: &Outboard,
    mut hasher: Hasher,
    dropped: &CancellationToken,
) -> Result<Digests, Error> {
    let size = outboard.size();
    let len = |bytes: u64| usize::try_from(bytes).expect("a group is a mebibyte at most");
    let mut buffer = vec![0; len(size.min(GROUP_BYTES))];
    for index in 0..group_count(size) {
        if dropped.is_cancelled() {
            return Err(Error::Read(io::ErrorKind::Interrupted.into()));
        }
        let group = &mut buffer[..len(group_len(size, index))];
        data.read_exact_at(group, index * GROUP_BYTES)
            .map_err(|error| match error.kind() {
                // The file is shorter than the blob.
                io::ErrorKind::UnexpectedEof => Damaged::Group(index).into(),
                _ => Error::Read(error),
            })?;
        outboard.verify_group(index, group)?;
        hasher.update(group);
    }
    Ok(hasher.finish())
}
