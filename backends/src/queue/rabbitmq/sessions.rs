//! Sessions that end with the first error, one after the other.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;

/// Between two sessions at first, and at most.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A session that lasted so long was a good one: the next begins soon after it.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// Why a session ended.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs one session after the other, for ever.
pub(super) async fn keep<T, S, F>(role: &'static str, shared: Arc<T>, session: S)
where
    S: Fn(Arc<T>) -> F,
    F: Future<Output = Result<Infallible, Failure>>,
{
    let mut backoff = Backoff::new(RECONNECT.0, RECONNECT.1);
    loop {
        let started = Instant::now();
        let Err(error) = session(shared.clone()).await;
        if started.elapsed() >= GOOD_SESSION {
            backoff.succeeded();
        }
        if backoff.failures() == 0 {
            tracing::warn!(role, %error, "queue is away");
        } else {
            tracing::debug!(role, %error, "queue is still away");
        }
        sleep(backoff.failed()).await;
        metrics::counter!("cloudstore_queue_reconnects_total", "role" => role).increment(1);
    }
}
