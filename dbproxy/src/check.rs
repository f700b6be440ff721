//! What a request must look like before it reaches a store. Shared by every adapter.
//!
//! The services validate what users send; these checks keep a faulty caller from writing rows
//! that nobody could read again.

mod fields;

use cloudstore_proto::{
    account::*, dav::*, file::*, http::MAX_BATCH, share::*, transfer::*, upload::*,
};
use cloudstore_service::Result;

use self::fields::*;
use crate::dav::MAX_PROPERTIES;

/// Largest size of one file: far beyond any, and far from overflowing sums of sizes.
pub const MAX_FILE_BYTES: i64 = 1 << 50;
/// Largest quota, likewise.
pub const MAX_QUOTA_BYTES: i64 = 1 << 60;
/// Largest page and most rows that one maintenance call works on: bounds its time as the one
/// writer.
pub const MAX_ROWS: u32 = 1_000;
/// Ids in one question about staged copies: 100,000 x 16 bytes stay well below a message's limit.
pub const MAX_STAGING_IDS: usize = 100_000;
/// Bytes of free text (names of people, nodes and workers, media types, hashes of passwords).
pub const MAX_TEXT_BYTES: usize = 1_024;
/// Bytes of the note that a protocol leaves at an upload: what the longest head of a request may
/// hold, encoded once more.
pub const MAX_NOTE_BYTES: usize = 8 << 10;
/// Longest time a lock lasts without being refreshed. Whoever took it may never come back, and others
/// of the account wait for it.
pub const MAX_LOCK_MS: i64 = 3_600 * 1_000;
/// Bytes of the namespace of a property.
pub const MAX_NAMESPACE_BYTES: usize = 512;
/// Bytes of the name of a property.
pub const MAX_PROPERTY_NAME_BYTES: usize = 255;
/// Entries whose properties are asked for in one call: with all that they may have
/// ([`crate::dav::MAX_PROPERTY_BYTES`]) the answer has half the length of the longest message.
pub const MAX_PROPERTY_ENTRIES: usize = 250;
/// Longest lease, lifetime or grace period: ten years.
const MAX_DURATION_MS: i64 = 10 * 365 * 24 * 3_600 * 1_000;

/// Validates a request.
pub trait Check {
    /// Refuses what no correct caller sends.
    ///
    /// # Errors
    /// `MalformedRequest`, and `InvalidPath` for paths that are not in normal form.
    fn check(&self) -> Result<()>;
}

/// One change of an [`ApplyRequest`] of this account.
fn one_change(owner: &[u8], change: &Change) -> Result<()> {
    use change::Change as Kind;
    let (named, checked) = match &change.change {
        Some(Kind::CreateFolder(request)) => (&request.owner, request.check()),
        Some(Kind::Move(request)) => (&request.owner, request.check()),
        Some(Kind::Delete(request)) => (&request.owner, request.check()),
        None => return Err(malformed("an empty change".to_owned())),
    };
    if named != owner {
        return Err(malformed("a change of another account".to_owned()));
    }
    checked
}

/// Rows a call may answer with or work on: 0 means the most.
#[must_use]
pub fn limit(requested: u32) -> u32 {
    match requested {
        0 => MAX_ROWS,
        limit => limit.min(MAX_ROWS),
    }
}

/// One entry of a batch.
///
/// # Errors
/// As [`Check::check`].
pub fn begin_upload(entry: &BeginUpload) -> Result<()> {
    id(&entry.id)?;
    new_path(&entry.path)?;
    range("the size", entry.size, MAX_FILE_BYTES)?;
    digests(entry.digests.as_ref().unwrap_or(&Digests::default()))?;
    on_conflict(entry.on_conflict)?;
    range("the chunk size", entry.chunk_size, MAX_FILE_BYTES)?;
    text("the media type", &entry.media_type)?;
    if entry.deferred && entry.size != 0 {
        return Err(malformed("a size of an upload without one".to_owned()));
    }
    if entry.note.len() > MAX_NOTE_BYTES {
        let detail = format!("the note is longer than {MAX_NOTE_BYTES} bytes");
        return Err(malformed(detail));
    }
    Ok(())
}

macro_rules! checks {
    ($($request:ident |$r:ident| $check:expr;)*) => {
        $(impl Check for $request {
            fn check(&self) -> Result<()> {
                let $r = self;
                $check
            }
        })*
    };
}

checks! {
    CreateAccountRequest |r| {
        id(&r.id)?;
        name("the username", &r.username)?;
        name("the password hash", &r.password_hash)?;
        text("the e-mail address", &r.email)?;
        text("the display name", &r.display_name)?;
        range("the quota", r.quota_bytes, MAX_QUOTA_BYTES)
    };
    GetAccountRequest |r| id(&r.id);
    FindCredentialsRequest |r| text("the username", &r.username);
    UpdateAccountRequest |r| {
        id(&r.id)?;
        text("the e-mail address", r.email())?;
        text("the display name", r.display_name())
    };
    SetPasswordRequest |r| {
        id(&r.id)?;
        optional("the id of the session that stays", &r.keep_session_id, 16)?;
        text("the old password hash", &r.old_password_hash)?;
        name("the new password hash", &r.new_password_hash)
    };
    CreateSessionRequest |r| {
        id(&r.id)?;
        id(&r.account_id)?;
        length("a refresh token hash", &r.refresh_hash, 32)?;
        text("the name of the client", &r.client)?;
        duration("the lifetime", r.lifetime_ms)
    };
    RotateSessionRequest |r| {
        length("a refresh token hash", &r.old_refresh_hash, 32)?;
        length("a refresh token hash", &r.new_refresh_hash, 32)?;
        duration("the lifetime", r.lifetime_ms)
    };
    GetSessionRequest |r| id(&r.id);
    ListSessionsRequest |r| id(&r.account_id);
    RevokeSessionRequest |r| {
        id(&r.id)?;
        if r.account_id.is_empty() { Ok(()) } else { id(&r.account_id) }
    };
    RevokeAllSessionsRequest |r| id(&r.account_id);
    ListRevocationsRequest |_r| Ok(());
    CreateApiTokenRequest |r| {
        id(&r.id)?;
        id(&r.account_id)?;
        length("a token hash", &r.hash, 32)?;
        name("the name of the token", &r.name)?;
        match TokenScope::try_from(r.scope) {
            Ok(TokenScope::Unspecified) | Err(_) => {
                return Err(malformed(format!("{} is no scope", r.scope)));
            }
            Ok(_) => {}
        }
        duration("the lifetime", r.lifetime_ms)
    };
    FindApiTokenRequest |r| length("a token hash", &r.hash, 32);
    ListApiTokensRequest |r| id(&r.account_id);
    RevokeApiTokenRequest |r| id(&r.account_id).and_then(|()| id(&r.id));
    PublishKeyRequest |r| {
        let key = r.key.as_ref().ok_or_else(|| malformed("there is no key".to_owned()))?;
        name("the kid", &key.kid)?;
        length("the public key", &key.public_key, 32)
    };
    ListKeysRequest |_r| Ok(());

    StatRequest |r| id(&r.owner).and_then(|()| existing_path(&r.path));
    ListRequest |r| {
        id(&r.owner)?;
        existing_path(&r.path)?;
        text("the search text", &r.search)?;
        SortKey::try_from(r.sort)
            .map(|_| ())
            .map_err(|_| malformed(format!("{} is no sort key", r.sort)))
    };
    SearchRequest |r| {
        id(&r.owner)?;
        existing_path(&r.path)?;
        if r.text.is_empty() {
            return Err(malformed("a search for nothing".to_owned()));
        }
        text("the text to search for", &r.text)
    };
    CreateFolderRequest |r| {
        id(&r.owner)?;
        precondition(r.precondition.as_ref())?;
        if r.path == "/" { Ok(()) } else { new_path(&r.path) }
    };
    MoveRequest |r| {
        id(&r.owner)?;
        new_path(&r.to)?;
        below_root(&r.from)?;
        precondition(r.precondition.as_ref())
    };
    CopyRequest |r| {
        id(&r.owner)?;
        id(&r.id)?;
        new_path(&r.to)?;
        below_root(&r.from)?;
        if r.replace && r.rename {
            return Err(malformed("either replace or rename".to_owned()));
        }
        precondition(r.precondition.as_ref())
    };
    DeleteRequest |r| {
        id(&r.owner)?;
        below_root(&r.path)?;
        duration("the time in the trash", r.keep_ms)?;
        precondition(r.precondition.as_ref())
    };
    ListTrashRequest |r| id(&r.owner);
    RestoreRequest |r| {
        id(&r.owner)?;
        id(&r.id)?;
        if r.path.is_empty() { Ok(()) } else { new_path(&r.path) }
    };
    EmptyTrashRequest |r| {
        id(&r.owner)?;
        if r.id.is_empty() { Ok(()) } else { id(&r.id) }
    };
    PurgeRequest |_r| Ok(());

    CreateShareRequest |r| {
        id(&r.id)?;
        id(&r.account_id)?;
        length("a token hash", &r.hash, 32)?;
        below_root(&r.path)?;
        text("the password hash", &r.password_hash)?;
        if r.max_downloads < 0 {
            return Err(malformed("fewer than no downloads".to_owned()));
        }
        if r.uploads && r.max_downloads > 0 {
            return Err(malformed("a limit of downloads where there are none".to_owned()));
        }
        if r.lifetime_ms == 0 { Ok(()) } else { duration("the lifetime", r.lifetime_ms) }
    };
    ListSharesRequest |r| id(&r.account_id);
    GetShareRequest |r| id(&r.account_id).and_then(|()| id(&r.id));
    RevokeShareRequest |r| id(&r.account_id).and_then(|()| id(&r.id));
    FindSharedRequest |r| {
        length("a token hash", &r.hash, 32)?;
        existing_path(&r.path)
    };
    ListSharedRequest |r| {
        length("a token hash", &r.hash, 32)?;
        existing_path(&r.path)?;
        SortKey::try_from(r.sort)
            .map(|_| ())
            .map_err(|_| malformed(format!("{} is no sort key", r.sort)))
    };
    BeginDownloadRequest |r| {
        id(&r.share_id)?;
        id(&r.id)?;
        blake3(&r.blake3)?;
        optional("an id", &r.continues, 16)?;
        if r.bytes < 0 || r.allowance < 0 {
            return Err(malformed("fewer than no bytes".to_owned()));
        }
        duration("the lifetime", r.lifetime_ms)
    };

    ApplyRequest |r| {
        if r.changes.is_empty() {
            return Err(malformed("no changes".to_owned()));
        }
        count("changes", r.changes.len(), MAX_BATCH)?;
        r.changes.iter().try_for_each(|change| one_change(&r.owner, change))
    };
    RecordReadsRequest |r| {
        count("counts", r.counts.len(), MAX_BATCH)?;
        r.counts.iter().try_for_each(|count| blake3(&count.blake3))
    };
    HotBlobsRequest |_r| Ok(());

    LockRequest |r| {
        id(&r.owner)?;
        id(&r.token)?;
        existing_path(&r.path)?;
        text("the owner of the lock", &r.owner_xml)?;
        lock_time(r.timeout_ms)
    };
    RefreshLockRequest |r| {
        id(&r.owner)?;
        id(&r.token)?;
        existing_path(&r.path)?;
        lock_time(r.timeout_ms)
    };
    UnlockRequest |r| {
        id(&r.owner)?;
        id(&r.token)?;
        existing_path(&r.path)
    };
    ListLocksRequest |r| id(&r.owner);
    PatchPropertiesRequest |r| {
        id(&r.owner)?;
        existing_path(&r.path)?;
        tokens(&r.lock_tokens)?;
        if r.changes.is_empty() {
            return Err(malformed("no changes".to_owned()));
        }
        count("changes", r.changes.len(), MAX_PROPERTIES)?;
        r.changes.iter().try_for_each(property_change)
    };
    ListPropertiesRequest |r| {
        id(&r.owner)?;
        count("entries", r.entries.len(), MAX_PROPERTY_ENTRIES)?;
        r.entries.iter().try_for_each(|entry| id(entry))
    };

    BeginUploadsRequest |r| {
        id(&r.account_id)?;
        name("the node", &r.node)?;
        duration("the lifetime", r.lifetime_ms)?;
        InstantPolicy::try_from(r.policy)
            .map_err(|_| malformed(format!("{} is no policy", r.policy)))?;
        count("entries", r.entries.len(), MAX_BATCH)
    };
    GetUploadRequest |r| id(&r.account_id).and_then(|()| id(&r.id));
    ListUploadsRequest |r| {
        id(&r.account_id)?;
        optional("an id", &r.after, 16)
    };
    CommitUploadRequest |r| {
        id(&r.id)?;
        id(&r.account_id)?;
        let content = r.content.as_ref();
        let content = content.ok_or_else(|| malformed("there is no content".to_owned()))?;
        blake3(&content.blake3)?;
        digests(content)?;
        optional("a staging id", &r.staging_id, 16)?;
        text("the media type", &r.media_type)?;
        text("the node", &r.node)?;
        if !r.staging_id.is_empty() {
            name("the node", &r.node)?;
        }
        range("the size", r.size, MAX_FILE_BYTES)?;
        precondition(r.precondition.as_ref())?;
        if r.reserved {
            return Ok(());
        }
        on_conflict(r.on_conflict)?;
        new_path(&r.path)
    };
    ResizeUploadRequest |r| {
        id(&r.account_id)?;
        id(&r.id)?;
        range("the size", r.at_least, MAX_FILE_BYTES)?;
        range("the size", r.at_most, MAX_FILE_BYTES)
    };
    CancelUploadRequest |r| id(&r.account_id).and_then(|()| id(&r.id));
    ExpireUploadsRequest |r| name("the node", &r.node);
    BlockInstantRequest |r| id(&r.account_id).and_then(|()| duration("the time", r.for_ms));
    ResolveStagingRequest |r| {
        count("staged copies", r.ids.len(), MAX_STAGING_IDS)?;
        r.ids.iter().try_for_each(|staged| id(staged))
    };

    ClaimTransfersRequest |r| {
        count("transfers", r.blake3.len(), MAX_BATCH)?;
        duration("the lease", r.lease_ms)?;
        text("the worker's name", &r.worker)?;
        r.blake3.iter().try_for_each(|digest| blake3(digest))
    };
    RenewTransferRequest |r| blake3(&r.blake3).and_then(|()| duration("the lease", r.lease_ms));
    CommitTransfersRequest |r| {
        count("transfers", r.commits.len(), MAX_BATCH)?;
        r.commits.iter().try_for_each(|commit| {
            blake3(&commit.blake3)?;
            known_digests(&commit.sha256, &commit.sha1)
        })
    };
    FailTransferRequest |r| {
        blake3(&r.blake3).and_then(|()| duration("the delay", r.retry_after_ms))
    };
    ListTransfersRequest |r| {
        TransferState::try_from(r.state)
            .map(|_| ())
            .map_err(|_| malformed(format!("{} is no state of a transfer", r.state)))
    };
    ReplayTransfersRequest |r| {
        count("transfers", r.blake3.len(), MAX_BATCH)?;
        r.blake3.iter().try_for_each(|digest| blake3(digest))
    };
    ParkTransfersRequest |r| {
        count("transfers", r.blake3.len(), MAX_BATCH)?;
        r.blake3.iter().try_for_each(|digest| blake3(digest))
    };
    FindBlobsRequest |r| {
        count("blobs", r.blake3.len(), MAX_BATCH)?;
        r.blake3.iter().try_for_each(|digest| blake3(digest))
    };
    ListStagedCopiesRequest |r| {
        count("nodes", r.except_nodes.len(), MAX_BATCH)?;
        r.except_nodes.iter().try_for_each(|node| name("the node", node))?;
        duration("the grace period", r.grace_ms)
    };
    ForgetStagedCopiesRequest |r| {
        count("staged copies", r.blobs.len(), MAX_BATCH)?;
        r.blobs.iter().try_for_each(|blob| {
            blake3(&blob.blake3)?;
            id(&blob.staging_id)
        })
    };
    ClaimGarbageRequest |r| {
        duration("the grace period", r.grace_ms)?;
        duration("the lease", r.lease_ms)
    };
    ConfirmDeletedRequest |r| blake3(&r.blake3);
}

#[cfg(test)]
mod tests {
    use cloudstore_service::Kind;

    use super::*;

    fn kind(check: &impl Check) -> Option<Kind> {
        check.check().err().map(|problem| problem.kind())
    }

    #[test]
    fn ids_paths_and_numbers() {
        let owner = bytes::Bytes::from_static(&[1; 16]);
        let stat = |owner: &bytes::Bytes, path: &str| StatRequest {
            owner: owner.clone(),
            path: path.to_owned(),
        };
        assert_eq!(kind(&stat(&owner, "/a/b")), None);
        assert_eq!(kind(&stat(&owner, "/")), None);
        assert_eq!(
            kind(&stat(&owner.slice(1..), "/a")),
            Some(Kind::MalformedRequest)
        );
        for path in ["", "a", "/a/", "//a", "/a/../b", "/e\u{301}"] {
            assert_eq!(
                kind(&stat(&owner, path)),
                Some(Kind::InvalidPath),
                "{path:?}"
            );
        }
        let delete = DeleteRequest {
            keep_ms: 0,
            precondition: None,
            owner,
            path: "/".to_owned(),
        };
        assert_eq!(kind(&delete), Some(Kind::InvalidPath));
        let renew = RenewTransferRequest {
            blake3: vec![0; 32].into(),
            fence: 1,
            lease_ms: -1,
        };
        assert_eq!(kind(&renew), Some(Kind::MalformedRequest));
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(
            (limit(0), limit(7), limit(u32::MAX)),
            (MAX_ROWS, 7, MAX_ROWS)
        );
    }
}
