//! When and how long to wait before a request is repeated.

use std::time::{Duration, SystemTime};

/// The first wait; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No wait of ours is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A server that asks for more patience than this gets none: the user may try again later.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// Counts the repetitions of one request.
#[derive(Debug)]
pub(crate) struct Backoff {
    done: u32,
    limit: u32,
}

impl Backoff {
    /// At most `limit` repetitions.
    pub(crate) fn new(limit: u32) -> Self {
        Self { done: 0, limit }
    }

    /// How long to wait before the next repetition; `None` when it is time to give up.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        if self.done >= self.limit || retry_after.is_some_and(|wait| wait > LONGEST_RETRY_AFTER) {
            return None;
        }
        let wait = wait_before(self.done, random_fraction());
        self.done += 1;
        Some(wait.max(retry_after.unwrap_or_default()))
    }

    /// Something went forward: start counting again.
    pub(crate) fn reset(&mut self) {
        self.done = 0;
    }
}

/// The wait before repetition `number` (from 0), between half of the full wait and all of it as
/// `fraction` goes from 0 to 1: many clients of one server must not come back in step.
fn wait_before(number: u32, fraction: f64) -> Duration {
    let full = FIRST_WAIT
        .saturating_mul(1 << number.min(16))
        .min(LONGEST_WAIT);
    full.mul_f64(0.5 + fraction / 2.0)
}

fn random_fraction() -> f64 {
    // Without randomness the full wait is as good as any.
    let bits = getrandom::u32().unwrap_or(u32::MAX);
    f64::from(bits) / f64::from(u32::MAX)
}

/// Answers that may be different next time. 501 and 507 are not: they do not go away by waiting.
pub(crate) fn is_retryable(status: u16, slug: &str) -> bool {
    match status {
        408 | 425 | 429 => !matches!(slug, "too-many-uploads" | "too-many-tokens"),
        500..=599 => !matches!(status, 501 | 505 | 507),
        // Another request of ours, whose connection broke, still holds the chunk.
        409 => matches!(slug, "busy" | "preempted"),
        _ => false,
    }
}

/// `Retry-After`: seconds or an HTTP date.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_jitter_and_are_bounded() {
        assert_eq!(wait_before(0, 0.0), FIRST_WAIT / 2);
        assert_eq!(wait_before(0, 1.0), FIRST_WAIT);
        assert_eq!(wait_before(3, 1.0), FIRST_WAIT * 8);
        assert_eq!(wait_before(u32::MAX, 1.0), LONGEST_WAIT);
    }

    #[test]
    fn attempts_are_bounded_and_retry_after_is_honoured() {
        let mut backoff = Backoff::new(2);
        let asked = Duration::from_secs(7);
        assert_eq!(backoff.next(Some(asked)), Some(asked));
        assert!(backoff.next(None).is_some());
        assert_eq!(backoff.next(None), None);
        backoff.reset();
        assert!(backoff.next(None).is_some());
        assert_eq!(Backoff::new(9).next(Some(Duration::from_secs(3_600))), None);
    }

    #[test]
    fn what_is_worth_another_try() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(is_retryable(status, ""), "{status}");
        }
        for status in [400, 401, 403, 404, 409, 410, 412, 413, 416, 422, 501, 507] {
            assert!(!is_retryable(status, ""), "{status}");
        }
        assert!(is_retryable(409, "busy"));
        assert!(!is_retryable(429, "too-many-uploads"));
        assert!(!is_retryable(429, "too-many-tokens"));
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 3 ", now), Some(Duration::from_secs(3)));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after("soon", now), None);
    }
}
