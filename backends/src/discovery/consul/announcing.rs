//! Keeping in Consul what this process has said there.

use std::time::Duration;

use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::{Backoff, shortened},
    discovery::Error,
};

/// How often it is made sure that Consul still knows.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Between failed attempts at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Something that is said to Consul, and said again when it was forgotten.
#[derive(Debug)]
pub(super) struct Announcement {
    stop: CancellationToken,
    said: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Announcement {
    /// `say` says it; `known` asks whether Consul knows it, which is the first thing to be done when
    /// it `is_said` already.
    pub(super) fn start<S, K, SF, KF>(what: String, is_said: bool, say: S, known: K) -> Self
    where
        S: Fn() -> SF + Send + Sync + 'static,
        K: Fn() -> KF + Send + Sync + 'static,
        SF: Future<Output = Result<(), Error>> + Send + 'static,
        KF: Future<Output = Result<bool, Error>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let (sender, said) = watch::channel(is_said);
        let task = tokio::spawn(keep(what, say, known, sender, stop.clone()));
        Self { stop, said, task }
    }

    /// Tells when it has been said for the first time.
    pub(super) fn said(&self) -> watch::Receiver<bool> {
        self.said.clone()
    }

    /// Ends it: when this returns, nothing is under way any more that would say it again.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        // A panic in there has been reported already.
        let _ = (&mut self.task).await;
    }
}

async fn keep<S, K, SF, KF>(
    what: String,
    say: S,
    known: K,
    said: watch::Sender<bool>,
    stop: CancellationToken,
) where
    S: Fn() -> SF,
    K: Fn() -> KF,
    SF: Future<Output = Result<(), Error>>,
    KF: Future<Output = Result<bool, Error>>,
{
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut missing = !*said.borrow();
    while !stop.is_cancelled() {
        // Never cut off: a request under way could arrive after the one that withdraws it.
        let done = match missing {
            true => say().await.map(|()| true),
            false => known().await,
        };
        let pause = match done {
            Ok(true) => {
                said.send_replace(true);
                missing = false;
                backoff.succeeded();
                shortened(LOOK_EVERY)
            }
            Ok(false) => {
                tracing::warn!(what, "discovery has forgotten, announcing again");
                missing = true;
                Duration::ZERO
            }
            Err(error) => {
                if backoff.failures() == 0 {
                    tracing::warn!(what, %error, "not announced, discovery is away");
                }
                backoff.failed()
            }
        };
        stop.run_until_cancelled(sleep(pause)).await;
    }
}
