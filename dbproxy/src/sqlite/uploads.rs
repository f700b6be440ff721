//! Rows of uploads: reading, ending, forgetting.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::upload::*;
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};

use super::{
    content,
    error::Outcome,
    rows::list,
    tree,
    writer::{Command, Tx},
};
use crate::{check, rules};

macro_rules! upload_columns {
    () => {
        "id, account, path, size, blake3, sha256, sha1, on_conflict, mtime, media_type, node,
        chunk_size, status, created_at, expires_at, entry, deferred, part, note"
    };
}

/// An upload, with what its message does not tell.
pub(super) struct UploadRow {
    pub(super) upload: Upload,
    pub(super) media_type: String,
    /// The file it became.
    pub(super) entry: Option<Bytes>,
}

impl FromRow<'_, SqliteRow> for UploadRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let optional = |column| -> sqlx::Result<Option<Bytes>> {
            Ok(row.try_get::<Option<Vec<u8>>, _>(column)?.map(Bytes::from))
        };
        let digests = Digests {
            blake3: optional("blake3")?.unwrap_or_default(),
            sha256: optional("sha256")?.unwrap_or_default(),
            sha1: optional("sha1")?.unwrap_or_default(),
        };
        let upload = Upload {
            id: row.try_get::<Vec<u8>, _>("id")?.into(),
            account_id: row.try_get::<Vec<u8>, _>("account")?.into(),
            path: row.try_get("path")?,
            size: row.try_get("size")?,
            digests: Some(digests),
            on_conflict: row.try_get("on_conflict")?,
            mtime_ms: row.try_get("mtime")?,
            node: row.try_get("node")?,
            chunk_size: row.try_get("chunk_size")?,
            status: row.try_get("status")?,
            created_at_ms: row.try_get("created_at")?,
            expires_at_ms: row.try_get("expires_at")?,
            file: None,
            deferred: row.try_get("deferred")?,
            part: row.try_get("part")?,
            note: row.try_get("note")?,
        };
        Ok(Self {
            upload,
            media_type: row.try_get("media_type")?,
            entry: optional("entry")?,
        })
    }
}

/// An upload by its id, whoever owns it.
pub(super) async fn find(tx: &mut Tx<'_>, id: &Bytes) -> Outcome<Option<UploadRow>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        upload_columns!(),
        " FROM uploads WHERE id = ?"
    ))
    .bind(&id[..])
    .fetch_optional(&mut *tx.conn)
    .await?)
}

/// An upload of the account; `NotFound` for unknown and foreign ids alike.
pub(super) async fn get(tx: &mut Tx<'_>, account: &Bytes, id: &Bytes) -> Outcome<UploadRow> {
    match find(tx, id).await? {
        Some(row) if row.upload.account_id == *account => Ok(row),
        _ => Err(rules::not_found("upload").into()),
    }
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

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Upload> {
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

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListUploadsResponse> {
        let rows: Vec<UploadRow> = sqlx::query_as(concat!(
            "SELECT ",
            upload_columns!(),
            " FROM uploads WHERE account = ? AND status = 1 /* uploading */ AND id > ?
            ORDER BY id LIMIT ?"
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

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Upload> {
        let UploadRow { mut upload, .. } = get(tx, &self.account_id, &self.id).await?;
        if upload.status() != UploadStatus::Uploading {
            return Err(gone(&upload).into());
        }
        let free = content::free(tx, &self.account_id).await?;
        let size = rules::resize(&self, &upload, free)?;
        if size != upload.size {
            content::charge(tx, &self.account_id, 0, size - upload.size).await?;
        }
        upload.size = size;
        upload.deferred &= !self.is_length;
        sqlx::query("UPDATE uploads SET size = ?2, deferred = ?3 WHERE id = ?1")
            .bind(&self.id[..])
            .bind(upload.size)
            .bind(upload.deferred)
            .execute(&mut *tx.conn)
            .await?;
        Ok(upload)
    }
}

#[async_trait]
impl Command for CancelUploadRequest {
    type Reply = CancelUploadResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<CancelUploadResponse> {
        let UploadRow { upload, .. } = get(tx, &self.account_id, &self.id).await?;
        match upload.status() {
            UploadStatus::Uploading => {}
            UploadStatus::Completed => return Err(gone(&upload).into()),
            // It has ended, and its reservation with it.
            _ => return Ok(CancelUploadResponse {}),
        }
        let changed = sqlx::query(
            "UPDATE uploads SET status = 3 /* cancelled */, forget_at = ?2
            WHERE id = ?1 AND status = 1 /* uploading */",
        )
        .bind(&self.id[..])
        .bind(tx.now + rules::FINISHED_UPLOAD_MS)
        .execute(&mut *tx.conn)
        .await?;
        if changed.rows_affected() == 1 {
            content::charge(tx, &upload.account_id, 0, -upload.size).await?;
        }
        Ok(CancelUploadResponse {})
    }
}

#[async_trait]
impl Command for BlockInstantRequest {
    type Reply = BlockInstantResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<BlockInstantResponse> {
        let blocked = sqlx::query(
            "UPDATE accounts SET instant_blocked_until = max(instant_blocked_until, ?)
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

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ExpireUploadsResponse> {
        let limit = check::limit(self.limit);
        sqlx::query(
            "DELETE FROM uploads WHERE id IN
                (SELECT id FROM uploads WHERE forget_at <= ? ORDER BY forget_at LIMIT ?)",
        )
        .bind(tx.now)
        .bind(limit)
        .execute(&mut *tx.conn)
        .await?;
        let ended: Vec<(Vec<u8>, Vec<u8>, i64)> = sqlx::query_as(
            "UPDATE uploads SET status = 4 /* expired */, forget_at = ?3
            WHERE id IN (
                SELECT id FROM (SELECT id FROM uploads
                    WHERE node = ?1 AND status = 1 /* uploading */ AND expires_at <= ?2
                    ORDER BY expires_at LIMIT ?4)
                UNION ALL SELECT id FROM (SELECT id FROM uploads
                    WHERE ?5 AND node = ?1 AND status = 1 AND chunk_size = 0 LIMIT ?4))
            RETURNING id, account, size",
        )
        .bind(&*self.node)
        .bind(tx.now)
        .bind(tx.now + rules::FINISHED_UPLOAD_MS)
        .bind(limit)
        .bind(self.direct)
        .fetch_all(&mut *tx.conn)
        .await?;
        let mut released: HashMap<Vec<u8>, i64> = HashMap::new();
        let mut ids = Vec::with_capacity(ended.len());
        for (id, account, size) in ended {
            ids.push(id.into());
            *released.entry(account).or_default() += size;
        }
        for (account, bytes) in released {
            content::charge(tx, &account.into(), 0, -bytes).await?;
        }
        Ok(ExpireUploadsResponse { ids })
    }
}

#[async_trait]
impl Command for ResolveStagingRequest {
    type Reply = ResolveStagingResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ResolveStagingResponse> {
        // Whatever node it is on: ids are unique, and a node that was renamed must not lose its
        // files. One statement is one snapshot: between two, an upload could become a blob and be seen
        // as neither.
        let uses = sqlx::query_scalar(
            "SELECT CASE
                WHEN EXISTS (SELECT 1 FROM uploads
                    WHERE id = unhex(j.value) AND status = 1 /* uploading */) THEN 1
                WHEN EXISTS (SELECT 1 FROM blobs
                    WHERE staging_id = unhex(j.value)) THEN 2
                ELSE 3 END
            FROM json_each(?1) j ORDER BY j.key",
        )
        .bind(list(&self.ids))
        .fetch_all(&mut *tx.conn)
        .await?;
        Ok(ResolveStagingResponse { uses })
    }
}
