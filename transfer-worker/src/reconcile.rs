//! Compares the store with the rows: removes objects that no row knows, and what puts have left
//! unfinished.
//!
//! Such an object is what a worker puts that has lost its lease and does not know it yet, after the
//! blob was deleted. Whether one may be deleted is decided as follows.
//!
//! - A row is there before its object: it is committed with the upload, and every put belongs to a
//!   claim of that row. So an object that is listed *first* and of which dbproxy's primary says
//!   *then* that there is no row had lost its row, if it ever had one, when it was asked.
//! - An object younger than the grace is left alone. A put that is still going on, or whose worker
//!   may still be alive somewhere, is younger, because the grace is longer than any transfer.
//! - The same content can be uploaded anew between that answer and the deletion, and put, which
//!   would then be deleted. So the deletion must follow within [`window`], which is at most half
//!   the time that a staged copy stays after its blob was stored; and `clean` looks whether the
//!   object is there before it removes a staged copy, and puts it again if not.
//! - Unfinished puts are judged by their age alone, by the same grace.
//!
//! A database that knows next to nothing of what is stored is the wrong one, or an empty one:
//! then nothing is deleted, and an operator has to look.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cloudstore_backends::blob::{KEYS, Key, Listed};
use cloudstore_content::Root;
use cloudstore_service::{Problem, Result};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use crate::Worker;

/// Objects listed, and blobs asked for, in one call.
const PAGE: usize = 1_000;
/// Objects deleted side by side.
const DELETES_AT_ONCE: usize = 8;
/// The longest time between the question for a row and the deletion of its object.
const LONGEST_WINDOW: Duration = Duration::from_secs(10);
/// The shortest one, with which deletions still succeed.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
/// So many unknown objects of a page are believed whatever the share of them is.
const FEW: usize = 100;

/// What was found in one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    objects: u64,
    deleted: u64,
    unfinished: u64,
}

/// Reconciles periodically, until the worker stops.
pub(crate) async fn reconcile(worker: Arc<Worker>) {
    let config = &worker.config;
    let first = Instant::now() + config.reconcile_after;
    let mut timer = interval_at(first, config.reconcile_every.max(SHORTEST_WINDOW));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = worker.stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let ended = tokio::select! {
            biased;
            () = worker.stop.cancelled() => return,
            ended = round(&worker) => ended,
        };
        match ended {
            Ok(found) => report(found),
            Err(error) => tracing::warn!(%error, "reconciliation failed"),
        }
    }
}

fn report(found: Found) {
    let Found {
        objects,
        deleted,
        unfinished,
    } = found;
    metrics::counter!("cloudstore_orphans_deleted_total").increment(deleted);
    metrics::counter!("cloudstore_unfinished_puts_aborted_total").increment(unfinished);
    tracing::info!(objects, deleted, unfinished, "store and rows reconciled");
}

async fn round(worker: &Worker) -> Result<Found> {
    let grace = worker.config.orphan_grace;
    let unfinished = worker.blobs.abort_unfinished(grace).await;
    let mut found = Found {
        unfinished: unfinished.map_err(Problem::internal)?,
        ..Found::default()
    };
    let mut after: Option<Key> = None;
    loop {
        let page = worker.blobs.list(KEYS, after.as_ref(), PAGE).await;
        let page = page.map_err(Problem::internal)?;
        found.objects += page.len() as u64;
        after = page.last().map(|(key, _)| key.clone());
        let full = page.len() >= PAGE;
        found.deleted += delete_orphans(worker, page).await?;
        if !full {
            return Ok(found);
        }
    }
}

/// Half the time for which a staged copy stays behind.
fn window(worker: &Worker) -> Duration {
    let half = worker.config.staged_grace / 2;
    half.clamp(SHORTEST_WINDOW, LONGEST_WINDOW)
}

/// Deletes what has no row, of the objects of a page. How many that were.
async fn delete_orphans(worker: &Worker, page: Vec<(Key, Listed)>) -> Result<u64> {
    let grace = worker.config.orphan_grace;
    let listed = page.len();
    let mut blobs: BTreeMap<Root, Vec<Key>> = BTreeMap::new();
    for (key, object) in page {
        // What seems to come from the future is not old.
        if object.modified.elapsed().is_ok_and(|age| age >= grace) {
            blobs.entry(key.blake3()).or_default().push(key);
        }
    }
    if blobs.is_empty() {
        return Ok(0);
    }
    let roots: Vec<Root> = blobs.keys().copied().collect();
    let until = Instant::now() + window(worker);
    let known = worker.ledger.find(&roots).await?;
    if known.len() != roots.len() {
        return Err(Problem::internal("dbproxy did not answer for every blob"));
    }
    let unknown = blobs.into_values().zip(known);
    let orphans: Vec<Key> = unknown
        .filter(|(_, known)| !known)
        .flat_map(|(keys, _)| keys)
        .collect();
    if orphans.len() > FEW && orphans.len() > listed / 2 {
        tracing::error!(
            orphans = orphans.len(),
            listed,
            "most objects have no row: is this the right database? nothing is deleted"
        );
        return Err(Problem::internal("too many objects without a row"));
    }
    let deletes = orphans.into_iter().map(|key| async move {
        let deleted = match timeout_at(until, worker.blobs.delete(&key)).await {
            Ok(deleted) => deleted.map_err(|error| error.to_string()),
            Err(_) => Err("not in time".to_owned()),
        };
        match deleted {
            Ok(()) => tracing::warn!(key = key.as_str(), "object without a row deleted"),
            Err(ref error) => {
                tracing::warn!(
                    key = key.as_str(),
                    error,
                    "object without a row not deleted"
                );
            }
        }
        u64::from(deleted.is_ok())
    });
    let deleted = stream::iter(deletes).buffer_unordered(DELETES_AT_ONCE);
    Ok(deleted.fold(0, async |sum, one| sum + one).await)
}
