//! Asking again for what may have changed, without letting those who ask set the pace.

use std::time::Duration;

use tokio::{sync::Mutex, time::Instant};

/// Runs a refresh at most once in a while for all callers together.
pub(crate) struct Refresher {
    every: Duration,
    /// The last one, by whoever asked for it; the lock makes others wait for it.
    last: Mutex<Option<Done>>,
}

#[derive(Clone, Copy)]
struct Done {
    started: Instant,
    succeeded: bool,
}

impl Refresher {
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            every,
            last: Mutex::new(None),
        }
    }

    /// Returns after a refresh that began after this call, the caller's own or another's, with
    /// whether it succeeded.
    pub(crate) async fn run<F: Future<Output = bool>>(&self, refresh: impl FnOnce() -> F) -> bool {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(done) = last.filter(|last| last.started >= asked) {
            return done.succeeded;
        }
        if let Some(last) = *last {
            tokio::time::sleep_until(last.started + self.every).await;
        }
        let started = Instant::now();
        let succeeded = refresh().await;
        *last = Some(Done { started, succeeded });
        succeeded
    }
}
