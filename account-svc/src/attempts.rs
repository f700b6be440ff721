//! Slows down guessing one password: that of an account, or of a share.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cloudstore_service::{Kind, Problem, Result, cache::Generations, settings::Settings};
use tokio::time::Instant;

/// Usernames in each of the two generations of the memory. Pushing one out takes as many logins,
/// and hashing so many passwords takes longer than the minute after which it is forgotten anyway.
const REMEMBERED: usize = 16_384;
const MINUTE: Duration = Duration::from_secs(60);

/// A bucket of attempts for each name, of an account or of a share; it holds a minute's worth and
/// refills steadily.
pub(crate) struct Attempts {
    /// Unless the operator has set something else for now.
    per_minute: u32,
    settings: Settings,
    /// What there were too many of.
    detail: &'static str,
    buckets: Mutex<Generations<String, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    attempts: f64,
    at: Instant,
}

impl Attempts {
    pub(crate) fn new(per_minute: NonZeroU32, settings: Settings, detail: &'static str) -> Self {
        let buckets = Mutex::new(Generations::new(REMEMBERED));
        Self {
            per_minute: per_minute.get(),
            settings,
            detail,
            buckets,
        }
    }

    /// Takes one attempt before the password is looked at, so that parallel guesses count.
    ///
    /// # Errors
    /// 429 `rate-limited`, saying when the next attempt is free.
    pub(crate) fn take(&self, username: &str) -> Result<()> {
        self.change(username, |bucket, per_second| {
            if bucket.attempts < 1.0 {
                let wait = Duration::from_secs_f64((1.0 - bucket.attempts) / per_second);
                let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
                return Err(Problem::new(Kind::RateLimited, self.detail).retry_after(seconds));
            }
            bucket.attempts -= 1.0;
            Ok(())
        })
    }

    /// It was no wrong guess: gives the attempt back.
    pub(crate) fn give_back(&self, username: &str) {
        self.change(username, |bucket, _| bucket.attempts += 1.0);
    }

    fn change<T>(&self, username: &str, change: impl FnOnce(&mut Bucket, f64) -> T) -> T {
        let key = username.to_ascii_lowercase();
        let full = f64::from(self.settings.login_per_minute(self.per_minute));
        let per_second = full / MINUTE.as_secs_f64();
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bucket = buckets.get(&key).unwrap_or(Bucket {
            attempts: full,
            at: now,
        });
        let refilled = now.duration_since(bucket.at).as_secs_f64() * per_second;
        bucket = Bucket {
            attempts: (bucket.attempts + refilled).min(full),
            at: now,
        };
        let result = change(&mut bucket, per_second);
        buckets.insert(key, bucket);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts() -> Attempts {
        Attempts::new(NonZeroU32::new(3).unwrap(), Settings::fixed(), "slowly")
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_is_slowed_down_and_forgiven() {
        let attempts = attempts();
        for _ in 0..3 {
            attempts.take("anna").unwrap();
        }
        assert_eq!(attempts.take("ANNA").unwrap_err().kind(), Kind::RateLimited);
        attempts.take("ben").unwrap();
        tokio::time::advance(Duration::from_secs(21)).await;
        attempts.take("anna").unwrap();
        assert!(attempts.take("anna").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_cost_nothing() {
        let attempts = attempts();
        for _ in 0..50 {
            attempts.take("anna").unwrap();
            attempts.give_back("anna");
        }
    }
}
