//! `--bwlimit`: one pace for all transfers together.

use std::time::Duration;

use tokio::{sync::Mutex, time::Instant};

/// Hands out time slots: who takes n bytes waits until the bytes before have had their time.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_second: f64,
    /// When the bytes handed out so far are through.
    free_at: Mutex<Instant>,
}

impl Throttle {
    /// `bytes_per_second` is at least 1.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 exact bits")]
        let rate = bytes_per_second.max(1) as f64;
        Self {
            bytes_per_second: rate,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits for the turn of `bytes`.
    pub(crate) async fn take(&self, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "at most one frame")]
        let duration = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        let turn = {
            let mut free_at = self.free_at.lock().await;
            let turn = (*free_at).max(Instant::now()) + duration;
            *free_at = turn;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rate_holds_over_several_takers() {
        let throttle = Throttle::new(1_000_000);
        let start = Instant::now();
        tokio::join!(
            throttle.take(20_000),
            throttle.take(20_000),
            throttle.take(10_000)
        );
        assert!(start.elapsed() >= Duration::from_millis(50));
    }
}
