//! The `grpc-timeout` header (gRPC over HTTP/2): how long the caller waits.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

const HEADER: &str = "grpc-timeout";
/// A value has at most so many digits.
const MAX_DIGITS: usize = 8;
/// The longest time in milliseconds that can be written.
const MAX_MS: u128 = 99_999_999;

/// The time a request gives; `None` if it gives none.
pub(super) fn get(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty()
        || digits.len() > MAX_DIGITS
        || !digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 60 * 60)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// Sets the time that is left, in whole milliseconds.
pub(super) fn set(headers: &mut HeaderMap, left: Duration) {
    let text = format!("{}m", left.as_millis().clamp(1, MAX_MS));
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, text.parse().unwrap());
        get(&headers)
    }

    #[test]
    fn every_unit_and_nothing_else() {
        assert_eq!(read("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("10S"), Some(Duration::from_secs(10)));
        assert_eq!(read("10000000u"), Some(Duration::from_secs(10)));
        assert_eq!(read("5n"), Some(Duration::from_nanos(5)));
        for odd in ["", "S", "1", "+1S", "123456789S", "1s", "1 S"] {
            assert_eq!(read(odd), None, "{odd}");
        }
        assert_eq!(get(&HeaderMap::new()), None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut headers = HeaderMap::new();
        set(&mut headers, Duration::from_millis(9_876));
        assert_eq!(get(&headers), Some(Duration::from_millis(9_876)));
        set(&mut headers, Duration::ZERO);
        assert_eq!(get(&headers), Some(Duration::from_millis(1)));
    }
}
