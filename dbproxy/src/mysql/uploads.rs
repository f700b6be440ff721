//! Rows of uploads: reading, ending, forgetting.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::upload::*;
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    content::{self, Room},
    error::Outcome,
    rows::{optional, text},
    staging,
    statement::Statement,
    tree,
    tx::{Command, Tx},
};
use crate::{check, rules};

macro_rules! upload_columns {
    () => {
        "u.id, u.account, u.path, u.size, u.blake3, u.sha256, u.sha1, u.on_conflict, u.mtime,
        u.media_type, u.node, u.chunk_size, u.status, u.created_at, u.expires_at, u.entry,
        u.deferred, u.part, u.note"
    };
}

/// An upload, with what its message does not tell.
pub(super) struct UploadRow {
    pub(super) upload: Upload,
    pub(super) media_type: String,
    /// The file it became.
    pub(super) entry: Option<Bytes>,
}

impl FromRow<'_, MySqlRow> for UploadRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let digests = Digests {
            blake3: optional(row, "blake3")?,
            sha256: optional(row, "sha256")?,
            sha1: optional(row, "sha1")?,
        };
        let upload = Upload {
            id: row.try_get::<Vec<u8>, _>("id")?.into(),
            account_id: row.try_get::<Vec<u8>, _>("account")?.into(),
            path: text(row, "path")?,
            size: row.try_get("size")?,
            digests: Some(digests),
            on_conflict: row.try_get("on_conflict")?,
            mtime_ms: row.try_get("mtime")?,
            node: text(row, "node")?,
            chunk_size: row.try_get("chunk_size")?,
            status: row.try_get("status")?,
            created_at_ms: row.try_get("created_at")?,
            expires_at_ms: row.try_get("expires_at")?,
            file: None,
            deferred: row.try_get("deferred")?,
            part: row.try_get("part")?,
            note: text(row, "note")?,
        };
        Ok(Self {
            upload,
            media_type: text(row, "media_type")?,
            entry: row.try_get::<Option<Vec<u8>>, _>("entry")?.map(Bytes::from),
        })
    }
}

/// Uploads by their ids, whoever owns them.
pub(super) async fn find_all(tx: &mut Tx<'_>, ids: &[&Bytes]) -> Outcome<Vec<Upload>> {
    let select = Statement::new(concat!(
        "SELECT ",
        upload_columns!(),
        " FROM uploads u WHERE u.id IN "
    ));
    let rows: Vec<UploadRow> = select.list(ids.iter().map(|id| &id[..])).fetch(tx).await?;
    Ok(rows.into_iter().map(|row| row.upload).collect())
}

/// An upload of the account; `NotFound` for unknown and foreign ids alike.
async fn get(tx: &mut Tx<'_>, account: &Bytes, id: &Bytes) -> Outcome<UploadRow> {
    let row = sqlx::query_as(concat!(
        "SELECT ",
        upload_columns!(),
        " FROM uploads u WHERE u.id = ? AND u.account = ?"
    ))
    .bind(&id[..])
    .bind(&account[..])
    .fetch_optional(&mut *tx.conn)
    .await?;
    row.ok_or_else(|| rules::not_found("upload").into())
}

/// The same, after locking the account and the upload.
pub(super) async fn lock(tx: &mut Tx<'_>, account: &Bytes, id: &Bytes) -> Outcome<UploadRow> {
    let row = sqlx::query_as(concat!(
        "SELECT ",
        upload_columns!(),
        " FROM accounts a STRAIGHT_JOIN uploads u ON u.account = a.id
        WHERE a.id = ? AND u.id = ? FOR UPDATE"
    ))
    .bind(&account[..])
    .bind(&id[..])
    .fetch_optional(&mut *tx.conn)
    .await?;
    row.ok_or_else(|| rules::not_found("upload").into())
}

/// Says how an upload ended.
pub(super) fn gone(upload: &Upload) -> Problem {
    let detail = match upload.status() {
        UploadStatus::Completed => "the upload was completed",
        UploadStatus::Cancelled => "the upload was cancelled",
        _ => "the upload has expired",
    };
    Problem::new(Kind::UploadGone, detail)
}

#[async_trait]
impl Command for GetUploadRequest {
    type Reply = Upload;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Upload> {
        let UploadRow {
            mut upload, entry, ..
        } = get(tx, &self.account_id, &self.id).await?;
        if let Some(entry) = entry {
            upload.file = tree::by_id(tx, &entry).await?;
        }
        Ok(upload)
    }
}

#[async_trait]
impl Command for ListUploadsRequest {
    type Reply = ListUploadsResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListUploadsResponse> {
        let rows: Vec<UploadRow> = sqlx::query_as(concat!(
            "SELECT ",
            upload_columns!(),
            " FROM uploads u WHERE u.account = ? AND u.status = 1 /* uploading */ AND u.id > ?
            ORDER BY u.id LIMIT ?"
        ))
        .bind(&self.account_id[..])
        .bind(&self.after[..])
        .bind(check::limit(self.limit))
        .fetch_all(&mut *tx.conn)
        .await?;
        Ok(ListUploadsResponse {
            uploads: rows.into_iter().map(|row| row.upload).collect(),
        })
    }
}

#[async_trait]
impl Command for ResizeUploadRequest {
    type Reply = Upload;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Upload> {
        let locked = content::lock_account(tx, &self.account_id).await?;
        let UploadRow { mut upload, .. } = lock(tx, &self.account_id, &self.id).await?;
        if upload.status() != UploadStatus::Uploading {
            return Err(gone(&upload).into());
        }
        let size = rules::resize(self, &upload, locked.free)?;
        if size != upload.size {
            content::charge(tx, &self.account_id, 0, size - upload.size).await?;
        }
        upload.size = size;
        upload.deferred &= !self.is_length;
        sqlx::query("UPDATE uploads SET size = ?, deferred = ? WHERE id = ?")
            .bind(upload.size)
            .bind(upload.deferred)
            .bind(&self.id[..])
            .execute(&mut *tx.conn)
            .await?;
        Ok(upload)
    }
}

#[async_trait]
impl Command for CancelUploadRequest {
    type Reply = CancelUploadResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<CancelUploadResponse> {
        let UploadRow { upload, .. } = lock(tx, &self.account_id, &self.id).await?;
        match upload.status() {
            UploadStatus::Uploading => {}
            UploadStatus::Completed => return Err(gone(&upload).into()),
            // It has ended, and its reservation with it.
            _ => return Ok(CancelUploadResponse {}),
        }
        sqlx::query("UPDATE uploads SET status = 3 /* cancelled */, forget_at = ? WHERE id = ?")
            .bind(tx.now + rules::FINISHED_UPLOAD_MS)
            .bind(&self.id[..])
            .execute(&mut *tx.conn)
            .await?;
        content::charge(tx, &upload.account_id, 0, -upload.size).await?;
        Ok(CancelUploadResponse {})
    }
}

#[async_trait]
impl Command for BlockInstantRequest {
    type Reply = BlockInstantResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<BlockInstantResponse> {
        let blocked = sqlx::query(
            "UPDATE accounts SET instant_blocked_until = greatest(instant_blocked_until, ?)
            WHERE id = ?",
        )
        .bind(tx.now + self.for_ms)
        .bind(&self.account_id[..])
        .execute(&mut *tx.conn)
        .await?;
        if blocked.rows_affected() == 0 {
            return Err(rules::not_found("account").into());
        }
        Ok(BlockInstantResponse {})
    }
}

#[async_trait]
impl Command for ExpireUploadsRequest {
    type Reply = ExpireUploadsResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ExpireUploadsResponse> {
        let limit = check::limit(self.limit);
        forget(tx, limit).await?;
        // Found without a lock: accounts come first.
        let due = due(tx, self, limit).await?;
        if due.is_empty() {
            return Ok(ExpireUploadsResponse::default());
        }
        let owners = due.iter().map(|(_, account)| account.clone()).collect();
        content::lock_accounts(tx, &owners).await?;
        let ids: Vec<Vec<u8>> = due.into_iter().map(|(id, _)| id).collect();
        let ids = end(tx, &ids).await?;
        Ok(ExpireUploadsResponse { ids })
    }
}

/// Removes the rows of uploads that finished long ago.
async fn forget(tx: &mut Tx<'_>, limit: u32) -> Outcome<()> {
    let ids: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT id FROM uploads WHERE forget_at <= ? ORDER BY forget_at LIMIT ?",
    )
    .bind(tx.now)
    .bind(limit)
    .fetch_all(&mut *tx.conn)
    .await?;
    if !ids.is_empty() {
        let ids: BTreeSet<_> = ids.into_iter().collect();
        let delete = Statement::new("DELETE FROM uploads WHERE forget_at <= ")
            .number(tx.now)
            .sql(" AND id IN ")
            .list(ids.iter().map(|id| &id[..]));
        delete.execute(tx).await?;
    }
    Ok(())
}

/// Uploads of a node whose time is over, or that are direct ones if wanted, with their accounts.
async fn due(
    tx: &mut Tx<'_>,
    request: &ExpireUploadsRequest,
    limit: u32,
) -> Outcome<BTreeSet<(Vec<u8>, Vec<u8>)>> {
    let expired: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT id, account FROM uploads
        WHERE node = ? AND status = 1 /* uploading */ AND expires_at <= ?
        ORDER BY expires_at LIMIT ?",
    )
    .bind(request.node.as_bytes())
    .bind(tx.now)
    .bind(limit)
    .fetch_all(&mut *tx.conn)
    .await?;
    let mut due: BTreeSet<_> = expired.into_iter().collect();
    if request.direct {
        let direct: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT id, account FROM uploads
            WHERE node = ? AND status = 1 /* uploading */ AND chunk_size = 0 LIMIT ?",
        )
        .bind(request.node.as_bytes())
        .bind(limit)
        .fetch_all(&mut *tx.conn)
        .await?;
        due.extend(direct);
    }
    Ok(due)
}

/// Ends those of these uploads, whose accounts are locked, that are still unfinished, and gives
/// their reservations back.
async fn end(tx: &mut Tx<'_>, ids: &[Vec<u8>]) -> Outcome<Vec<Bytes>> {
    let lock = Statement::new(
        "SELECT id, account, size FROM uploads FORCE INDEX (PRIMARY)
        WHERE status = 1 /* uploading */ AND id IN ",
    )
    .list(ids.iter().map(|id| &id[..]))
    .sql(" FOR UPDATE");
    let ended: Vec<(Vec<u8>, Vec<u8>, i64)> = lock.fetch(tx).await?;
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let end = Statement::new(
        "UPDATE uploads FORCE INDEX (PRIMARY) SET status = 4 /* expired */, forget_at = ",
    )
    .number(tx.now + rules::FINISHED_UPLOAD_MS)
    .sql(" WHERE id IN ")
    .list(ended.iter().map(|(id, ..)| &id[..]));
    end.execute(tx).await?;
    let mut released: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut ids = Vec::with_capacity(ended.len());
    for (id, account, size) in ended {
        ids.push(id.into());
        *released.entry(account).or_default() += size;
    }
    content::release(tx, Room::Reserved, &released).await?;
    Ok(ids)
}

#[async_trait]
impl Command for ResolveStagingRequest {
    type Reply = ResolveStagingResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ResolveStagingResponse> {
        if self.ids.is_empty() {
            return Ok(ResolveStagingResponse::default());
        }
        staging::forget(tx).await?;
        // Whatever node it is on: ids are unique, and a node that was renamed must not lose its
        // files. Uploads are asked for first: one that becomes a blob in between is seen as an
        // upload, and none goes the other way.
        let uploads = staging::of_uploads(tx, &self.ids).await?;
        let mut rest: Vec<Bytes> = self.ids.clone();
        rest.retain(|id| !uploads.contains(id));
        let mut blobs = staging::of_blobs(tx, &rest, "").await?;
        rest.retain(|id| !blobs.contains(id));
        blobs.extend(staging::abandon(tx, rest).await?);
        let uses = self.ids.iter().map(|id| {
            if uploads.contains(id) {
                StagingUse::Upload.into()
            } else if blobs.contains(id) {
                StagingUse::Blob.into()
            } else {
                StagingUse::Unreferenced.into()
            }
        });
        Ok(ResolveStagingResponse {
            uses: uses.collect(),
        })
    }
}
