//! Byte ranges (RFC 9110 section 14): from the text of a `Range` field to the pieces to send.

use std::ops::Range;

/// Ranges that one request may ask for. No client needs more, and every part costs the reading of
/// at least one whole group; beyond that the field is ignored, as section 14.2 allows.
pub const MAX_RANGES: usize = 64;
/// Gaps up to this are sent rather than skipped: the head of another part would be longer
/// (section 15.3.7.2).
const MIN_GAP: u64 = 128;

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The field is malformed, of another unit or beyond all bounds, and counts for nothing.
    Whole,
    /// At least one range, none empty, none overlapping, all inside the content.
    Parts(Vec<Range<u64>>),
    /// Well-formed, and none of it lies inside the content.
    Unsatisfiable,
}

/// One element of the field.
#[derive(Clone, Copy)]
enum Spec {
    /// `first-` or `first-last`, both inclusive.
    From(u64, Option<u64>),
    /// `-length`: that many bytes at the end.
    Suffix(u64),
}

/// Applies the field to content of `size` bytes.
#[must_use]
pub fn select(field: &str, size: u64) -> Selection {
    let Some(specs) = parse(field) else {
        return Selection::Whole;
    };
    if size == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..))) {
        // Satisfiable (section 14.1.2), but no Content-Range could describe the answer.
        return Selection::Whole;
    }
    let ranges: Vec<_> = specs
        .into_iter()
        .filter_map(|spec| resolve(spec, size))
        .collect();
    if ranges.is_empty() {
        Selection::Unsatisfiable
    } else {
        Selection::Parts(coalesce(ranges))
    }
}

/// `None` for anything but a well-formed `bytes` range set of a reasonable length.
fn parse(field: &str) -> Option<Vec<Spec>> {
    let (unit, set) = field.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let elements = set
        .split(',')
        .map(|element| element.trim_matches([' ', '\t']));
    // Empty list elements are to be tolerated (section 5.6.1.2).
    let specs: Option<Vec<_>> = elements
        .filter(|element| !element.is_empty())
        .take(MAX_RANGES + 1)
        .map(parse_spec)
        .collect();
    specs.filter(|specs| (1..=MAX_RANGES).contains(&specs.len()))
}

fn parse_spec(spec: &str) -> Option<Spec> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        return Some(Spec::Suffix(number(last)?));
    }
    let first = number(first)?;
    let last = if last.is_empty() {
        None
    } else {
        Some(number(last)?)
    };
    last.is_none_or(|last| first <= last)
        .then_some(Spec::From(first, last))
}

/// Digits only; what exceeds 64 bits is as good as the largest number.
fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// The bytes meant, cut to the content; `None` when no byte is left.
fn resolve(spec: Spec, size: u64) -> Option<Range<u64>> {
    let range = match spec {
        Spec::From(first, last) => {
            first..last.map_or(size, |last| last.saturating_add(1).min(size))
        }
        Spec::Suffix(length) => size.saturating_sub(length)..size,
    };
    (range.start < range.end).then_some(range)
}

/// Merges what overlaps or nearly touches; otherwise the order asked for is kept.
fn coalesce(requested: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted = requested.clone();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(MIN_GAP) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    if merged.len() == requested.len() {
        requested
    } else {
        merged
    }
}
