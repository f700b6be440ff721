//! Numbers of things at a time that operators change while the worker runs.

use std::sync::Arc;

use cloudstore_content::tree::group_count;
use cloudstore_service::settings::Settings;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Config, Worker};

/// So many at a time.
pub(crate) struct Limit {
    turns: Semaphore,
    /// The number it began with.
    first: usize,
}

impl Limit {
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            turns: Semaphore::new(at_once),
            first: at_once,
        }
    }

    /// Waits for a turn; `None` when there will be none any more.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Goes from `reached` to `new`. What is beyond a smaller number goes on to its end, and this
    /// waits for it; `reached` follows, also when this is dropped meanwhile.
    async fn change(&self, reached: &mut usize, new: usize) {
        if new > *reached {
            self.turns.add_permits(new - *reached);
            *reached = new;
        }
        while new < *reached {
            let turn = self.turns.acquire().await;
            turn.expect("invariant: limits are never closed").forget();
            *reached -= 1;
        }
    }
}

/// Which of the two limits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    Large,
    Small,
}

impl Size {
    pub(crate) const ALL: [Self; 2] = [Self::Large, Self::Small];

    /// That of a blob with so many bytes.
    pub(crate) fn of(bytes: u64) -> Self {
        if group_count(bytes) == 1 {
            Self::Small
        } else {
            Self::Large
        }
    }

    /// The number in force.
    pub(crate) fn at_once(self, settings: &Settings, config: &Config) -> usize {
        match self {
            Self::Large => settings.transfer_large_at_once(config.large_at_once),
            Self::Small => settings.transfer_small_at_once(config.small_at_once),
        }
    }
}

/// Keeps a limit as operators want it, until the worker stops.
pub(crate) async fn follow(worker: Arc<Worker>, size: Size) {
    let mut settings = worker.config.settings.clone();
    let limit = worker.limit(size);
    // What the worker began with; a change since then is seen here.
    let mut reached = limit.first;
    loop {
        let wanted = size.at_once(&settings, &worker.config);
        if wanted != reached {
            tracing::info!(?size, from = reached, to = wanted, "limit changes");
        }
        let change = async {
            limit.change(&mut reached, wanted).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = worker.stop.cancelled() => return,
            () = settings.changed() => {}
            () = change => {}
        }
    }
}
