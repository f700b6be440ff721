//! Conditional requests (RFC 9110 section 13): may the content be sent, and may it be sent in part?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The fields as they came; several lines of one field are joined with `, `.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// `If-Match`
    pub if_match: Option<String>,
    /// `If-None-Match`
    pub if_none_match: Option<String>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<String>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<String>,
    /// `If-Range`
    pub if_range: Option<String>,
}

/// What tells one state of the content from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// Opaque part of the strong entity tag, without quotes.
    pub tag: String,
    /// Last modification, Unix seconds.
    pub modified: u64,
}

/// Outcome of all conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the content; the Range field counts only if `ranges`.
    Send {
        /// `If-Range` is absent or holds.
        ranges: bool,
    },
    /// 304: the client has it already.
    NotModified,
    /// 412: the content is not what the client expected.
    Failed,
}

impl Conditions {
    /// Evaluates for GET or HEAD, in the order of section 13.2.2. `now` is in Unix seconds.
    #[must_use]
    pub fn evaluate(&self, validators: &Validators, now: u64) -> Verdict {
        let expected = match (&self.if_match, &self.if_unmodified_since) {
            (Some(tags), _) => lists(tags, &validators.tag, Comparison::Strong),
            (None, Some(date)) => seconds(date).is_none_or(|date| validators.modified <= date),
            (None, None) => true,
        };
        if !expected {
            return Verdict::Failed;
        }
        let known = match (&self.if_none_match, &self.if_modified_since) {
            (Some(tags), _) => lists(tags, &validators.tag, Comparison::Weak),
            (None, Some(date)) => seconds(date).is_some_and(|date| validators.modified <= date),
            (None, None) => false,
        };
        if known {
            return Verdict::NotModified;
        }
        let ranges = self
            .if_range
            .as_deref()
            .is_none_or(|field| in_range(field, validators, now));
        Verdict::Send { ranges }
    }
}

/// `If-Range` (section 13.1.5): a strong tag, or exactly the date of a state that can no longer
/// have changed within that very second (section 8.8.2.2).
fn in_range(field: &str, validators: &Validators, now: u64) -> bool {
    let field = field.trim();
    if field.starts_with('"') || field.starts_with("W/") {
        return lists(field, &validators.tag, Comparison::Strong);
    }
    seconds(field).is_some_and(|date| date == validators.modified && date < now)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Is the tag in the list? `*` stands for any. The list ends at the first malformed element.
fn lists(list: &str, tag: &str, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let weak = rest.starts_with("W/");
        let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
        let Some((opaque, after)) = quoted.and_then(|quoted| quoted.split_once('"')) else {
            return false;
        };
        if opaque == tag && !(weak && comparison == Comparison::Strong) {
            return true;
        }
        rest = after;
    }
}

/// Unix seconds of an HTTP date in any of its three forms. A condition with another text is to be
/// ignored.
fn seconds(date: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(date.trim()).ok()?;
    Some(
        time.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    )
}

/// The date as HTTP writes it.
#[must_use]
pub fn http_date(unix_seconds: u64) -> String {
    /// 9999-12-31T23:59:59Z, the last second the format can express.
    const LAST: u64 = 253_402_300_799;
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST));
    httpdate::fmt_http_date(time)
}
