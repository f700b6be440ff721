//! Slows down guessing one password: that of an account, or of a share.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
};

use cloudstore_service::{
    Kind, Problem, Result,
    bucket::{Bucket, whole_seconds},
    cache::Generations,
    settings::Settings,
};

/// Usernames in each of the two generations of the memory. Pushing one out takes as many logins,
/// and hashing so many passwords takes longer than the minute after which it is forgotten anyway.
const REMEMBERED: usize = 16_384;

/// A bucket of attempts for each name, of an account or of a share.
pub(crate) struct Attempts {
    /// Unless the operator has set something else for now.
    per_minute: u32,
    settings: Settings,
    /// What there were too many of.
    detail: &'static str,
    buckets: Mutex<Generations<String, Bucket>>,
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
        self.change(username, Bucket::take).map_err(|wait| {
            Problem::new(Kind::RateLimited, self.detail).retry_after(whole_seconds(wait))
        })
    }

    /// It was no wrong guess: gives the attempt back.
    pub(crate) fn give_back(&self, username: &str) {
        self.change(username, Bucket::give_back);
    }

    fn change<T>(&self, username: &str, change: impl FnOnce(&mut Bucket, u32) -> T) -> T {
        let key = username.to_ascii_lowercase();
        let per_minute = self.settings.login_per_minute(self.per_minute);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get(&key);
        let mut bucket = bucket.unwrap_or_else(|| Bucket::full(per_minute));
        let result = change(&mut bucket, per_minute);
        buckets.insert(key, bucket);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
