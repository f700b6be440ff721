//! Bounds and times of the worker.

use std::time::Duration;

use cloudstore_service::settings::Settings;

/// How the worker works. Every time but the graces is about speed only: correctness rests on
/// leases and fencing tokens.
#[derive(Clone)]
pub struct Config {
    /// Name of this worker, for the operator's eyes.
    pub name: String,
    /// Transfers claimed in one call, 1 to 1,000.
    pub batch: u32,
    /// What operators change while the worker runs; goes before the two numbers that follow.
    pub settings: Settings,
    /// Blobs of more than one group on their way at a time. Each reads and hashes a whole file:
    /// more than a few only compete for the disk and the processors.
    pub large_at_once: usize,
    /// Blobs of one group on their way at a time. They mostly wait for flushes and round trips,
    /// which many share.
    pub small_at_once: usize,
    /// How long a claim lasts unless it is renewed; another worker takes over afterwards.
    pub lease: Duration,
    /// Time between two looks for waiting transfers whose wake-up was lost or that are due again.
    pub sweep_every: Duration,
    /// Failed attempts after which a transfer is parked for the operator.
    pub max_attempts: u32,
    /// Pause after the first failed attempt; each further one doubles it.
    pub retry_base: Duration,
    /// Longest pause between two attempts.
    pub retry_cap: Duration,
    /// Pause while something is away that all transfers need. Such attempts do not count.
    pub away_pause: Duration,
    /// A blob that has been on its way for this long while its staging node cannot be reached is
    /// tried a last few times and then parked. Longer than the restart of a machine takes.
    pub node_lost_after: Duration,
    /// How long a staged copy stays after its blob was stored: time for readers to move over.
    pub staged_grace: Duration,
    /// How long content without references stays: time for the same content to come back.
    pub garbage_grace: Duration,
    /// Time between two rounds of cleaning up.
    pub clean_every: Duration,
    /// How long after its start the worker first compares the store with the rows.
    pub reconcile_after: Duration,
    /// Time between two such comparisons.
    pub reconcile_every: Duration,
    /// How old an object without a row, or an unfinished put, must be to be removed. Longer than
    /// any transfer takes; with zero nothing that runs at the same time is safe.
    pub orphan_grace: Duration,
    /// How long running transfers may take to finish on shutdown; then they are given back.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "transfer-worker".to_owned(),
            batch: 64,
            settings: Settings::fixed(),
            large_at_once: 2,
            small_at_once: 64,
            lease: Duration::from_secs(60),
            sweep_every: Duration::from_secs(3),
            max_attempts: 8,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(300),
            // Soon enough to catch up within half a minute, and no load on it meanwhile.
            away_pause: Duration::from_secs(10),
            node_lost_after: Duration::from_secs(15 * 60),
            staged_grace: Duration::from_secs(60),
            garbage_grace: Duration::from_secs(3_600),
            clean_every: Duration::from_secs(10),
            reconcile_after: Duration::from_secs(5 * 60),
            reconcile_every: Duration::from_secs(3_600),
            orphan_grace: Duration::from_secs(24 * 3_600),
            drain: Duration::from_secs(10),
        }
    }
}
