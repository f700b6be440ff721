//! The end of blobs that nothing refers to.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::BlobState, transfer::*};

use super::{
    error::Outcome,
    rows::{BlobRow, blob_columns},
    statement::Statement,
    transfers::next_fence,
    tx::{Command, Tx},
};
use crate::{check, rules};

#[async_trait]
impl Command for ClaimGarbageRequest {
    type Reply = ClaimGarbageResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ClaimGarbageResponse> {
        let mut blobs = Vec::new();
        let rows = unreferenced(tx, self).await?;
        let held = being_transferred(tx, &rows).await?;
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|row| !held.contains(&row.0.blake3))
            .collect();
        if rows.is_empty() {
            return Ok(ClaimGarbageResponse { blobs });
        }
        let fence = next_fence(tx).await?;
        for BlobRow(mut blob) in rows {
            // Takes the fence of a worker whose lease ran out with it.
            sqlx::query("DELETE FROM transfers WHERE blake3 = ?")
                .bind(&blob.blake3[..])
                .execute(&mut *tx.conn)
                .await?;
            sqlx::query(
                "UPDATE blobs SET state = 4 /* deleting */, fence = ?, lease_until = ?
                WHERE blake3 = ?",
            )
            .bind(fence)
            .bind(tx.now + self.lease_ms)
            .bind(&blob.blake3[..])
            .execute(&mut *tx.conn)
            .await?;
            blob.set_state(BlobState::Deleting);
            blobs.push(Garbage {
                blob: Some(blob),
                fence,
            });
        }
        Ok(ClaimGarbageResponse { blobs })
    }
}

/// Locks blobs that may go, longest unreferenced first. Found without a lock, then locked in
/// order and looked at again. A blob that somebody is at is not garbage, or will be tomorrow.
async fn unreferenced(tx: &mut Tx<'_>, request: &ClaimGarbageRequest) -> Outcome<Vec<BlobRow>> {
    let found: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT b.blake3 FROM blobs b
        WHERE b.zero_since <= ? AND b.lease_until <= ?
            AND NOT EXISTS (SELECT 1 FROM transfers t
                WHERE t.blake3 = b.blake3 AND t.state = 2 /* claimed */ AND t.due_at > ?)
        ORDER BY b.zero_since LIMIT ?",
    )
    .bind(tx.now - request.grace_ms)
    .bind(tx.now)
    .bind(tx.now)
    .bind(check::limit(request.limit))
    .fetch_all(&mut *tx.conn)
    .await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let select = Statement::new(concat!(
        "SELECT ",
        blob_columns!(),
        " FROM blobs b WHERE b.blake3 IN "
    ));
    let select = select
        .list(found.iter().map(|blake3| &blake3[..]))
        .sql(" AND b.zero_since <= ")
        .number(tx.now - request.grace_ms)
        .sql(" AND b.lease_until <= ")
        .number(tx.now)
        .sql(" ORDER BY b.blake3 FOR UPDATE SKIP LOCKED");
    let mut rows: Vec<BlobRow> = select.fetch(tx).await?;
    rows.sort_by_key(|row| found.iter().position(|blake3| *blake3 == row.0.blake3));
    Ok(rows)
}

/// Locks the transfers of these blobs, and says which of them a worker is at.
async fn being_transferred(tx: &mut Tx<'_>, blobs: &[BlobRow]) -> Outcome<HashSet<Bytes>> {
    if blobs.is_empty() {
        return Ok(HashSet::new());
    }
    let select = Statement::new("SELECT blake3, state, due_at FROM transfers WHERE blake3 IN ")
        .list(blobs.iter().map(|row| &row.0.blake3[..]))
        .sql(" ORDER BY blake3 FOR UPDATE");
    let rows: Vec<(Vec<u8>, i32, Option<i64>)> = select.fetch(tx).await?;
    let claimed = rows.into_iter().filter(|(_, state, due_at)| {
        *state == i32::from(TransferState::Claimed) && due_at.is_some_and(|due| due > tx.now)
    });
    Ok(claimed.map(|(blake3, ..)| blake3.into()).collect())
}

#[async_trait]
impl Command for ConfirmDeletedRequest {
    type Reply = ConfirmDeletedResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ConfirmDeletedResponse> {
        let removed = sqlx::query(
            "DELETE FROM blobs WHERE blake3 = ? AND fence = ? AND state = 4 /* deleting */",
        )
        .bind(&self.blake3[..])
        .bind(self.fence)
        .execute(&mut *tx.conn)
        .await?;
        if removed.rows_affected() == 0 {
            return Err(rules::lease_lost().into());
        }
        Ok(ConfirmDeletedResponse {})
    }
}
