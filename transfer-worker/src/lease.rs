//! Keeps a claim for as long as the work takes.

use std::time::Duration;

use cloudstore_service::Kind;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::ledger::{Claim, Ledger};

/// Pause before asking again when dbproxy does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Renews the lease each time a third of it has passed. Returns when it is lost: refused, or not
/// renewed in time by this machine's monotonic clock, which started before dbproxy's.
pub(crate) async fn keep(ledger: &Ledger, claim: &Claim, lease: Duration) {
    let mut asked = claim.claimed_at;
    loop {
        sleep_until(asked + lease / 3).await;
        let Some(renewed) = renew(ledger, claim, lease, asked + lease).await else {
            return;
        };
        asked = renewed;
    }
}

/// When the successful call was begun; `None` when the lease is lost.
async fn renew(ledger: &Ledger, claim: &Claim, lease: Duration, until: Instant) -> Option<Instant> {
    while Instant::now() < until {
        let asked = Instant::now();
        match timeout_at(until, ledger.renew(claim, lease)).await.ok()? {
            Ok(()) => return Some(asked),
            Err(problem) if matches!(problem.kind(), Kind::LeaseLost | Kind::NotFound) => {
                return None;
            }
            Err(error) => {
                tracing::warn!(blob = claim.hex(), %error, "lease not renewed yet");
                sleep(ASK_AGAIN.min(lease / 10)).await;
            }
        }
    }
    None
}
