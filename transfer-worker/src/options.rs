//! What operators can set for this service: flags, else environment, else the default.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::Config;

/// Staged copies are kept for a while after they were stored, for readers that opened them by
/// name a moment ago.
const STAGED_GRACE_S: u64 = 60;
/// Content without references is kept for an hour: moved or mistaken files often come back.
const GARBAGE_GRACE_S: u64 = 3_600;

/// How long the transfers of a killed worker wait for the next one. A worker renews its claims every
/// third of it, so that only a dead one loses them.
const LEASE_S: u64 = 15;

/// Graces of the worker.
#[derive(Clone, Debug, Args, Serialize)]
// Several services have options; flattened into one command line they need group names.
#[group(id = "transfer_options")]
#[command(next_help_heading = "Transfers")]
pub struct Options {
    /// How long a staged copy stays after its content was stored, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = STAGED_GRACE_S, env = "CLOUDSTORE_TRANSFER_GRACE")]
    pub staged_grace: u64,
    /// How long content stays that no file refers to any more, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = GARBAGE_GRACE_S, env = "CLOUDSTORE_TRANSFER_GARBAGE_GRACE")]
    pub garbage_grace: u64,
    /// How long a claim lasts when its worker is gone, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = LEASE_S, env = "CLOUDSTORE_TRANSFER_LEASE")]
    #[arg(value_parser = clap::value_parser!(u64).range(3..=3_600))]
    pub lease: u64,
    /// Time between two rounds of cleaning up, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Config::default().clean_every.as_secs(), env = "CLOUDSTORE_TRANSFER_CLEAN_EVERY")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub clean_every: u64,
    /// Time between two comparisons of the object store with the database, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Config::default().reconcile_every.as_secs(), env = "CLOUDSTORE_TRANSFER_RECONCILE_EVERY")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub reconcile_every: u64,
    /// How old an object that no row knows, or an unfinished one, must be to be removed, in seconds;
    /// longer than any transfer takes
    #[arg(long, value_name = "SECONDS", default_value_t = Config::default().orphan_grace.as_secs(), env = "CLOUDSTORE_TRANSFER_ORPHAN_GRACE")]
    pub orphan_grace: u64,
}

impl Default for Options {
    fn default() -> Self {
        let config = Config::default();
        Self {
            staged_grace: STAGED_GRACE_S,
            garbage_grace: GARBAGE_GRACE_S,
            lease: LEASE_S,
            clean_every: config.clean_every.as_secs(),
            reconcile_every: config.reconcile_every.as_secs(),
            orphan_grace: config.orphan_grace.as_secs(),
        }
    }
}

impl Options {
    /// The configuration of a worker with this name.
    #[must_use]
    pub fn config(&self, name: impl Into<String>) -> Config {
        let defaults = Config::default();
        let every = Duration::from_secs(self.reconcile_every);
        Config {
            name: name.into(),
            staged_grace: Duration::from_secs(self.staged_grace),
            garbage_grace: Duration::from_secs(self.garbage_grace),
            lease: Duration::from_secs(self.lease),
            clean_every: Duration::from_secs(self.clean_every),
            reconcile_after: defaults.reconcile_after.min(every),
            reconcile_every: every,
            orphan_grace: Duration::from_secs(self.orphan_grace),
            ..defaults
        }
    }
}
