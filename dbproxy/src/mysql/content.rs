//! References to blobs, and the room of accounts.
//!
//! Statements that lock or change listed rows force the primary key: with small tables the planner
//! would rather read, and so lock, all of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cloudstore_proto::{
    file::{Blob, BlobState},
    upload::Digests,
};
use cloudstore_service::{Kind, Problem};

use super::{
    error::Outcome,
    rows::{BlobRow, blob_columns, nullable},
    staging,
    statement::Statement,
    tx::Tx,
};
use crate::rules;

/// Content that was received or proved, and the staged copy that is offered for it.
#[derive(Default)]
pub(super) struct Content {
    pub(super) digests: Digests,
    pub(super) size: i64,
    pub(super) node: String,
    /// Empty: no copy is offered, the blob must exist.
    pub(super) staging_id: Bytes,
}

impl Content {
    /// Does the blob refer to the copy that is offered here?
    pub(super) fn is_copy_of(&self, blob: &Blob) -> bool {
        !self.staging_id.is_empty() && self.staging_id == blob.staging_id && self.node == blob.node
    }
}

/// What counts of an account that is locked.
#[derive(sqlx::FromRow)]
pub(super) struct Locked {
    /// Bytes that are neither used nor reserved.
    pub(super) free: i64,
    /// Until when only the account's own content is instant.
    pub(super) instant_blocked_until: i64,
}

/// Until the end of the transaction nobody else changes this account, its entries or its uploads.
/// `NotFound` when there is no such account.
pub(super) async fn lock_account(tx: &mut Tx<'_>, account: &Bytes) -> Outcome<Locked> {
    let locked: Option<Locked> = sqlx::query_as(
        "SELECT quota_bytes - used_bytes - reserved_bytes AS free, instant_blocked_until
        FROM accounts WHERE id = ? FOR UPDATE",
    )
    .bind(&account[..])
    .fetch_optional(&mut *tx.conn)
    .await?;
    locked.ok_or_else(|| rules::not_found("account").into())
}

/// The same for several accounts, in the order of their ids.
pub(super) async fn lock_accounts(tx: &mut Tx<'_>, accounts: &BTreeSet<Vec<u8>>) -> Outcome<()> {
    let lock = Statement::new("SELECT id FROM accounts FORCE INDEX (PRIMARY) WHERE id IN ")
        .list(accounts.iter().map(|account| &account[..]))
        .sql(" ORDER BY id FOR UPDATE");
    lock.execute(tx).await?;
    Ok(())
}

/// Locks blobs in the order of their digests.
pub(super) async fn lock_blobs<'b>(
    tx: &mut Tx<'_>,
    blobs: impl Iterator<Item = &'b Bytes>,
) -> Outcome<()> {
    let lock = Statement::new("SELECT blake3 FROM blobs FORCE INDEX (PRIMARY) WHERE blake3 IN ")
        .list(blobs.map(|blake3| &blake3[..]))
        .sql(" ORDER BY blake3 FOR UPDATE");
    lock.execute(tx).await?;
    Ok(())
}

/// Counts one more reference; makes the blob and its transfer when it is new.
pub(super) async fn take_reference(tx: &mut Tx<'_>, content: &Content) -> Outcome<Blob> {
    if content.staging_id.is_empty() {
        return refer_to_existing(tx, content).await;
    }
    // Another account may insert the same blob this moment: then this waits for its commit and
    // counts. `refcount` comes last, the conditions see it unchanged.
    let counted = sqlx::query(
        "INSERT INTO blobs (blake3, size, sha256, sha1, refcount, state, node, staging_id,
            created_at)
        VALUES (?, ?, ?, ?, 1, 1 /* staged */, ?, ?, ?)
        ON DUPLICATE KEY UPDATE
            zero_since = IF(state <> 4 /* deleting */ AND size = VALUES(size), NULL, zero_since),
            sha256 = IF(state <> 4 AND size = VALUES(size),
                COALESCE(sha256, VALUES(sha256)), sha256),
            sha1 = IF(state <> 4 AND size = VALUES(size), COALESCE(sha1, VALUES(sha1)), sha1),
            refcount = IF(state <> 4 AND size = VALUES(size), refcount + 1, refcount)",
    )
    .bind(&content.digests.blake3[..])
    .bind(content.size)
    .bind(nullable(&content.digests.sha256))
    .bind(nullable(&content.digests.sha1))
    .bind(&*content.node)
    .bind(&content.staging_id[..])
    .bind(tx.now)
    .execute(&mut *tx.conn)
    .await?;
    // 1: a new row, or one that stayed as it was; 2: one that changed.
    if counted.rows_affected() == 1 {
        if let Some(blob) = begin_transfer(tx, content).await? {
            return Ok(blob);
        }
        return Err(refusal(tx, content).await?.into());
    }
    let Some(blob) = get(tx, &content.digests.blake3).await? else {
        return Err(Problem::internal("a blob that conflicts is not there").into());
    };
    if blob.state() == BlobState::Staged && !content.is_copy_of(&blob) {
        return replace_doubtful_copy(tx, content, blob).await;
    }
    Ok(blob)
}

/// Makes the transfer of a blob that was just made out of the copy that is offered; `None` when it
/// was not, or when its node was told that nothing refers to the copy.
async fn begin_transfer(tx: &mut Tx<'_>, content: &Content) -> Outcome<Option<Blob>> {
    let begun = sqlx::query(
        "INSERT INTO transfers (blake3, state, attempts, fence, due_at, worker, last_error,
            created_at)
        SELECT b.blake3, 1 /* waiting */, 0, 0, ?, '', '', ?
        FROM blobs b LEFT JOIN abandoned_copies a ON a.staging_id = b.staging_id
        WHERE b.blake3 = ? AND b.state = 1 /* staged */ AND b.size = ? AND a.staging_id IS NULL
        LOCK IN SHARE MODE",
    )
    .bind(tx.now)
    .bind(tx.now)
    .bind(&content.digests.blake3[..])
    .bind(content.size)
    .execute(&mut *tx.conn)
    .await?;
    if begun.rows_affected() == 0 {
        return Ok(None);
    }
    Ok(Some(Blob {
        blake3: content.digests.blake3.clone(),
        size: content.size,
        sha256: content.digests.sha256.clone(),
        sha1: content.digests.sha1.clone(),
        state: BlobState::Staged.into(),
        node: content.node.clone(),
        staging_id: content.staging_id.clone(),
    }))
}

/// Why content that was offered was not taken.
async fn refusal(tx: &mut Tx<'_>, content: &Content) -> Outcome<Problem> {
    let Some(known) = get(tx, &content.digests.blake3).await? else {
        return Ok(Problem::internal("a blob that conflicts is not there"));
    };
    if known.size != content.size {
        let detail = "content with this BLAKE3 digest has another size";
        return Ok(Problem::new(Kind::DigestMismatch, detail));
    }
    if known.state() != BlobState::Deleting {
        return Ok(staging::abandoned());
    }
    let detail = "this content is being removed this moment";
    Ok(Problem::new(Kind::BlobDeleting, detail))
}

/// Content that its path has already was sent once more: `blob`, which mends it if need be.
pub(super) async fn mend(tx: &mut Tx<'_>, content: &Content, blob: Blob) -> Outcome<Blob> {
    if content.staging_id.is_empty() || blob.state() != BlobState::Staged {
        return Ok(blob);
    }
    // It was read without a lock.
    lock_blobs(tx, [&blob.blake3].into_iter()).await?;
    match get(tx, &blob.blake3).await? {
        Some(blob) if blob.state() == BlobState::Staged && !content.is_copy_of(&blob) => {
            replace_doubtful_copy(tx, content, blob).await
        }
        found => Ok(found.unwrap_or(blob)),
    }
}

/// A transfer that is parked, or rests after a failure, means that the staged copy could not be
/// moved: it may be damaged, or its node gone for good. Then the copy that is offered takes its
/// place, and the transfer gets a new chance. What was good after all is removed as a spare copy.
async fn replace_doubtful_copy(tx: &mut Tx<'_>, content: &Content, blob: Blob) -> Outcome<Blob> {
    let revived = sqlx::query(
        "UPDATE transfers SET state = 1 /* waiting */, attempts = 0, due_at = ?
        WHERE blake3 = ? AND (state = 3 /* parked */
            OR (state = 1 AND due_at > ? AND last_error <> ''))",
    )
    .bind(tx.now)
    .bind(&blob.blake3[..])
    .bind(tx.now)
    .execute(&mut *tx.conn)
    .await?;
    if revived.rows_affected() == 0 {
        return Ok(blob);
    }
    sqlx::query("UPDATE blobs SET node = ?, staging_id = ? WHERE blake3 = ?")
        .bind(&*content.node)
        .bind(&content.staging_id[..])
        .bind(&blob.blake3[..])
        .execute(&mut *tx.conn)
        .await?;
    staging::refuse_abandoned(tx, &content.staging_id).await?;
    Ok(Blob {
        node: content.node.clone(),
        staging_id: content.staging_id.clone(),
        ..blob
    })
}

async fn refer_to_existing(tx: &mut Tx<'_>, content: &Content) -> Outcome<Blob> {
    let counted = sqlx::query(
        "UPDATE blobs SET refcount = refcount + 1, zero_since = NULL
        WHERE blake3 = ? AND size = ? AND state <> 4 /* deleting */",
    )
    .bind(&content.digests.blake3[..])
    .bind(content.size)
    .execute(&mut *tx.conn)
    .await?;
    let blob = if counted.rows_affected() == 0 {
        None
    } else {
        get(tx, &content.digests.blake3).await?
    };
    blob.ok_or_else(|| {
        let detail = "this content is not held any more: send it";
        Problem::new(Kind::BlobMissing, detail).into()
    })
}

/// Counts references of blobs that have some, or stop having some, in this account: so many more
/// or less. The last one starts the time after which the blob is removed.
pub(super) async fn change_references(
    tx: &mut Tx<'_>,
    changes: &BTreeMap<Bytes, i64>,
) -> Outcome<()> {
    let changes = changes.iter().filter(|(_, change)| **change != 0);
    let changes: Vec<_> = changes.collect();
    if changes.len() > 1 {
        lock_blobs(tx, changes.iter().map(|(blake3, _)| *blake3)).await?;
    }
    let mut by_change: BTreeMap<i64, Vec<&Bytes>> = BTreeMap::new();
    for (blake3, change) in changes {
        by_change.entry(*change).or_default().push(blake3);
    }
    for (change, blobs) in by_change {
        // Assignments see what stands left of them: `zero_since` needs the old count.
        let update = Statement::new(
            "UPDATE blobs FORCE INDEX (PRIMARY) SET zero_since = CASE WHEN refcount + ",
        )
        .number(change)
        .sql(" = 0 THEN ")
        .number(tx.now)
        .sql(" END, refcount = refcount + ")
        .number(change)
        .sql(" WHERE state <> 4 /* deleting */ AND blake3 IN ")
        .list(blobs.iter().map(|blake3| &blake3[..]));
        if update.execute(tx).await? != blobs.len() as u64 {
            return Err(Problem::internal("a blob is gone while something refers to it").into());
        }
    }
    Ok(())
}

/// A blob by its identity.
pub(super) async fn get(tx: &mut Tx<'_>, blake3: &Bytes) -> Outcome<Option<Blob>> {
    let row: Option<BlobRow> = sqlx::query_as(concat!(
        "SELECT ",
        blob_columns!(),
        " FROM blobs b WHERE b.blake3 = ?"
    ))
    .bind(&blake3[..])
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(row.map(|row| row.0))
}

/// Changes what an account uses and has reserved. Refused when that would take more room than
/// there is; giving room back always works.
pub(super) async fn charge(
    tx: &mut Tx<'_>,
    account: &Bytes,
    used: i64,
    reserved: i64,
) -> Outcome<()> {
    let changed = sqlx::query(
        "UPDATE accounts SET used_bytes = used_bytes + ?, reserved_bytes = reserved_bytes + ?
        WHERE id = ? AND (? <= 0 OR used_bytes + reserved_bytes + ? <= quota_bytes)",
    )
    .bind(used)
    .bind(reserved)
    .bind(&account[..])
    .bind(used + reserved)
    .bind(used + reserved)
    .execute(&mut *tx.conn)
    .await?;
    if changed.rows_affected() == 0 {
        return Err(rules::quota_exceeded().into());
    }
    Ok(())
}

/// Gives room back to several accounts, which are locked: so many bytes each of what they use or
/// have reserved.
pub(super) async fn release(
    tx: &mut Tx<'_>,
    column: Room,
    bytes: &BTreeMap<Vec<u8>, i64>,
) -> Outcome<()> {
    let mut update = Statement::new(match column {
        Room::Used => "UPDATE accounts FORCE INDEX (PRIMARY) SET used_bytes = used_bytes - CASE id",
        Room::Reserved => {
            "UPDATE accounts FORCE INDEX (PRIMARY) SET reserved_bytes = reserved_bytes - CASE id"
        }
    });
    for (account, bytes) in bytes {
        update = update.sql(" WHEN ").bytes(account);
        update = update.sql(" THEN ").number(*bytes);
    }
    let update = update
        .sql(" END WHERE id IN ")
        .list(bytes.keys().map(|account| &account[..]));
    update.execute(tx).await?;
    Ok(())
}

/// What room is taken by.
#[derive(Clone, Copy)]
pub(super) enum Room {
    /// Files, also deleted ones that are not purged yet.
    Used,
    /// Unfinished uploads.
    Reserved,
}
