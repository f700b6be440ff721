//! How long what was deleted can be restored: the same for every service that deletes.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

/// Default of [`TrashOptions::trash_retention`]: a month, which is when people have noticed.
pub const TRASH_RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Longest time, in seconds: ten years, as dbproxy has it.
const MAX_RETENTION_S: u64 = 10 * 365 * 24 * 3_600;

/// The trash.
#[derive(Clone, Debug, Args, Serialize)]
#[group(id = "trash_options")]
#[command(next_help_heading = "Trash")]
pub struct TrashOptions {
    /// How long what is deleted stays in the trash, in seconds; 0: it is deleted for good
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = TRASH_RETENTION.as_secs(),
        value_parser = clap::value_parser!(u64).range(0..=MAX_RETENTION_S),
        env = "CLOUDSTORE_TRASH_RETENTION"
    )]
    pub trash_retention: u64,
}

impl Default for TrashOptions {
    fn default() -> Self {
        Self {
            trash_retention: TRASH_RETENTION.as_secs(),
        }
    }
}

impl TrashOptions {
    /// The time; zero where there is no trash.
    #[must_use]
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.trash_retention)
    }
}
