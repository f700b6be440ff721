//! The structured fields (RFC 9651). What is malformed is as good as not there: "other values MUST
//! cause the entire header field to be ignored".

use ::http::{HeaderMap, HeaderName, HeaderValue};
use cloudstore_service::clock;
use sfv::{BareItem, Item, Parser};

use super::version::Version;

/// The value of a field that is one item. Parameters mean nothing here.
fn item(headers: &HeaderMap, name: &HeaderName) -> Option<BareItem> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let item: Item = Parser::new(value.as_bytes()).parse().ok()?;
    Some(item.bare_item)
}

/// A boolean.
pub(super) fn boolean(headers: &HeaderMap, name: &HeaderName) -> Option<bool> {
    match item(headers, name)? {
        BareItem::Boolean(value) => Some(value),
        _ => None,
    }
}

/// A non-negative integer.
pub(super) fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    match item(headers, name)? {
        BareItem::Integer(value) => u64::try_from(i64::from(value)).ok(),
        _ => None,
    }
}

/// A boolean as a field's value.
pub(super) fn of_boolean(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "?1" } else { "?0" })
}

/// `Upload-Limit`: what this server takes, and for how long. `None` in versions without it.
pub(super) fn limit(version: Version, max_size: u64, age: u64) -> Option<HeaderValue> {
    /// Greatest integer of structured fields (RFC 9651 section 3.3.1).
    const MAX: u64 = 999_999_999_999_999;
    let key = version.rules.age?;
    let limit = format!("max-size={}, {key}={}", max_size.min(MAX), age.min(MAX));
    HeaderValue::try_from(limit).ok()
}

/// Whole seconds until then.
pub(super) fn age(expires_at_ms: i64) -> u64 {
    u64::try_from(expires_at_ms.saturating_sub(clock::now_ms()) / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> (HeaderMap, HeaderName) {
        let name = HeaderName::from_static("x");
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, value.parse().unwrap());
        }
        (headers, name)
    }

    #[test]
    fn booleans() {
        for (values, expected) in [
            (vec!["?1"], Some(true)),
            (vec!["?0"], Some(false)),
            (vec![" ?1 "], Some(true)),
            (vec!["?1;a=b"], Some(true)),
            (vec!["?2"], None),
            (vec!["1"], None),
            (vec!["true"], None),
            (vec![""], None),
            (vec!["?1, ?1"], None),
            (vec!["?1", "?1"], None),
            (vec![], None),
        ] {
            let (headers, name) = headers(&values);
            assert_eq!(boolean(&headers, &name), expected, "{values:?}");
        }
    }

    #[test]
    fn integers() {
        for (values, expected) in [
            (vec!["0"], Some(0)),
            (vec!["999999999999999"], Some(999_999_999_999_999)),
            (vec!["12;x"], Some(12)),
            (vec!["-1"], None),
            (vec!["1.0"], None),
            (vec!["1000000000000000"], None),
            (vec!["\"1\""], None),
            (vec!["?1"], None),
            (vec!["1", "1"], None),
            (vec!["x"], None),
        ] {
            let (headers, name) = headers(&values);
            assert_eq!(integer(&headers, &name), expected, "{values:?}");
        }
    }

    #[test]
    fn limits() {
        let limit = |number: &'static str| {
            let name = super::super::UPLOAD_DRAFT_INTEROP_VERSION;
            let number = HeaderValue::from_static(number);
            let version = Version::of(&HeaderMap::from_iter([(name, number)]));
            super::limit(version, 7, 60)
        };
        assert_eq!(limit("5"), None);
        assert_eq!(limit("6").unwrap(), "max-size=7, expires=60");
        assert_eq!(limit("7").unwrap(), "max-size=7, max-age=60");
        assert_eq!(limit("8").unwrap(), "max-size=7, max-age=60");
        assert!(age(clock::now_ms() + 61_500) >= 60);
        assert_eq!(age(0), 0);
    }
}
