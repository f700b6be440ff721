//! Cleaning up: staged copies of stored blobs, content without references, deleted entries.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use cloudstore_backends::blob::Key;
use cloudstore_content::{Root, tree::group_count};
use cloudstore_proto::{convert, file, transfer::Garbage};
use cloudstore_service::{Problem, Result};
use futures::{StreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval, timeout_at};
use uuid::Uuid;

use crate::Worker;

/// Staged copies, blobs or entries handled in one call.
const BATCH: u32 = 256;
/// Blobs deleted side by side; a delete mostly waits for the store.
const DELETES_AT_ONCE: usize = 8;

/// One kind of cleaning.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chore {
    /// Removes staged copies of blobs that are stored.
    StagedCopies,
    /// Deletes blobs that nothing refers to.
    Garbage,
    /// Releases what deleted entries refer to.
    Purge,
}

impl Chore {
    /// Each has its own loop, so that a slow store holds up nothing else.
    pub(crate) const ALL: [Self; 3] = [Self::StagedCopies, Self::Garbage, Self::Purge];

    /// Handles a batch; true when there may be more to do right now.
    async fn batch(self, worker: &Worker) -> Result<bool> {
        match self {
            Self::StagedCopies => remove_staged_copies(worker).await,
            Self::Garbage => collect_garbage(worker).await,
            Self::Purge => worker.ledger.purge(BATCH).await,
        }
    }
}

/// Does the chore at the start and then periodically, until the worker stops.
pub(crate) async fn keep_clean(worker: Arc<Worker>, chore: Chore) {
    let mut timer = interval(worker.config.clean_every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = worker.stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        while !worker.stop.is_cancelled() {
            match chore.batch(&worker).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(?chore, %error, "cleaning up failed");
                    break;
                }
            }
        }
    }
}

/// The copies first, then the record of them: a crash in between repeats the removal.
async fn remove_staged_copies(worker: &Worker) -> Result<bool> {
    let blobs = worker
        .ledger
        .staged_copies(worker.config.staged_grace, BATCH)
        .await?;
    let full = blobs.len() as u64 >= u64::from(BATCH);
    let mut nodes: HashMap<String, Vec<(Uuid, file::Blob)>> = HashMap::new();
    for blob in blobs {
        // dbproxy lists only stored blobs; a staged copy is the one thing never to remove early.
        if blob.state() == file::BlobState::Stored
            && let Ok(id) = Uuid::from_slice(&blob.staging_id)
        {
            nodes.entry(blob.node.clone()).or_default().push((id, blob));
        }
    }
    let mut removed_any = false;
    for (node, copies) in nodes {
        let (ids, blobs): (Vec<_>, Vec<_>) = copies.into_iter().unzip();
        let count = ids.len();
        if let Err(error) = worker.staged.remove(&node, &ids).await {
            tracing::warn!(node, %error, "staged copies not removed");
            continue;
        }
        worker.ledger.forget_staged_copies(blobs).await?;
        tracing::debug!(node, count, "staged copies removed");
        removed_any = true;
    }
    Ok(full && removed_any)
}

async fn collect_garbage(worker: &Worker) -> Result<bool> {
    let config = &worker.config;
    // Half a lease: a delete that comes after its lease could hit the same content that was
    // stored anew by then.
    let until = tokio::time::Instant::now() + config.lease / 2;
    let garbage = worker
        .ledger
        .claim_garbage(config.garbage_grace, config.lease, BATCH)
        .await?;
    let full = garbage.len() as u64 >= u64::from(BATCH);
    let deletes = garbage.into_iter().map(|garbage| async {
        let blob = garbage
            .blob
            .as_ref()
            .map(|blob| hex::encode(&blob.blake3))
            .unwrap_or_default();
        match timeout_at(until, delete(worker, garbage)).await {
            Ok(Ok(())) => {
                metrics::counter!("cloudstore_blobs_deleted_total").increment(1);
                tracing::info!(blob, "blob deleted");
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(blob, %error, "blob not deleted yet");
                false
            }
            Err(_) => {
                tracing::warn!(blob, "blob not deleted in time");
                false
            }
        }
    });
    let deleted = stream::iter(deletes).buffer_unordered(DELETES_AT_ONCE);
    let deleted = deleted
        .filter(|deleted| std::future::ready(*deleted))
        .count()
        .await;
    Ok(full && deleted > 0)
}

/// Every copy, then the row: until then readers and uploads know that the blob is being deleted.
async fn delete(worker: &Worker, garbage: Garbage) -> Result<()> {
    let blob = garbage.blob.unwrap_or_default();
    let root: Root = blob.blake3.as_ref().try_into().map_err(Problem::internal)?;
    worker
        .blobs
        .delete(&Key::blob(&root))
        .await
        .map_err(Problem::internal)?;
    if group_count(convert::unsigned(blob.size)) > 1 {
        worker
            .blobs
            .delete(&Key::outboard(&root))
            .await
            .map_err(Problem::internal)?;
    }
    if let Ok(id) = Uuid::from_slice(&blob.staging_id) {
        worker
            .staged
            .remove(&blob.node, &[id])
            .await
            .map_err(Problem::internal)?;
    }
    worker
        .ledger
        .confirm_deleted(Bytes::copy_from_slice(&root), garbage.fence)
        .await
}
