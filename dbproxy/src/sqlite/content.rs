//! References to blobs, and the room of accounts.

use bytes::Bytes;
use cloudstore_proto::{
    file::{Blob, BlobState},
    upload::Digests,
};
use cloudstore_service::{Kind, Problem};

use super::{
    error::Outcome,
    rows::{BlobRow, blob_columns, nullable},
    writer::Tx,
};
use crate::rules::{self, Lookup, Match};

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

/// Counts one more reference; makes the blob and its transfer when it is new.
pub(super) async fn take_reference(tx: &mut Tx<'_>, content: &Content) -> Outcome<Blob> {
    if content.staging_id.is_empty() {
        return refer_to_existing(tx, content).await;
    }
    // Two statements in one call, which saves a switch between threads: the second makes the
    // transfer if the first made the blob out of the copy that is offered.
    let rows: Vec<BlobRow> = sqlx::query_as(
        "INSERT INTO blobs (blake3, size, sha256, sha1, refcount, state, node, staging_id,
            created_at)
        VALUES (?1, ?2, ?3, ?4, 1, 1 /* staged */, ?5, ?6, ?7)
        ON CONFLICT (blake3) DO UPDATE SET refcount = refcount + 1, zero_since = NULL,
            sha256 = coalesce(sha256, excluded.sha256), sha1 = coalesce(sha1, excluded.sha1)
        WHERE state <> 4 /* deleting */ AND size = excluded.size
        RETURNING blake3, size, sha256, sha1, state, node, staging_id;
        INSERT INTO transfers (blake3, state, attempts, fence, due_at, worker, last_error,
            created_at)
        SELECT blake3, 1 /* waiting */, 0, 0, ?7, '', '', ?7 FROM blobs
        WHERE blake3 = ?1 AND state = 1 /* staged */ AND node = ?5 AND staging_id = ?6
        ON CONFLICT (blake3) DO NOTHING",
    )
    .bind(&content.digests.blake3[..])
    .bind(content.size)
    .bind(nullable(&content.digests.sha256))
    .bind(nullable(&content.digests.sha1))
    .bind(&*content.node)
    .bind(&content.staging_id[..])
    .bind(tx.now)
    .fetch_all(&mut *tx.conn)
    .await?;
    let Some(BlobRow(blob)) = rows.into_iter().next() else {
        let Some(known) = get(tx, &content.digests.blake3).await? else {
            return Err(Problem::internal("a blob that conflicts is not there").into());
        };
        if known.size == content.size {
            let detail = "this content is being removed this moment";
            return Err(Problem::new(Kind::BlobDeleting, detail).into());
        }
        let detail = "content with this BLAKE3 digest has another size";
        return Err(Problem::new(Kind::DigestMismatch, detail).into());
    };
    if blob.state() == BlobState::Staged && !content.is_copy_of(&blob) {
        return replace_parked_copy(tx, content, blob).await;
    }
    Ok(blob)
}

/// A parked transfer means that the staged copy could not be moved, most likely because it is
/// damaged. Then the copy that is offered takes its place, and the transfer gets a new chance.
async fn replace_parked_copy(tx: &mut Tx<'_>, content: &Content, blob: Blob) -> Outcome<Blob> {
    let revived = sqlx::query(
        "UPDATE transfers SET state = 1 /* waiting */, attempts = 0, due_at = ?2
        WHERE blake3 = ?1 AND state = 3 /* parked */",
    )
    .bind(&blob.blake3[..])
    .bind(tx.now)
    .execute(&mut *tx.conn)
    .await?;
    if revived.rows_affected() == 0 {
        return Ok(blob);
    }
    sqlx::query("UPDATE blobs SET node = ?2, staging_id = ?3 WHERE blake3 = ?1")
        .bind(&blob.blake3[..])
        .bind(&*content.node)
        .bind(&content.staging_id[..])
        .execute(&mut *tx.conn)
        .await?;
    Ok(Blob {
        node: content.node.clone(),
        staging_id: content.staging_id.clone(),
        ..blob
    })
}

/// Content that its path has already was sent once more: `blob`, which mends it if need be.
pub(super) async fn mend(tx: &mut Tx<'_>, content: &Content, blob: Blob) -> Outcome<Blob> {
    if content.staging_id.is_empty()
        || blob.state() != BlobState::Staged
        || content.is_copy_of(&blob)
    {
        return Ok(blob);
    }
    replace_parked_copy(tx, content, blob).await
}

/// Could the only copy of this content not be moved?
pub(super) async fn is_parked(tx: &mut Tx<'_>, blob: &Blob) -> Outcome<bool> {
    if blob.state() != BlobState::Staged {
        return Ok(false);
    }
    let parked: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM transfers WHERE blake3 = ? AND state = 3 /* parked */")
            .bind(&blob.blake3[..])
            .fetch_optional(&mut *tx.conn)
            .await?;
    Ok(parked.is_some())
}

async fn refer_to_existing(tx: &mut Tx<'_>, content: &Content) -> Outcome<Blob> {
    let row: Option<BlobRow> = sqlx::query_as(
        "UPDATE blobs SET refcount = refcount + 1, zero_since = NULL
        WHERE blake3 = ? AND size = ? AND state <> 4 /* deleting */
        RETURNING blake3, size, sha256, sha1, state, node, staging_id",
    )
    .bind(&content.digests.blake3[..])
    .bind(content.size)
    .fetch_optional(&mut *tx.conn)
    .await?;
    row.map(|row| row.0).ok_or_else(|| {
        Problem::new(
            Kind::BlobMissing,
            "this content is not held any more: send it",
        )
        .into()
    })
}

/// Counts more references to content that the account holds.
pub(super) async fn add_references(tx: &mut Tx<'_>, blake3: &[u8], count: i64) -> Outcome<()> {
    let counted = sqlx::query(
        "UPDATE blobs SET refcount = refcount + ?2, zero_since = NULL
        WHERE blake3 = ?1 AND state <> 4 /* deleting */",
    )
    .bind(blake3)
    .bind(count)
    .execute(&mut *tx.conn)
    .await?;
    if counted.rows_affected() == 0 {
        return Err(Problem::internal("a blob is gone while something refers to it").into());
    }
    Ok(())
}

/// Counts `count` references less. The last one starts the time after which the blob is removed.
pub(super) async fn drop_references(tx: &mut Tx<'_>, blake3: &[u8], count: i64) -> Outcome<()> {
    sqlx::query(
        "UPDATE blobs SET refcount = refcount - ?2,
            zero_since = CASE WHEN refcount = ?2 THEN ?3 END
        WHERE blake3 = ?1",
    )
    .bind(blake3)
    .bind(count)
    .bind(tx.now)
    .execute(&mut *tx.conn)
    .await?;
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

/// Content that was found by declared digests.
pub(super) struct Candidate {
    pub(super) blob: Blob,
    /// The declared digests identify it; otherwise they only found it.
    pub(super) identified: bool,
    /// The account refers to it already, if only by an entry that was deleted and not purged yet.
    pub(super) held: bool,
}

/// Looks declared content up. Content that could not be moved is not offered: whoever has it may
/// well have the only good copy. One statement whatever the answer, so that it takes the same time.
pub(super) async fn find(
    tx: &mut Tx<'_>,
    account: &Bytes,
    declared: &Digests,
    size: i64,
) -> Outcome<Option<Candidate>> {
    macro_rules! by {
        ($column:literal) => {
            concat!(
                "SELECT ",
                blob_columns!(),
                ", EXISTS (SELECT 1 FROM entries WHERE blob = b.blake3 AND owner = ?3) AS held
                FROM blobs b WHERE b.",
                $column,
                " = ?1 AND b.size = ?2 AND b.state <> 4 /* deleting */
                    AND NOT EXISTS (SELECT 1 FROM transfers
                        WHERE blake3 = b.blake3 AND state = 3 /* parked */) LIMIT 2"
            )
        };
    }
    let (sql, digest) = match rules::lookup(declared) {
        None => return Ok(None),
        Some(Lookup::Blake3(digest)) => (by!("blake3"), digest),
        Some(Lookup::Sha256(digest)) => (by!("sha256"), digest),
        Some(Lookup::Sha1(digest)) => (by!("sha1"), digest),
    };
    let rows = sqlx::query(sql)
        .bind(&digest[..])
        .bind(size)
        .bind(&account[..])
        .fetch_all(&mut *tx.conn)
        .await?;
    // Two blobs under one digest: it does not tell which one is meant.
    let [row] = rows.as_slice() else {
        return Ok(None);
    };
    let BlobRow(blob) = sqlx::FromRow::from_row(row)?;
    let identified = match rules::matches(declared, size, &blob) {
        Match::No => return Ok(None),
        Match::Found => false,
        Match::Identified => true,
    };
    Ok(Some(Candidate {
        blob,
        identified,
        held: sqlx::Row::try_get(row, "held")?,
    }))
}

/// Bytes of an account that are neither used nor reserved.
pub(super) async fn free(tx: &mut Tx<'_>, account: &Bytes) -> Outcome<i64> {
    let free: Option<i64> = sqlx::query_scalar(
        "SELECT quota_bytes - used_bytes - reserved_bytes FROM accounts WHERE id = ?",
    )
    .bind(&account[..])
    .fetch_optional(&mut *tx.conn)
    .await?;
    free.ok_or_else(|| rules::not_found("account").into())
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
        "UPDATE accounts SET used_bytes = used_bytes + ?2, reserved_bytes = reserved_bytes + ?3
        WHERE id = ?1
            AND (?2 + ?3 <= 0 OR used_bytes + reserved_bytes + ?2 + ?3 <= quota_bytes)",
    )
    .bind(&account[..])
    .bind(used)
    .bind(reserved)
    .execute(&mut *tx.conn)
    .await?;
    if changed.rows_affected() == 0 {
        return Err(rules::quota_exceeded().into());
    }
    Ok(())
}
