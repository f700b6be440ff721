//! Growing waits with jitter, for whatever has to be tried again and again.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Waits that double from `first` up to `most`. Each is shortened by up to a half at random, so
/// that processes that lost the same server do not come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    /// How often it failed since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        shortened(doubled.min(self.most))
    }
}

/// A random time between a half of `time` and all of it.
pub(crate) fn shortened(time: Duration) -> Duration {
    // Every `RandomState` is keyed differently, at random.
    let random = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(u32::MAX);
    time.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_start_again() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, most);
        for full in [100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
            let wait = backoff.failed();
            assert!(full / 2 <= wait && wait <= full, "{wait:?}");
        }
        assert_eq!(backoff.failures(), 6);
        backoff.succeeded();
        assert!(backoff.failed() <= first);
    }
}
