//! The end of blobs that nothing refers to.

use async_trait::async_trait;
use cloudstore_proto::{file::BlobState, transfer::*};

use super::{
    error::Outcome,
    rows::{BlobRow, blob_columns},
    transfers::next_fence,
    writer::{Command, Tx},
};
use crate::{check, rules};

#[async_trait]
impl Command for ClaimGarbageRequest {
    type Reply = ClaimGarbageResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ClaimGarbageResponse> {
        let rows: Vec<BlobRow> = sqlx::query_as(concat!(
            "SELECT ",
            blob_columns!(),
            " FROM blobs b
            WHERE b.zero_since <= ?1 AND b.lease_until <= ?2
                AND NOT EXISTS (SELECT 1 FROM transfers t
                    WHERE t.blake3 = b.blake3 AND t.state = 2 /* claimed */ AND t.due_at > ?2)
            ORDER BY b.zero_since LIMIT ?3"
        ))
        .bind(tx.now - self.grace_ms)
        .bind(tx.now)
        .bind(check::limit(self.limit))
        .fetch_all(&mut *tx.conn)
        .await?;
        let mut blobs = Vec::with_capacity(rows.len());
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
                "UPDATE blobs SET state = 4 /* deleting */, fence = ?2, lease_until = ?3
                WHERE blake3 = ?1",
            )
            .bind(&blob.blake3[..])
            .bind(fence)
            .bind(tx.now + self.lease_ms)
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

#[async_trait]
impl Command for ConfirmDeletedRequest {
    type Reply = ConfirmDeletedResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ConfirmDeletedResponse> {
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
