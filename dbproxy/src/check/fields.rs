//! What a field of a request must look like, whichever request it is in.

use cloudstore_proto::{dav::*, file::*, path, upload::*};
use cloudstore_service::{Kind, Problem, Result};

use super::{
    MAX_DURATION_MS, MAX_LOCK_MS, MAX_NAMESPACE_BYTES, MAX_PROPERTY_NAME_BYTES, MAX_TEXT_BYTES,
};
use crate::dav::{MAX_LOCKS, MAX_PROPERTY_BYTES};

pub(super) fn malformed(detail: String) -> Problem {
    Problem::new(Kind::MalformedRequest, detail)
}

pub(super) fn length(name: &str, bytes: &[u8], expected: usize) -> Result<()> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(malformed(format!(
        "{name} has {} bytes instead of {expected}",
        bytes.len()
    )))
}

pub(super) fn id(bytes: &[u8]) -> Result<()> {
    length("an id", bytes, 16)
}

pub(super) fn optional(name: &str, bytes: &[u8], expected: usize) -> Result<()> {
    if bytes.is_empty() {
        Ok(())
    } else {
        length(name, bytes, expected)
    }
}

pub(super) fn blake3(bytes: &[u8]) -> Result<()> {
    length("a BLAKE3 digest", bytes, 32)
}

pub(super) fn digests(digests: &Digests) -> Result<()> {
    optional("a BLAKE3 digest", &digests.blake3, 32)?;
    known_digests(&digests.sha256, &digests.sha1)
}

pub(super) fn known_digests(sha256: &[u8], sha1: &[u8]) -> Result<()> {
    optional("a SHA-256 digest", sha256, 32)?;
    optional("a SHA-1 digest", sha1, 20)
}

pub(super) fn range(name: &str, value: i64, max: i64) -> Result<()> {
    if (0..=max).contains(&value) {
        return Ok(());
    }
    Err(malformed(format!("{name} must lie between 0 and {max}")))
}

pub(super) fn duration(name: &str, ms: i64) -> Result<()> {
    range(name, ms, MAX_DURATION_MS)
}

pub(super) fn text(name: &str, text: &str) -> Result<()> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(malformed(format!(
        "{name} is longer than {MAX_TEXT_BYTES} bytes"
    )))
}

pub(super) fn name(what: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        return Err(malformed(format!("{what} is empty")));
    }
    text(what, value)
}

pub(super) fn count(name: &str, count: usize, max: usize) -> Result<()> {
    if count <= max {
        return Ok(());
    }
    Err(malformed(format!("more than {max} {name} in one call")))
}

pub(super) fn normal(given: &str, normal: &str) -> Result<()> {
    if given == normal {
        return Ok(());
    }
    Err(Problem::new(
        Kind::InvalidPath,
        "the path is not in its normal form",
    ))
}

/// A path that names something.
pub(super) fn existing_path(path: &str) -> Result<()> {
    normal(path, &path::normalize(path)?)
}

/// A path of an entry that is to be made.
pub(super) fn new_path(path: &str) -> Result<()> {
    normal(path, &path::normalize_new(path)?)
}

pub(super) fn on_conflict(value: i32) -> Result<()> {
    OnConflict::try_from(value)
        .map(|_| ())
        .map_err(|_| malformed(format!("{value} is no conflict rule")))
}

pub(super) fn tokens(tokens: &[bytes::Bytes]) -> Result<()> {
    count("tokens of locks", tokens.len(), MAX_LOCKS)?;
    tokens.iter().try_for_each(|token| id(token))
}

pub(super) fn precondition(precondition: Option<&Precondition>) -> Result<()> {
    let locks = precondition.and_then(|precondition| precondition.locks.as_ref());
    locks.map_or(Ok(()), |locks| tokens(&locks.tokens))
}

pub(super) fn lock_time(ms: i64) -> Result<()> {
    range("the time of a lock", ms, MAX_LOCK_MS)
}

pub(super) fn property_change(change: &PropertyChange) -> Result<()> {
    let property = change.property.as_ref();
    let property = property.ok_or_else(|| malformed("there is no property".to_owned()))?;
    name("the name of a property", &property.name)?;
    for (what, value, max) in [
        ("the namespace", &property.namespace, MAX_NAMESPACE_BYTES),
        ("the name", &property.name, MAX_PROPERTY_NAME_BYTES),
        ("the value", &property.xml, MAX_PROPERTY_BYTES),
    ] {
        if value.len() > max {
            let detail = format!("{what} of a property is longer than {max} bytes");
            return Err(Problem::new(Kind::LimitReached, detail));
        }
    }
    Ok(())
}

/// A path that names something other than the root folder.
pub(super) fn below_root(path: &str) -> Result<()> {
    existing_path(path)?;
    if path == "/" {
        return Err(path::InvalidPath::Root.into());
    }
    Ok(())
}
