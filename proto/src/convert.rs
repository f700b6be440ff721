//! From the gRPC messages to the JSON bodies: ids, digests and times as text.

use std::num::NonZeroU8;

use time::{
    OffsetDateTime,
    format_description::well_known::{Iso8601, Rfc3339, iso8601},
};
use uuid::Uuid;

use crate::{
    account::{ApiToken, Session, TokenScope},
    file,
    http::{self, shares, trash},
    path, share,
};

/// Always three digits, so that all times of an answer have one form and sort as text.
const MILLISECONDS: Iso8601<
    {
        iso8601::Config::DEFAULT
            .set_time_precision(iso8601::TimePrecision::Second {
                decimal_digits: NonZeroU8::new(3),
            })
            .encode()
    },
> = Iso8601;

/// RFC 3339 in UTC with milliseconds. Times outside the years 0 to 9999 are clamped to 1970.
#[must_use]
pub fn rfc3339(unix_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&MILLISECONDS)
        .unwrap_or_default()
}

/// What RFC 3339 can write in UTC, Unix milliseconds.
const YEARS_0_TO_9999_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// The reverse of [`rfc3339`], for any offset; sub-millisecond digits are cut. `None` for anything
/// that is not an RFC 3339 time, or not in the years 0 to 9999 in UTC.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let ms = i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?;
    YEARS_0_TO_9999_MS.contains(&ms).then_some(ms)
}

/// Hyphenated UUID; empty for bytes that are none.
#[must_use]
pub fn id(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes)
        .map(|id| id.hyphenated().to_string())
        .unwrap_or_default()
}

/// Bytes and counts travel signed over SQL and gRPC and unsigned over HTTP.
#[must_use]
pub fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn digest(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| hex::encode(bytes))
}

/// A file entry as the API shows it. `instant`: this answer ends an upload that sent no content.
#[must_use]
pub fn file(entry: &file::Entry, instant: bool) -> http::File {
    let blob = entry.blob.clone().unwrap_or_default();
    let stored = blob.state == i32::from(file::BlobState::Stored);
    http::File {
        id: id(&entry.id),
        path: entry.path.clone(),
        size: unsigned(blob.size),
        blake3: hex::encode(&blob.blake3),
        sha256: digest(&blob.sha256),
        sha1: digest(&blob.sha1),
        media_type: entry.media_type.clone(),
        created_at: rfc3339(entry.created_at_ms),
        modified_at: rfc3339(entry.modified_at_ms),
        state: if stored {
            http::FileState::Stored
        } else {
            http::FileState::Staged
        },
        instant,
    }
}

/// An entry as the API shows it.
#[must_use]
pub fn entry(entry: &file::Entry) -> http::Entry {
    match entry.kind() {
        file::EntryKind::File => http::Entry::File(file(entry, false)),
        _ => http::Entry::Folder(http::Folder {
            id: id(&entry.id),
            path: entry.path.clone(),
            created_at: rfc3339(entry.created_at_ms),
            modified_at: rfc3339(entry.modified_at_ms),
        }),
    }
}

/// A login, which may be the one that asks.
#[must_use]
pub fn session(session: &Session, current: bool) -> http::Session {
    http::Session {
        id: id(&session.id),
        client: session.client.clone(),
        created_at: rfc3339(session.created_at_ms),
        last_used_at: rfc3339(session.used_at_ms),
        expires_at: rfc3339(session.expires_at_ms),
        current,
    }
}

/// What a token is good for; `None` for what is none of the scopes.
#[must_use]
pub fn scope(scope: TokenScope) -> Option<http::Scope> {
    match scope {
        TokenScope::Unspecified => None,
        TokenScope::Full => Some(http::Scope::Full),
        TokenScope::Upload => Some(http::Scope::Upload),
        TokenScope::Read => Some(http::Scope::Read),
    }
}

/// The reverse of [`scope`].
#[must_use]
pub fn token_scope(scope: http::Scope) -> TokenScope {
    match scope {
        http::Scope::Full => TokenScope::Full,
        http::Scope::Upload => TokenScope::Upload,
        http::Scope::Read => TokenScope::Read,
    }
}

/// An API token as the API shows it; `None` when its scope is none.
#[must_use]
pub fn token(token: &ApiToken) -> Option<http::Token> {
    Some(http::Token {
        id: id(&token.id),
        name: token.name.clone(),
        scope: scope(token.scope())?,
        created_at: rfc3339(token.created_at_ms),
        expires_at: rfc3339(token.expires_at_ms),
    })
}

fn kind(kind: file::EntryKind) -> shares::EntryKind {
    match kind {
        file::EntryKind::File => shares::EntryKind::File,
        _ => shares::EntryKind::Folder,
    }
}

/// A page of the trash.
#[must_use]
pub fn trash(page: &file::ListTrashResponse) -> trash::Trash {
    let entries = page.entries.iter().filter_map(|trashed| {
        let entry = trashed.entry.as_ref()?;
        Some(trash::Trashed {
            id: id(&entry.id),
            name: path::name(&entry.path).to_owned(),
            path: entry.path.clone(),
            kind: kind(entry.kind()),
            size: entry.blob.as_ref().map_or(0, |blob| unsigned(blob.size)),
            deleted_at: rfc3339(trashed.deleted_at_ms),
            expires_at: rfc3339(trashed.expires_at_ms),
        })
    });
    trash::Trash {
        entries: entries.collect(),
        next_cursor: (!page.next_cursor.is_empty()).then(|| page.next_cursor.clone()),
    }
}

/// 0 means that there is none.
fn optional<T>(number: i64, convert: impl FnOnce(i64) -> T) -> Option<T> {
    (number > 0).then(|| convert(number))
}

/// A share as its owner sees it.
#[must_use]
pub fn share(share: &share::Share) -> shares::Share {
    shares::Share {
        id: id(&share.id),
        path: share.path.clone(),
        kind: kind(share.kind()),
        created_at: rfc3339(share.created_at_ms),
        expires_at: optional(share.expires_at_ms, rfc3339),
        max_downloads: optional(share.max_downloads, unsigned),
        downloads: unsigned(share.downloads),
        has_password: share.has_password,
        uploads: share.uploads,
    }
}

/// What everybody may know of a share: nothing of what it shows.
#[must_use]
pub fn public_share(share: &share::Share) -> shares::PublicShare {
    let left = |max: i64| unsigned(max - share.downloads);
    shares::PublicShare {
        needs_password: share.has_password,
        expires_at: optional(share.expires_at_ms, rfc3339),
        downloads_left: optional(share.max_downloads, left),
        uploads: share.uploads,
        entry: None,
        entries: None,
        next_cursor: None,
    }
}

/// An entry below a share. The one that is shared has its name where its owner keeps it.
#[must_use]
pub fn shared_entry(share: &share::Share, entry: &file::Entry) -> shares::SharedEntry {
    let is_file = entry.kind() == file::EntryKind::File;
    let size = entry.blob.as_ref().map(|blob| unsigned(blob.size));
    shares::SharedEntry {
        kind: kind(entry.kind()),
        name: shared_name(share, entry).to_owned(),
        path: entry.path.clone(),
        size: size.filter(|_| is_file),
        media_type: is_file.then(|| entry.media_type.clone()),
        modified_at: rfc3339(entry.modified_at_ms),
    }
}

/// The name of an entry below a share.
#[must_use]
pub fn shared_name<'e>(share: &'e share::Share, entry: &'e file::Entry) -> &'e str {
    let is_top = entry.path == "/";
    path::name(if is_top { &share.path } else { &entry.path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        for ms in [0, 1, 999, 1_700_000_000_123, -1] {
            assert_eq!(parse_rfc3339(&rfc3339(ms)), Some(ms));
        }
        assert_eq!(
            parse_rfc3339("2024-01-01T02:00:00+02:00"),
            parse_rfc3339("2024-01-01T00:00:00Z")
        );
        for none in [
            "yesterday",
            "9999-12-31T23:59:59-23:59",
            "0000-01-01T00:00:00+23:59",
        ] {
            assert_eq!(parse_rfc3339(none), None, "{none}");
        }
        assert!(parse_rfc3339("9999-12-31T23:59:59.999Z").is_some());
    }
}
