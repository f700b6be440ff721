//! Transfers: claims with leases and fencing tokens.
//!
//! `transfers.due_at` is the one time that matters for a row: not before it (waiting), or the end
//! of the lease (claimed). A parked row has none.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::BlobState, transfer::*};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    error::Outcome,
    rows::{BlobRow, blob_columns, nullable, text},
    statement::Statement,
    tx::{Command, Tx},
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

impl FromRow<'_, MySqlRow> for TransferRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self(Transfer {
            blob: Some(BlobRow::from_row(row)?.0),
            state: row.try_get("transfer_state")?,
            attempts: u32::try_from(row.try_get::<i32, _>("attempts")?).unwrap_or_default(),
            fence: row.try_get("fence")?,
            due_at_ms: row.try_get::<Option<i64>, _>("due_at")?.unwrap_or_default(),
            last_error: text(row, "last_error")?,
            created_at_ms: row.try_get("created_at")?,
        }))
    }
}

/// The next fencing token, which no claim has had.
pub(super) async fn next_fence(tx: &mut Tx<'_>) -> Outcome<i64> {
    sqlx::query("UPDATE fences SET last = last + 1")
        .execute(&mut *tx.conn)
        .await?;
    // Nobody else changes the row until the end of this transaction.
    Ok(sqlx::query_scalar("SELECT last FROM fences")
        .fetch_one(&mut *tx.conn)
        .await?)
}

/// Locks these blobs in the order that everybody locks them in; says which there are. Those that
/// somebody else has locked are waited for, or left out.
async fn lock(tx: &mut Tx<'_>, digests: &[Bytes], skip_locked: bool) -> Outcome<HashSet<Bytes>> {
    if digests.is_empty() {
        return Ok(HashSet::new());
    }
    let select = Statement::new("SELECT blake3 FROM blobs WHERE blake3 IN ")
        .list(digests.iter().map(|digest| &digest[..]))
        .sql(" ORDER BY blake3 FOR UPDATE")
        .sql(if skip_locked { " SKIP LOCKED" } else { "" });
    let rows: Vec<(Vec<u8>,)> = select.fetch(tx).await?;
    Ok(rows.into_iter().map(|(blake3,)| blake3.into()).collect())
}

#[async_trait]
impl Command for ClaimTransfersRequest {
    type Reply = ClaimTransfersResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ClaimTransfersResponse> {
        let named = !self.blake3.is_empty();
        let mut wanted = if named {
            self.blake3.clone()
        } else {
            due(tx, self.limit).await?
        };
        // Any will do when none is named: several workers take different ones without waiting.
        let locked = lock(tx, &wanted, !named).await?;
        wanted.retain(|digest| locked.contains(digest));
        let mut rows = locked_and_due(tx, &wanted).await?;
        let place = |row: &TransferRow| {
            let blob = row.0.blob.as_ref();
            blob.and_then(|blob| wanted.iter().position(|digest| *digest == blob.blake3))
        };
        rows.sort_by_key(place);
        rows.truncate(check::limit(self.limit) as usize);
        let mut transfers = Vec::with_capacity(rows.len());
        if rows.is_empty() {
            return Ok(ClaimTransfersResponse { transfers });
        }
        // One token for the whole claim: it has to differ between claims of one blob only.
        let fence = next_fence(tx).await?;
        for TransferRow(mut transfer) in rows {
            claim(tx, self, fence, &mut transfer).await?;
            transfers.push(transfer);
        }
        Ok(ClaimTransfersResponse { transfers })
    }
}

/// Transfers whose time has come, oldest first; not locked.
async fn due(tx: &mut Tx<'_>, limit: u32) -> Outcome<Vec<Bytes>> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT blake3 FROM transfers WHERE due_at <= ? ORDER BY due_at LIMIT ?",
    )
    .bind(tx.now)
    .bind(check::limit(limit))
    .fetch_all(&mut *tx.conn)
    .await?;
    Ok(rows.into_iter().map(Bytes::from).collect())
}

/// Locks the transfers of blobs that are locked, if their time has come.
async fn locked_and_due(tx: &mut Tx<'_>, digests: &[Bytes]) -> Outcome<Vec<TransferRow>> {
    if digests.is_empty() {
        return Ok(Vec::new());
    }
    let select = Statement::new(concat!(
        "SELECT ",
        transfer_columns!(),
        " FROM transfers t JOIN blobs b ON b.blake3 = t.blake3 WHERE t.blake3 IN "
    ));
    let select = select
        .list(digests.iter().map(|digest| &digest[..]))
        .sql(" AND t.due_at <= ")
        .number(tx.now)
        .sql(" ORDER BY t.blake3 FOR UPDATE");
    select.fetch(tx).await
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
        "UPDATE transfers SET state = 2 /* claimed */, attempts = ?, fence = ?, due_at = ?,
            last_error = ?, worker = ?
        WHERE blake3 = ?",
    )
    .bind(transfer.attempts)
    .bind(transfer.fence)
    .bind(transfer.due_at_ms)
    .bind(&*transfer.last_error)
    .bind(&*request.worker)
    .bind(&blob.blake3[..])
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<RenewTransferResponse> {
        let renewed = sqlx::query(
            "UPDATE transfers SET due_at = ?
            WHERE blake3 = ? AND fence = ? AND state = 2 /* claimed */",
        )
        .bind(tx.now + self.lease_ms)
        .bind(&self.blake3[..])
        .bind(self.fence)
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<CommitTransfersResponse> {
        let digests: Vec<_> = self.commits.iter().map(|one| one.blake3.clone()).collect();
        lock(tx, &digests, false).await?;
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
        "UPDATE blobs SET state = 3 /* stored */, stored_at = ?, sha256 = coalesce(sha256, ?),
            sha1 = coalesce(sha1, ?)
        WHERE blake3 = ?",
    )
    .bind(tx.now)
    .bind(nullable(&commit.sha256))
    .bind(nullable(&commit.sha1))
    .bind(&commit.blake3[..])
    .execute(&mut *tx.conn)
    .await?;
    Ok(true)
}

#[async_trait]
impl Command for FailTransferRequest {
    type Reply = FailTransferResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<FailTransferResponse> {
        lock(tx, std::slice::from_ref(&self.blake3), false).await?;
        let (state, due_at) = if self.park {
            (TransferState::Parked, None)
        } else {
            (TransferState::Waiting, Some(tx.now + self.retry_after_ms))
        };
        let failed = sqlx::query(
            "UPDATE transfers SET attempts = attempts + ?, due_at = ?, last_error = ?,
                state = ?
            WHERE blake3 = ? AND fence = ? AND state = 2 /* claimed */",
        )
        .bind(i32::from(
            self.park || (self.retry_after_ms > 0 && !self.blameless),
        ))
        .bind(due_at)
        .bind(rules::truncated(&self.error, rules::MAX_ERROR_BYTES))
        .bind(i32::from(state))
        .bind(&self.blake3[..])
        .bind(self.fence)
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListTransfersResponse> {
        let rows: Vec<TransferRow> = sqlx::query_as(concat!(
            "SELECT ",
            transfer_columns!(),
            " FROM transfers t JOIN blobs b ON b.blake3 = t.blake3
            WHERE ? = 0 OR t.state = ? ORDER BY t.created_at, t.blake3 LIMIT ?"
        ))
        .bind(self.state)
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ReplayTransfersResponse> {
        let digests = if self.blake3.is_empty() {
            let parked: Vec<Vec<u8>> =
                sqlx::query_scalar("SELECT blake3 FROM transfers WHERE state = 3 /* parked */")
                    .fetch_all(&mut *tx.conn)
                    .await?;
            parked.into_iter().map(Bytes::from).collect()
        } else {
            self.blake3.clone()
        };
        let mut replayed = 0;
        for digests in digests.chunks(check::MAX_ROWS as usize) {
            lock(tx, digests, false).await?;
            let update = Statement::new(
                "UPDATE transfers SET state = 1 /* waiting */, attempts = 0, due_at = ",
            )
            .number(tx.now)
            .sql(" WHERE state = 3 /* parked */ AND blake3 IN ")
            .list(digests.iter().map(|digest| &digest[..]));
            replayed += update.execute(tx).await?;
        }
        let replayed = u32::try_from(replayed).unwrap_or(u32::MAX);
        Ok(ReplayTransfersResponse { replayed })
    }
}

#[async_trait]
impl Command for ParkTransfersRequest {
    type Reply = ParkTransfersResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ParkTransfersResponse> {
        if self.blake3.is_empty() {
            return Ok(ParkTransfersResponse { parked: 0 });
        }
        lock(tx, &self.blake3, false).await?;
        let update = Statement::new(
            "UPDATE transfers SET state = 3 /* parked */, due_at = NULL, last_error = ",
        )
        .text(rules::truncated(&self.reason, rules::MAX_ERROR_BYTES))
        .sql(" WHERE state = 1 /* waiting */ AND blake3 IN ")
        .list(self.blake3.iter().map(|digest| &digest[..]));
        let parked = update.execute(tx).await?;
        let parked = u32::try_from(parked).unwrap_or(u32::MAX);
        Ok(ParkTransfersResponse { parked })
    }
}

#[async_trait]
impl Command for FindBlobsRequest {
    type Reply = FindBlobsResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<FindBlobsResponse> {
        if self.blake3.is_empty() {
            return Ok(FindBlobsResponse::default());
        }
        let select = Statement::new("SELECT blake3 FROM blobs WHERE blake3 IN ")
            .list(self.blake3.iter().map(|digest| &digest[..]));
        let rows: Vec<(Vec<u8>,)> = select.fetch(tx).await?;
        let known: HashSet<&[u8]> = rows.iter().map(|(blake3,)| &blake3[..]).collect();
        let known = self.blake3.iter().map(|blake3| known.contains(&blake3[..]));
        Ok(FindBlobsResponse {
            known: known.collect(),
        })
    }
}

#[async_trait]
impl Command for ListStagedCopiesRequest {
    type Reply = ListStagedCopiesResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListStagedCopiesResponse> {
        // No node has an empty name: the list always has something in it.
        let nodes = self.except_nodes.iter().map(|node| node.as_bytes());
        let select = Statement::new(concat!(
            "SELECT ",
            blob_columns!(),
            " FROM blobs b WHERE b.state = 3 /* stored */ AND b.spare_since <= "
        ));
        let select = select
            .number(tx.now - self.grace_ms)
            .sql(" AND b.node NOT IN ")
            .list(nodes.chain([&b""[..]]))
            .sql(" ORDER BY b.spare_since LIMIT ")
            .number(check::limit(self.limit).into());
        let rows: Vec<BlobRow> = select.fetch(tx).await?;
        Ok(ListStagedCopiesResponse {
            blobs: rows.into_iter().map(|row| row.0).collect(),
        })
    }
}

#[async_trait]
impl Command for ForgetStagedCopiesRequest {
    type Reply = ForgetStagedCopiesResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ForgetStagedCopiesResponse> {
        let digests: Vec<_> = self.blobs.iter().map(|blob| blob.blake3.clone()).collect();
        lock(tx, &digests, false).await?;
        for blob in &self.blobs {
            sqlx::query(
                "UPDATE blobs SET node = '', staging_id = NULL
                WHERE blake3 = ? AND node = ? AND staging_id = ? AND state = 3 /* stored */",
            )
            .bind(&blob.blake3[..])
            .bind(blob.node.as_bytes())
            .bind(&blob.staging_id[..])
            .execute(&mut *tx.conn)
            .await?;
        }
        Ok(ForgetStagedCopiesResponse {})
    }
}
