//! What is read most on all nodes together: this node tells what was read here, and learns what is
//! hot.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cloudstore_backends::blob::Key;
use cloudstore_content::Root;
use tokio::time::{MissedTickBehavior, interval};

use super::DiskCache;
use crate::catalog::Catalog;

/// How often reads are told.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Of these times, one asks what is hot, too.
const ASK_EVERY: u32 = 12;
/// Blobs counted between two tellings; further ones are hot enough to be counted the next time.
const MAX_COUNTED: usize = 1_000;
/// How far down the ranking copies are made without a read on this node.
const HOT: u32 = 100;
/// Bytes copied that way in one round, so that a new node does not fill its line.
const PREFILL_BYTES: u64 = 256 << 20;

/// Reads since the last telling.
#[derive(Default)]
pub(crate) struct Ranking {
    counts: Mutex<HashMap<Root, u32>>,
}

impl Ranking {
    /// Counts a read.
    pub(crate) fn count(&self, root: &Root) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MAX_COUNTED || counts.contains_key(root) {
            let count = counts.entry(*root).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn take(&self) -> HashMap<Root, u32> {
        mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells and asks, for ever.
    pub(crate) async fn keep(self: Arc<Self>, catalog: Catalog, cache: Arc<DiskCache>) {
        let mut timer = interval(TELL_EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rounds = 0_u32;
        loop {
            timer.tick().await;
            rounds = rounds.wrapping_add(1);
            let told = self.tell(&catalog).await;
            let done = if rounds.is_multiple_of(ASK_EVERY) {
                told.and(prefill(&catalog, &cache).await)
            } else {
                told
            };
            if let Err(problem) = done {
                // The ranking only makes things faster.
                tracing::debug!(%problem, "ranking not exchanged");
            }
        }
    }

    async fn tell(&self, catalog: &Catalog) -> cloudstore_service::Result<()> {
        let counts = self.take();
        if counts.is_empty() {
            return Ok(());
        }
        let counts = counts
            .into_iter()
            .map(|(root, reads)| (Bytes::copy_from_slice(&root), reads));
        catalog.record_reads(counts.collect()).await
    }
}

/// Copies what is hot and not here, up to a bound.
async fn prefill(catalog: &Catalog, cache: &Arc<DiskCache>) -> cloudstore_service::Result<()> {
    let mut left = PREFILL_BYTES;
    for blake3 in catalog.hot_blobs(HOT).await? {
        let Ok(root) = Root::try_from(&blake3[..]) else {
            continue;
        };
        let Ok(Some(stat)) = cache.blobs.stat(&Key::blob(&root)).await else {
            continue;
        };
        if stat.len <= left && cache.policy().fits(&root, stat.len) {
            left -= stat.len;
            cache.fill(root, stat.len);
        }
    }
    Ok(())
}
