//! Making a copy: read from the store, verify, write, flush, rename.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use cloudstore_backends::blob::{self, Key};
use cloudstore_content::{Damaged, GROUP_BYTES, Outboard, Root, tree::group_count};
use futures::TryStreamExt as _;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::DiskCache;
use crate::reader::load_outboard;

/// Groups on their way from the store to the disk.
const AHEAD: usize = 2;

/// Why no copy was made.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Store(#[from] blob::Error),
    #[error(transparent)]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Outboard(#[from] crate::reader::Error),
}

impl DiskCache {
    /// Makes a copy in the background, unless it is being made or there is much to do already.
    pub(super) fn fill(self: &Arc<Self>, root: Root, size: u64) {
        let Ok(turn) = self.fills.clone().try_acquire_owned() else {
            return;
        };
        if !self.filling().insert(root) {
            return;
        }
        let cache = self.clone();
        tokio::spawn(async move {
            let copied = cache.copy(&root, size).await;
            cache.filling().remove(&root);
            drop(turn);
            let outcome = if copied.is_ok() { "copied" } else { "failed" };
            metrics::counter!("cloudstore_download_cache_fills_total", "outcome" => outcome)
                .increment(1);
            if let Err(error) = copied {
                tracing::warn!(blob = hex::encode(root), %error, "no copy in the cache");
            }
        });
    }

    fn filling(&self) -> std::sync::MutexGuard<'_, std::collections::HashSet<Root>> {
        self.filling
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn copy(&self, root: &Root, size: u64) -> Result<(), Error> {
        let outboard = match group_count(size) {
            1 => Outboard::single(size, *root),
            _ => load_outboard(&*self.blobs, root, size).await?,
        };
        let (path, number) = self.new_file(root);
        let written = self.write(root, &path, outboard).await;
        if let Err(error) = written {
            super::remove(&path);
            return Err(error);
        }
        std::fs::rename(&path, path.with_extension(""))?;
        let gone = self.policy().insert(root, size, number);
        self.remove_later(&gone);
        Ok(())
    }

    async fn write(&self, root: &Root, path: &Path, outboard: Outboard) -> Result<(), Error> {
        let size = outboard.size();
        let (sender, receiver) = mpsc::channel(AHEAD);
        let file = File::create_new(path)?;
        let writing = spawn_blocking(move || write_groups(file, &outboard, receiver));
        if size > 0 {
            let mut frames = self.blobs.get(&Key::blob(root), 0..size).await?;
            while let Some(frame) = frames.try_next().await? {
                if sender.send(frame).await.is_err() {
                    // The writer has failed and says why.
                    break;
                }
            }
        }
        drop(sender);
        writing.await.map_err(io::Error::other)?
    }
}

/// Verifies each group before it is written. Flushed, so that a copy that is found after a loss of
/// power is a whole one.
fn write_groups(
    mut file: File,
    outboard: &Outboard,
    mut frames: mpsc::Receiver<Bytes>,
) -> Result<(), Error> {
    let group_bytes = usize::try_from(GROUP_BYTES).expect("a group is a mebibyte");
    let mut group = Vec::with_capacity(group_bytes);
    let mut index = 0;
    while let Some(mut frame) = frames.blocking_recv() {
        while !frame.is_empty() {
            let fits = frame.len().min(group_bytes - group.len());
            group.extend_from_slice(&frame.split_to(fits));
            if group.len() == group_bytes {
                outboard.verify_group(index, &group)?;
                file.write_all(&group)?;
                group.clear();
                index += 1;
            }
        }
    }
    if !group.is_empty() {
        outboard.verify_group(index, &group)?;
        file.write_all(&group)?;
        index += 1;
    }
    if outboard.size() > 0 && index < group_count(outboard.size()) {
        return Err(Error::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    file.sync_all()?;
    Ok(())
}
