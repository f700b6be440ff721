//! A bucket of attempts: it holds a minute's worth and refills steadily.

use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// How many attempts are left. Each call says how many there are in a minute, which may change.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    attempts: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn full(per_minute: u32) -> Self {
        Self {
            attempts: f64::from(per_minute),
            at: Instant::now(),
        }
    }

    /// Takes an attempt.
    ///
    /// # Errors
    /// When there is none: the time until the next one.
    pub fn take(&mut self, per_minute: u32) -> Result<(), Duration> {
        let per_second = self.refill(per_minute);
        if self.attempts < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.attempts) / per_second));
        }
        self.attempts -= 1.0;
        Ok(())
    }

    /// Puts an attempt back; no more than fit in.
    pub fn give_back(&mut self, per_minute: u32) {
        self.attempts += 1.0;
        self.refill(per_minute);
    }

    /// How many a second there are.
    fn refill(&mut self, per_minute: u32) -> f64 {
        let full = f64::from(per_minute);
        let per_second = full / MINUTE.as_secs_f64();
        let now = Instant::now();
        let refilled = now.duration_since(self.at).as_secs_f64() * per_second;
        self.attempts = (self.attempts + refilled).min(full);
        self.at = now;
        per_second
    }
}

/// For `Retry-After`: never too early.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX)
}
