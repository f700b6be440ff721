//! Cleaning up: staged copies of stored blobs, content without references, deleted entries.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use cloudstore_backends::{blob::Key, staging::VALUE_BYTES};
use cloudstore_content::{Root, digest::Hasher, tree::group_count};
use cloudstore_proto::{convert, file, transfer::Garbage};
use cloudstore_service::{Problem, Result};
use futures::{StreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval, timeout_at};
use uuid::Uuid;

use crate::{Worker, step::step, transfer::Failure};

/// Staged copies, blobs or entries handled in one call.
const BATCH: u32 = 256;
/// Blobs looked at side by side before their staged copies go.
const CHECKS_AT_ONCE: usize = 16;
/// Nodes that may fail in one round before it is given up.
const MAX_EXCEPT: usize = 100;
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
            Self::StagedCopies => remove_staged_copies(worker).await.map(|()| false),
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

/// A blob whose staged copy is not needed any more.
struct Copy {
    root: Root,
    size: u64,
    id: Uuid,
    blob: file::Blob,
}

impl Copy {
    /// `None` for what must not be removed: dbproxy lists only stored blobs, but a staged copy is
    /// the one thing never to remove early.
    fn of_stored(blob: file::Blob) -> Option<Self> {
        (blob.state() == file::BlobState::Stored).then_some(())?;
        Some(Self {
            root: blob.blake3.as_ref().try_into().ok()?,
            size: u64::try_from(blob.size).ok()?,
            id: Uuid::from_slice(&blob.staging_id).ok()?,
            blob,
        })
    }
}

/// All there are, batch after batch. A node that fails is left out of the batches that follow, so
/// that it holds up no other one.
async fn remove_staged_copies(worker: &Worker) -> Result<()> {
    let mut failed: HashSet<String> = HashSet::new();
    while !worker.stop.is_cancelled() {
        let except: Vec<String> = failed.iter().cloned().collect();
        let blobs = listed(worker, &except).await?;
        let full = blobs.len() as u64 >= u64::from(BATCH);
        let mut nodes: HashMap<String, Vec<Copy>> = HashMap::new();
        for copy in blobs.into_iter().filter_map(Copy::of_stored) {
            nodes.entry(copy.blob.node.clone()).or_default().push(copy);
        }
        let (before, mut removed) = (failed.len(), 0);
        for (node, copies) in nodes {
            match remove_from(worker, &node, copies, &except).await? {
                Some(count) => removed += count,
                None => {
                    failed.insert(node);
                }
            }
        }
        if !full || (removed == 0 && failed.len() == before) || failed.len() > MAX_EXCEPT {
            break;
        }
    }
    Ok(())
}

/// Stored blobs with staged copies that are not needed any more, the oldest of them.
async fn listed(worker: &Worker, except: &[String]) -> Result<Vec<file::Blob>> {
    let grace = worker.config.staged_grace;
    let listed = worker.ledger.staged_copies(grace, BATCH, except.to_vec());
    listed.await
}

/// The copies first, then the record of them: a crash in between repeats the removal. How many are
/// gone; `None` when the node fails.
async fn remove_from(
    worker: &Worker,
    node: &str,
    copies: Vec<Copy>,
    except: &[String],
) -> Result<Option<usize>> {
    let checked = copies.into_iter().map(|copy| async move {
        match keep_stored(worker, node, &copy, except).await {
            Ok(true) => Some(copy),
            Ok(false) => None,
            Err(error) => {
                let blob = hex::encode(copy.root);
                tracing::warn!(blob, node, %error, "staged copy kept");
                None
            }
        }
    });
    let checked = stream::iter(checked).buffer_unordered(CHECKS_AT_ONCE);
    let stored: Vec<Copy> = checked.filter_map(std::future::ready).collect().await;
    if stored.is_empty() {
        return Ok(None);
    }
    let (ids, blobs): (Vec<_>, Vec<_>) =
        stored.into_iter().map(|copy| (copy.id, copy.blob)).unzip();
    let count = ids.len();
    if let Err(error) = worker.staged.remove(node, &ids).await {
        tracing::warn!(node, %error, "staged copies not removed");
        return Ok(None);
    }
    step("after-removal");
    worker.ledger.forget_staged_copies(blobs).await?;
    tracing::debug!(node, count, "staged copies removed");
    Ok(Some(count))
}

/// Looks once more whether the store has the blob, and puts it again if not. What is deleted there
/// by mistake, or by a reconciliation that came just then, is deleted while the staged copy is
/// there: so nothing is lost. False for a blob that is being deleted: its copy goes with it.
async fn keep_stored(
    worker: &Worker,
    node: &str,
    copy: &Copy,
    except: &[String],
) -> Result<bool, Failure> {
    let has = async |key: &Key, len: u64| {
        let stat = worker.blobs.stat(key).await?;
        Ok::<_, Failure>(stat.is_some_and(|stat| stat.len == len))
    };
    let groups = group_count(copy.size);
    let values = groups * VALUE_BYTES;
    if has(&Key::blob(&copy.root), copy.size).await?
        && (groups == 1 || has(&Key::outboard(&copy.root), values).await?)
    {
        return Ok(true);
    }
    // Whoever collects garbage has said so in the row before the object went.
    let still = listed(worker, except).await;
    let still = still.map_err(|problem| Failure::Passing(problem.to_string()))?;
    if !still.iter().any(|blob| blob.blake3 == copy.blob.blake3) {
        return Ok(false);
    }
    let blob = hex::encode(copy.root);
    tracing::error!(blob, "a stored blob is not in the store; it is put again");
    metrics::counter!("cloudstore_blobs_put_again_total").increment(1);
    let hasher = Hasher::new(false, false);
    let put = worker.store(&copy.root, copy.size, node, copy.id, hasher);
    Box::pin(put).await.map(|_| true)
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
