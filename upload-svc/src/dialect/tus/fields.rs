//! The fields of requests and answers.

use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::body::{Body, HttpBody as _};
use cloudstore_service::{Kind, Problem, Result};
use std::time::{Duration, SystemTime};

use super::{UPLOAD_EXPIRES, text};
use crate::dialect::malformed;

/// The one value of a field. Twice the same field is as good as none: nobody knows which is meant.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return match headers.get(name) {
            None => Ok(None),
            Some(_) => Err(malformed(&format!("there is more than one {name}"))),
        };
    };
    let value = value.to_str();
    value
        .map(Some)
        .map_err(|_| malformed(&format!("{name} has other characters than ASCII")))
}

/// A non-negative integer in decimal digits.
pub(super) fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    // What no file can have is as malformed as a negative number.
    let number = number.filter(|number| i64::try_from(*number).is_ok());
    number
        .map(Some)
        .ok_or_else(|| malformed(&format!("{name} is not a number of bytes")))
}

/// Is this the media type of bytes that belong at an offset?
pub(super) fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let told = headers.get(header::CONTENT_TYPE);
    let told = told.and_then(|told| told.to_str().ok()).unwrap_or_default();
    let essence = told.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(wanted)
}

/// Refuses a body where the protocol has none.
pub(super) fn refuse_body(body: &Body) -> Result<()> {
    if body.is_end_stream() {
        return Ok(());
    }
    Err(malformed("this request has no body"))
}

/// Any other body than bytes for an offset.
pub(super) fn wrong_type(wanted: &str) -> Problem {
    let detail = format!("send the bytes as {wanted}");
    Problem::new(Kind::UnsupportedMediaType, detail)
}

/// `Upload-Expires`
pub(super) fn expires(at_ms: i64) -> (HeaderName, HeaderValue) {
    let since = Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
    let at = SystemTime::UNIX_EPOCH.checked_add(since);
    let at = at.unwrap_or(SystemTime::UNIX_EPOCH);
    (UPLOAD_EXPIRES, text(&httpdate::fmt_http_date(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let name = HeaderName::from_static("upload-length");
        let ask = |value: &str| {
            let headers = HeaderMap::from_iter([(name.clone(), value.parse().unwrap())]);
            number(&headers, &name)
        };
        assert_eq!(ask("0").unwrap(), Some(0));
        assert_eq!(ask("007").unwrap(), Some(7));
        assert_eq!(ask("9223372036854775807").unwrap(), Some(i64::MAX as u64));
        for wrong in [
            "",
            "-1",
            "+1",
            "1.0",
            "0x10",
            " ",
            "1 2",
            "9223372036854775808",
            "ten",
        ] {
            assert_eq!(
                ask(wrong).unwrap_err().kind(),
                Kind::MalformedRequest,
                "{wrong:?}"
            );
        }
        let mut twice = HeaderMap::new();
        twice.append(&name, HeaderValue::from_static("1"));
        twice.append(&name, HeaderValue::from_static("1"));
        assert!(number(&twice, &name).is_err());
        assert_eq!(number(&HeaderMap::new(), &name).unwrap(), None);
    }
}
