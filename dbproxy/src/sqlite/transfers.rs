//! Transfers: claims with leases and fencing tokens.
//!
//! `transfers.due_at` is the one time that matters for a row: not before it (waiting), or the end
//! of the lease (claimed). A parked row has none.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::BlobState, transfer::*};
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};

use super::{
    error::Outcome,
    rows::{BlobRow, blob_columns, list, nullable},
    writer::{Command, Tx},
};
use crate::{check, rules};

const LEASE_RAN_OUT: &str = "the lease ran out before the worker reported";

macro_rules! transfer_columns {
    () => {
        concat!(
            "t.state AS transfer_state, t.attempts, t.fence, t.due_at, t.last_error,
            t.created_at, ",
            blob_columns!()
        )
    };
}

struct TransferRow(Transfer);

impl FromRow<'_, SqliteRow> for TransferRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self(Transfer {
            blob: Some(BlobRow::from_row(row)?.0),
            state: row.try_get("transfer_state")?,
            attempts: row.try_get("attempts")?,
            fence: row.try_get("fence")?,
            due_at_ms: row.try_get::<Option<i64>, _>("due_at")?.unwrap_or_default(),
            last_error: row.try_get("last_error")?,
            created_at_ms: row.try_get("created_at")?,
        }))
    }
}

/// The next fencing token, which no claim has had.
pub(super) async fn next_fence(tx: &mut Tx<'_>) -> Outcome<i64> {
    Ok(
        sqlx::query_scalar("UPDATE fences SET last = last + 1 RETURNING last")
            .fetch_one(&mut *tx.conn)
            .await?,
    )
}

#[async_trait]
impl Command for ClaimTransfersRequest {
    type Reply = ClaimTransfersResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ClaimTransfersResponse> {
        let query = if self.blake3.is_empty() {
            sqlx::query_as(concat!(
                "SELECT ",
                transfer_columns!(),
                " FROM transfers t CROSS JOIN blobs b ON b.blake3 = t.blake3
                WHERE t.due_at <= ?1 ORDER BY t.due_at LIMIT ?2"
            ))
            .bind(tx.now)
        } else {
            sqlx::query_as(concat!(
                "SELECT ",
                transfer_columns!(),
                " FROM json_each(?3) j CROSS JOIN transfers t ON t.blake3 = unhex(j.value)
                CROSS JOIN blobs b ON b.blake3 = t.blake3
                WHERE t.due_at <= ?1 GROUP BY t.blake3 ORDER BY j.key LIMIT ?2"
            ))
            .bind(tx.now)
        };
        let rows: Vec<TransferRow> = query
            .bind(check::limit(self.limit))
            .bind(list(&self.blake3))
            .fetch_all(&mut *tx.conn)
            .await?;
        let mut transfers = Vec::with_capacity(rows.len());
        if rows.is_empty() {
            return Ok(ClaimTransfersResponse { transfers });
        }
        // One token for the whole claim: it has to differ between claims of one blob only.
        let fence = next_fence(tx).await?;
        for TransferRow(mut transfer) in rows {
            claim(tx, &self, fence, &mut transfer).await?;
            transfers.push(transfer);
        }
        Ok(ClaimTransfersResponse { transfers })
    }
}

async fn claim(
    tx: &mut Tx<'_>,
    request: &ClaimTransfersRequest,
    fence: i64,
    transfer: &mut Transfer,
) -> Outcome<()> {
    if transfer.state() == TransferState::Claimed {
        transfer.attempts += 1;
        LEASE_RAN_OUT.clone_into(&mut transfer.last_error);
    }
    transfer.set_state(TransferState::Claimed);
    transfer.fence = fence;
    transfer.due_at_ms = tx.now + request.lease_ms;
    let mut blob = transfer.blob.take().unwrap_or_default();
    blob.set_state(BlobState::Transferring);
    sqlx::query(
        "UPDATE transfers SET state = 2 /* claimed */, attempts = ?2, fence = ?3, due_at = ?4,
            last_error = ?5, worker = ?6
        WHERE blake3 = ?1",
    )
    .bind(&blob.blake3[..])
    .bind(transfer.attempts)
    .bind(transfer.fence)
    .bind(transfer.due_at_ms)
    .bind(&*transfer.last_error)
    .bind(&*request.worker)
    .execute(&mut *tx.conn)
    .await?;
    sqlx::query("UPDATE blobs SET state = 2 /* transferring */ WHERE blake3 = ? AND state = 1")
        .bind(&blob.blake3[..])
        .execute(&mut *tx.conn)
        .await?;
    transfer.blob = Some(blob);
    Ok(())
}

#[async_trait]
impl Command for RenewTransferRequest {
    type Reply = RenewTransferResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<RenewTransferResponse> {
        let renewed = sqlx::query(
            "UPDATE transfers SET due_at = ?3
            WHERE blake3 = ?1 AND fence = ?2 AND state = 2 /* claimed */",
        )
        .bind(&self.blake3[..])
        .bind(self.fence)
        .bind(tx.now + self.lease_ms)
        .execute(&mut *tx.conn)
        .await?;
        if renewed.rows_affected() == 0 {
            return Err(rules::lease_lost().into());
        }
        Ok(RenewTransferResponse {})
    }
}

#[async_trait]
impl Command for CommitTransfersRequest {
    type Reply = CommitTransfersResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<CommitTransfersResponse> {
        let mut committed = Vec::with_capacity(self.commits.len());
        for commit in &self.commits {
            committed.push(store(tx, commit).await?);
        }
        Ok(CommitTransfersResponse { committed })
    }
}

/// transferring -> stored; false when the lease is somebody else's.
async fn store(tx: &mut Tx<'_>, commit: &CommitTransfer) -> Outcome<bool> {
    let ended = sqlx::query(
        "DELETE FROM transfers WHERE blake3 = ? AND fence = ? AND state = 2 /* claimed */",
    )
    .bind(&commit.blake3[..])
    .bind(commit.fence)
    .execute(&mut *tx.conn)
    .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE blobs SET state = 3 /* stored */, stored_at = ?2, sha256 = coalesce(sha256, ?3),
            sha1 = coalesce(sha1, ?4)
        WHERE blake3 = ?1",
    )
    .bind(&commit.blake3[..])
    .bind(tx.now)
    .bind(nullable(&commit.sha256))
    .bind(nullable(&commit.sha1))
    .execute(&mut *tx.conn)
    .await?;
    Ok(true)
}

#[async_trait]
impl Command for FailTransferRequest {
    type Reply = FailTransferResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<FailTransferResponse> {
        let (state, due_at) = if self.park {
            (TransferState::Parked, None)
        } else {
            (TransferState::Waiting, Some(tx.now + self.retry_after_ms))
        };
        let failed = sqlx::query(
            "UPDATE transfers SET state = ?3, attempts = attempts + ?6, due_at = ?4,
                last_error = ?5
            WHERE blake3 = ?1 AND fence = ?2 AND state = 2 /* claimed */",
        )
        .bind(&self.blake3[..])
        .bind(self.fence)
        .bind(i32::from(state))
        .bind(due_at)
        .bind(rules::truncated(&self.error, rules::MAX_ERROR_BYTES))
        .bind(i32::from(
            self.park || (self.retry_after_ms > 0 && !self.blameless),
        ))
        .execute(&mut *tx.conn)
        .await?;
        if failed.rows_affected() == 0 {
            return Err(rules::lease_lost().into());
        }
        sqlx::query("UPDATE blobs SET state = 1 /* staged */ WHERE blake3 = ? AND state = 2")
            .bind(&self.blake3[..])
            .execute(&mut *tx.conn)
            .await?;
        Ok(FailTransferResponse {})
    }
}

#[async_trait]
impl Command for ListTransfersRequest {
    type Reply = ListTransfersResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListTransfersResponse> {
        let rows: Vec<TransferRow> = sqlx::query_as(concat!(
            "SELECT ",
            transfer_columns!(),
            " FROM transfers t CROSS JOIN blobs b ON b.blake3 = t.blake3
            WHERE ?1 = 0 OR t.state = ?1 ORDER BY t.created_at, t.blake3 LIMIT ?2"
        ))
        .bind(self.state)
        .bind(check::limit(self.limit))
        .fetch_all(&mut *tx.conn)
        .await?;
        Ok(ListTransfersResponse {
            transfers: rows.into_iter().map(|row| row.0).collect(),
        })
    }
}

#[async_trait]
impl Command for ReplayTransfersRequest {
    type Reply = ReplayTransfersResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ReplayTransfersResponse> {
        let replayed = sqlx::query(
            "UPDATE transfers SET state = 1 /* waiting */, attempts = 0, due_at = ?1
            WHERE state = 3 /* parked */
                AND (?2 OR blake3 IN (SELECT unhex(value) FROM json_each(?3)))",
        )
        .bind(tx.now)
        .bind(self.blake3.is_empty())
        .bind(list(&self.blake3))
        .execute(&mut *tx.conn)
        .await?;
        let replayed = u32::try_from(replayed.rows_affected()).unwrap_or(u32::MAX);
        Ok(ReplayTransfersResponse { replayed })
    }
}

#[async_trait]
impl Command for ParkTransfersRequest {
    type Reply = ParkTransfersResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ParkTransfersResponse> {
        let parked = sqlx::query(
            "UPDATE transfers SET state = 3 /* parked */, due_at = NULL, last_error = ?1
            WHERE state = 1 /* waiting */ AND blake3 IN (SELECT unhex(value) FROM json_each(?2))",
        )
        .bind(rules::truncated(&self.reason, rules::MAX_ERROR_BYTES))
        .bind(list(&self.blake3))
        .execute(&mut *tx.conn)
        .await?;
        let parked = u32::try_from(parked.rows_affected()).unwrap_or(u32::MAX);
        Ok(ParkTransfersResponse { parked })
    }
}

#[async_trait]
impl Command for FindBlobsRequest {
    type Reply = FindBlobsResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<FindBlobsResponse> {
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
            "SELECT blake3 FROM blobs WHERE blake3 IN (SELECT unhex(value) FROM json_each(?))",
        )
        .bind(list(&self.blake3))
        .fetch_all(&mut *tx.conn)
        .await?;
        let known: HashSet<_> = rows.iter().map(|(blake3,)| &blake3[..]).collect();
        let known = self.blake3.iter().map(|blake3| known.contains(&blake3[..]));
        Ok(FindBlobsResponse {
            known: known.collect(),
        })
    }
}

#[async_trait]
impl Command for ListStagedCopiesRequest {
    type Reply = ListStagedCopiesResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListStagedCopiesResponse> {
        let rows: Vec<BlobRow> = sqlx::query_as(concat!(
            "SELECT ",
            blob_columns!(),
            " FROM blobs b
            WHERE b.stored_at <= ? AND b.staging_id IS NOT NULL AND b.state = 3 /* stored */
                AND b.node NOT IN (SELECT value FROM json_each(?))
            ORDER BY b.stored_at LIMIT ?"
        ))
        .bind(tx.now - self.grace_ms)
        .bind(serde_json::Value::from(self.except_nodes).to_string())
        .bind(check::limit(self.limit))
        .fetch_all(&mut *tx.conn)
        .await?;
        Ok(ListStagedCopiesResponse {
            blobs: rows.into_iter().map(|row| row.0).collect(),
        })
    }
}

#[async_trait]
impl Command for ForgetStagedCopiesRequest {
    type Reply = ForgetStagedCopiesResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ForgetStagedCopiesResponse> {
        for blob in &self.blobs {
            forget(tx, &blob.blake3, &blob.node, &blob.staging_id).await?;
        }
        Ok(ForgetStagedCopiesResponse {})
    }
}

async fn forget(tx: &mut Tx<'_>, blake3: &Bytes, node: &str, staging_id: &Bytes) -> Outcome<()> {
    sqlx::query(
        "UPDATE blobs SET node = '', staging_id = NULL
        WHERE blake3 = ? AND node = ? AND staging_id = ? AND state = 3 /* stored */",
    )
    .bind(&blake3[..])
    .bind(node)
    .bind(&staging_id[..])
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}
