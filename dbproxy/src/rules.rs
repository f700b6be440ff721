//! Decisions about files and their content that do not depend on the database.

use bytes::Bytes;
use cloudstore_proto::{
    file::{Blob, Entry, EntryKind, Precondition, RestoreRequest, SearchResponse, precondition},
    path,
    share::Share,
    upload::{Digests, InstantPolicy, OnConflict, ResizeUploadRequest, Upload},
};
use cloudstore_service::{Kind, Problem, Result};

use crate::paths::Paths;

/// How long a finished upload stays readable, in milliseconds: long enough for a client that was away
/// to learn how its upload ended, short enough to keep the table small.
pub const FINISHED_UPLOAD_MS: i64 = 24 * 3_600 * 1_000;
/// How far the next question for revocations goes back: longer than any write waits for its commit.
pub const REVOCATION_OVERLAP_MS: i64 = 15_000;
/// How long a revoked API token is remembered, in milliseconds: far longer than any service accepts
/// one without asking, so that each hears of the revocation.
pub const REVOKED_TOKEN_MS: i64 = 3_600 * 1_000;
/// Bytes kept of the error of a transfer.
pub const MAX_ERROR_BYTES: usize = 1_000;

/// What is known about a declared content from known content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Other content, or no way to tell.
    No,
    /// The same SHA-1 and size. Collisions can be made: a hint, not an identity.
    Found,
    /// The same content.
    Identified,
}

/// Whose content may be recognised for an account that asked with this policy.
#[must_use]
pub const fn instant(asked: InstantPolicy, is_blocked: bool) -> InstantPolicy {
    match asked {
        InstantPolicy::Everyone if is_blocked => InstantPolicy::Account,
        asked => asked,
    }
}

/// The digest by which declared content is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The identity itself.
    Blake3(Bytes),
    /// As good as the identity.
    Sha256(Bytes),
    /// Only finds.
    Sha1(Bytes),
}

/// The strongest declared digest; `None` when none is declared.
#[must_use]
pub fn lookup(declared: &Digests) -> Option<Lookup> {
    if !declared.blake3.is_empty() {
        Some(Lookup::Blake3(declared.blake3.clone()))
    } else if !declared.sha256.is_empty() {
        Some(Lookup::Sha256(declared.sha256.clone()))
    } else if !declared.sha1.is_empty() {
        Some(Lookup::Sha1(declared.sha1.clone()))
    } else {
        None
    }
}

/// Does this blob have the declared content? Decided by the strongest declared digest; the others
/// must not contradict.
#[must_use]
pub fn matches(declared: &Digests, size: i64, blob: &Blob) -> Match {
    let contradicts = |declared: &Bytes, known: &Bytes| {
        !declared.is_empty() && !known.is_empty() && declared != known
    };
    if size != blob.size
        || contradicts(&declared.blake3, &blob.blake3)
        || contradicts(&declared.sha256, &blob.sha256)
        || contradicts(&declared.sha1, &blob.sha1)
    {
        return Match::No;
    }
    match lookup(declared) {
        Some(Lookup::Blake3(digest)) if digest == blob.blake3 => Match::Identified,
        Some(Lookup::Sha256(digest)) if digest == blob.sha256 => Match::Identified,
        Some(Lookup::Sha1(digest)) if digest == blob.sha1 => Match::Found,
        _ => Match::No,
    }
}

/// Received content must be what was declared.
///
/// # Errors
/// `DigestMismatch`.
pub fn verify_declared(declared: &Digests, content: &Digests) -> Result<()> {
    for (name, declared, found) in [
        ("BLAKE3", &declared.blake3, &content.blake3),
        ("SHA-256", &declared.sha256, &content.sha256),
        ("SHA-1", &declared.sha1, &content.sha1),
    ] {
        if !declared.is_empty() && !found.is_empty() && declared != found {
            return Err(Problem::new(
                Kind::DigestMismatch,
                format!("the content has another {name} digest than was declared"),
            ));
        }
    }
    Ok(())
}

/// May an account that has so many API tokens, some of them revoked and still remembered, have
/// another one? Those count on their own: whoever replaces a token needs room for both, and the
/// lists of revocations that every service copies stay short.
///
/// # Errors
/// `TooManyTokens`.
pub fn room_for_token(all: i64, revoked: i64, max: u32) -> Result<()> {
    let max = i64::from(max);
    if all - revoked < max && revoked < max {
        return Ok(());
    }
    let detail = if revoked < max {
        format!("an account can have {max} tokens; revoke one that is not needed")
    } else {
        format!("{max} tokens were revoked within the last hour; try again later")
    };
    Err(Problem::new(Kind::TooManyTokens, detail))
}

/// May an account that has so many shares have another one?
///
/// # Errors
/// `LimitReached`.
pub fn room_for_share(count: i64, max: u32) -> Result<()> {
    if count < i64::from(max) {
        return Ok(());
    }
    let detail = format!("an account can have {max} shares; revoke one that is not needed");
    Err(Problem::new(Kind::LimitReached, detail))
}

/// Why no download of a share can begin: it has none left, or it is not there any more.
#[must_use]
pub fn no_download(is_there: bool) -> Problem {
    if is_there {
        Problem::new(
            Kind::ShareExhausted,
            "the share was downloaded as often as it may be",
        )
    } else {
        not_found("share")
    }
}

/// What a share shows below its top: nothing, if it collects uploads.
///
/// # Errors
/// `NotFound` then.
pub fn check_shown(share: &Share, path: &str) -> Result<()> {
    if share.uploads && path != "/" {
        return Err(not_found("entry"));
    }
    Ok(())
}

/// `NotAFolder` for a file.
///
/// # Errors
/// That.
pub fn check_folder(entry: &Entry) -> Result<()> {
    if entry.kind() == EntryKind::Folder {
        return Ok(());
    }
    Err(Problem::new(Kind::NotAFolder, "this is a file"))
}

/// What a search found, one more than asked for if there is more; without what was deleted meanwhile.
/// `cut`: it did not look at everything.
#[must_use]
pub fn found(found: Vec<Entry>, mut paths: Paths, limit: u32, cut: bool) -> SearchResponse {
    let more = cut || found.len() > limit as usize;
    let placed = found.into_iter().filter_map(|entry| {
        let path = paths.remove(&entry.id[..])?;
        Some(Entry { path, ..entry })
    });
    let mut entries: Vec<Entry> = placed.collect();
    entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    entries.truncate(limit as usize);
    SearchResponse { entries, more }
}

/// How a file comes to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The path is free.
    Create,
    /// The path holds this content already.
    Keep,
    /// The file there gets this content.
    Replace,
    /// The file gets a numbered name beside the one there.
    Rename,
}

/// Where a file goes, given what is at its path.
///
/// # Errors
/// `IsAFolder` for a folder, `NameConflict` for other content under the rule to fail.
pub fn place(there: Option<&Entry>, same_content: bool, rule: OnConflict) -> Result<Placement> {
    let Some(there) = there else {
        return Ok(Placement::Create);
    };
    if there.kind() == EntryKind::Folder {
        return Err(Problem::new(Kind::IsAFolder, "a folder has this path"));
    }
    match rule {
        _ if same_content => Ok(Placement::Keep),
        OnConflict::Replace => Ok(Placement::Replace),
        OnConflict::Rename => Ok(Placement::Rename),
        OnConflict::Fail | OnConflict::Unspecified => Err(name_conflict()),
    }
}

/// The path with another name, if a free one was found that fits.
///
/// # Errors
/// `NameConflict`.
pub fn renamed(path: &str, name: Option<String>) -> Result<String> {
    let renamed = name.map(|name| path::join(path::parent(path), &name));
    let fits = renamed.filter(|path| path.len() <= path::MAX_PATH_BYTES);
    fits.ok_or_else(name_conflict)
}

/// Bytes that names below a folder may have together, slashes included, so that none of their paths
/// gets too long at its new place. `None` when there is nothing to look at: what fitted before fits
/// where the way is not longer, and a file holds nothing.
#[must_use]
pub fn room_below(entry: &Entry, to: &str) -> Option<i64> {
    let may_grow = entry.kind() == EntryKind::Folder && to.len() > entry.path.len();
    let room = path::MAX_PATH_BYTES.saturating_sub(to.len());
    may_grow.then(|| i64::try_from(room).unwrap_or(i64::MAX))
}

/// Something in the folder has a longer way than there is room for.
#[must_use]
pub fn too_long_below() -> Problem {
    let detail = format!(
        "something in the folder would get a path of more than {} bytes",
        path::MAX_PATH_BYTES
    );
    Problem::new(Kind::InvalidPath, detail)
}

/// Where an entry of the trash comes back.
#[must_use]
pub fn restored_to(request: &RestoreRequest, entry: &Entry) -> String {
    if request.path.is_empty() {
        return entry.path.clone();
    }
    request.path.clone()
}

/// The name is taken.
#[must_use]
pub fn name_conflict() -> Problem {
    Problem::new(Kind::NameConflict, "another entry has this path")
}

/// The new size of an upload without a length that has `reserved` bytes, in an account with so many
/// `free` ones: as much as there is room for, never less than before.
///
/// # Errors
/// `QuotaExceeded` when that is too little, `WrongLength` when the length turns out to be known.
pub fn resize(request: &ResizeUploadRequest, upload: &Upload, free: i64) -> Result<i64> {
    if !upload.deferred {
        if request.is_length && request.at_least == upload.size {
            return Ok(upload.size);
        }
        let detail = "the length of the upload is known, and is another";
        return Err(Problem::new(Kind::WrongLength, detail));
    }
    let room = upload.size + free.max(0);
    if request.at_least > room.max(upload.size) {
        return Err(quota_exceeded());
    }
    if request.is_length {
        return Ok(request.at_least);
    }
    let wanted = request.at_most.max(request.at_least);
    Ok(wanted.min(room).max(upload.size))
}

/// Can this unfinished upload become a file?
///
/// # Errors
/// `LengthUnknown`, `Forbidden`.
pub fn completable(upload: &Upload) -> Result<()> {
    if upload.part {
        let detail = "the upload is a part of others and no file";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    if upload.deferred {
        let detail = "nobody has said how long the upload is";
        return Err(Problem::new(Kind::LengthUnknown, detail));
    }
    Ok(())
}

/// The account has no room.
#[must_use]
pub fn quota_exceeded() -> Problem {
    Problem::new(
        Kind::QuotaExceeded,
        "the account has not enough room left for this",
    )
}

/// What is not there and what is not the caller's.
#[must_use]
pub fn not_found(what: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("there is no such {what}"))
}

/// A problem of one of several changes that are made together.
#[must_use]
pub fn at_change(index: usize, problem: &Problem) -> Problem {
    let detail = format!("change {index}: {}", problem.detail());
    Problem::new(problem.kind(), detail).with("change", index)
}

/// A fencing token that is not the last one.
#[must_use]
pub fn lease_lost() -> Problem {
    Problem::new(Kind::LeaseLost, "the lease was lost, or the work is done")
}

/// Text cut to a bound, at a character.
#[must_use]
pub fn truncated(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Does the entry at a path (or its absence) meet the precondition of a change?
///
/// # Errors
/// `precondition-failed` when it does not.
pub fn check_precondition(wanted: Option<&Precondition>, there: Option<&Entry>) -> Result<()> {
    let holds = |of: &precondition::Match| {
        there.is_some_and(|there| {
            let blob = there.blob.as_ref();
            of.any || blob.is_some_and(|blob| of.blake3.contains(&blob.blake3))
        })
    };
    let Some(wanted) = wanted else { return Ok(()) };
    if wanted.if_match.as_ref().is_some_and(|of| !holds(of))
        || wanted.if_none_match.as_ref().is_some_and(holds)
    {
        let detail = "what is at this path does not meet If-Match or If-None-Match";
        return Err(Problem::new(Kind::PreconditionFailed, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(blake3: u8, sha256: u8, sha1: u8) -> Digests {
        let bytes = |value: u8, len| {
            if value == 0 {
                Bytes::new()
            } else {
                vec![value; len].into()
            }
        };
        Digests {
            blake3: bytes(blake3, 32),
            sha256: bytes(sha256, 32),
            sha1: bytes(sha1, 20),
        }
    }

    fn blob(blake3: u8, sha256: u8, sha1: u8) -> Blob {
        let Digests {
            blake3,
            sha256,
            sha1,
        } = digests(blake3, sha256, sha1);
        Blob {
            blake3,
            sha256,
            sha1,
            size: 5,
            ..Blob::default()
        }
    }

    #[test]
    fn strongest_digest_decides() {
        let known = blob(1, 2, 3);
        assert_eq!(matches(&digests(1, 0, 0), 5, &known), Match::Identified);
        assert_eq!(matches(&digests(0, 2, 0), 5, &known), Match::Identified);
        assert_eq!(matches(&digests(0, 0, 3), 5, &known), Match::Found);
        assert_eq!(matches(&digests(0, 0, 0), 5, &known), Match::No);
        assert_eq!(
            matches(&digests(1, 2, 3), 6, &known),
            Match::No,
            "other size"
        );
        assert_eq!(
            matches(&digests(1, 9, 0), 5, &known),
            Match::No,
            "contradiction"
        );
        assert_eq!(
            matches(&digests(0, 2, 3), 5, &blob(1, 0, 3)),
            Match::No,
            "not known yet"
        );
    }

    #[test]
    fn received_content_must_be_as_declared() {
        assert!(verify_declared(&digests(1, 2, 0), &digests(1, 0, 3)).is_ok());
        let problem = verify_declared(&digests(0, 0, 4), &digests(1, 0, 3)).unwrap_err();
        assert_eq!(problem.kind(), Kind::DigestMismatch);
    }

    #[test]
    fn places() {
        let entry = |kind: EntryKind| Entry {
            kind: kind.into(),
            ..Entry::default()
        };
        let (file, folder) = (entry(EntryKind::File), entry(EntryKind::Folder));
        assert_eq!(
            place(None, false, OnConflict::Fail).unwrap(),
            Placement::Create
        );
        for rule in [OnConflict::Fail, OnConflict::Replace, OnConflict::Rename] {
            assert_eq!(place(Some(&file), true, rule).unwrap(), Placement::Keep);
            assert_eq!(
                place(Some(&folder), false, rule).unwrap_err().kind(),
                Kind::IsAFolder
            );
        }
        assert_eq!(
            place(Some(&file), false, OnConflict::Rename).unwrap(),
            Placement::Rename
        );
        assert_eq!(
            place(Some(&file), false, OnConflict::Replace).unwrap(),
            Placement::Replace
        );
        let problem = place(Some(&file), false, OnConflict::Unspecified).unwrap_err();
        assert_eq!(problem.kind(), Kind::NameConflict);
    }
}
