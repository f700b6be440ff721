//! Shares.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::ListRequest, share::*};
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    accounts,
    error::{Outcome, is_taken},
    files,
    rows::text,
    statement::Statement,
    tree::{self, Walk},
    tx::{Command, Tx},
};
use crate::rules;

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT s.id, s.account, s.entry, s.password_hash, s.created_at, s.expires_at,
                s.max_downloads, s.downloads, s.uploads, e.kind
            FROM shares s JOIN entries e ON e.id = s.entry WHERE ",
            $condition
        )
    };
}

/// A share whose path is still empty.
struct ShareRow {
    share: Share,
    password_hash: String,
}

impl FromRow<'_, MySqlRow> for ShareRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let password_hash = text(row, "password_hash")?;
        Ok(Self {
            share: Share {
                id: row.try_get::<Vec<u8>, _>("id")?.into(),
                account_id: row.try_get::<Vec<u8>, _>("account")?.into(),
                entry_id: row.try_get::<Vec<u8>, _>("entry")?.into(),
                path: String::new(),
                kind: row.try_get("kind")?,
                created_at_ms: row.try_get("created_at")?,
                expires_at_ms: row
                    .try_get::<Option<i64>, _>("expires_at")?
                    .unwrap_or_default(),
                max_downloads: row.try_get("max_downloads")?,
                downloads: row.try_get("downloads")?,
                has_password: !password_hash.is_empty(),
                uploads: row.try_get("uploads")?,
            },
            password_hash,
        })
    }
}

impl ShareRow {
    /// With the path of its entry; `NotFound` when that is deleted, or a folder above it.
    async fn placed(mut self, tx: &mut Tx<'_>) -> Outcome<Self> {
        let path = tree::up(tx, &self.share.entry_id).await?;
        self.share.path = path.ok_or_else(|| rules::not_found("share"))?;
        Ok(self)
    }
}

/// The share with a token that can be used now.
async fn by_hash(tx: &mut Tx<'_>, hash: &Bytes) -> Outcome<ShareRow> {
    let row: Option<ShareRow> = sqlx::query_as(select!(
        "s.hash = ? AND (s.expires_at IS NULL OR s.expires_at > ?)"
    ))
    .bind(&hash[..])
    .bind(tx.now)
    .fetch_optional(&mut *tx.conn)
    .await?;
    let row = row.ok_or_else(|| rules::not_found("share"))?;
    row.placed(tx).await
}

/// Forgets shares of an account that have expired.
async fn clean(tx: &mut Tx<'_>, account: &Bytes) -> Outcome<()> {
    let ended: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT id FROM shares WHERE account = ? AND expires_at <= ?")
            .bind(&account[..])
            .bind(tx.now)
            .fetch_all(&mut *tx.conn)
            .await?;
    if ended.is_empty() {
        return Ok(());
    }
    let delete = Statement::new("DELETE FROM shares WHERE id IN ");
    let delete = delete.list(ended.iter().map(|id| &id[..]));
    delete.execute(tx).await?;
    Ok(())
}

/// The share that the same call added before.
async fn added_before(tx: &mut Tx<'_>, request: &CreateShareRequest) -> Outcome<Option<Share>> {
    let row: Option<ShareRow> =
        sqlx::query_as(select!("s.id = ? AND s.account = ? AND s.hash = ?"))
            .bind(&request.id[..])
            .bind(&request.account_id[..])
            .bind(&request.hash[..])
            .fetch_optional(&mut *tx.conn)
            .await?;
    match row {
        Some(row) => Ok(Some(row.placed(tx).await?.share)),
        None => Ok(None),
    }
}

#[async_trait]
impl Command for CreateShareRequest {
    type Reply = Share;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Share> {
        accounts::lock(tx, &self.account_id).await?;
        if let Some(share) = added_before(tx, self).await? {
            return Ok(share);
        }
        let entry = Walk::down(tx, &self.account_id, &self.path)
            .await?
            .into_end()?;
        if self.uploads {
            rules::check_folder(&entry)?;
        }
        clean(tx, &self.account_id).await?;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM shares WHERE account = ?")
            .bind(&self.account_id[..])
            .fetch_one(&mut *tx.conn)
            .await?;
        rules::room_for_share(count, self.max_shares)?;
        let inserted = sqlx::query(
            "INSERT INTO shares (id, account, entry, hash, password_hash, created_at, expires_at,
                max_downloads, uploads)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.id[..])
        .bind(&self.account_id[..])
        .bind(&entry.id[..])
        .bind(&self.hash[..])
        .bind(&*self.password_hash)
        .bind(tx.now)
        .bind((self.lifetime_ms > 0).then_some(tx.now + self.lifetime_ms))
        .bind(self.max_downloads)
        .bind(self.uploads)
        .execute(&mut *tx.conn)
        .await;
        match inserted {
            Err(error) if !is_taken(&error) => return Err(error.into()),
            _ => {}
        }
        let added = added_before(tx, self).await?;
        added.ok_or_else(|| Problem::new(Kind::NameConflict, "another share has this id").into())
    }
}

#[async_trait]
impl Command for ListSharesRequest {
    type Reply = ListSharesResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListSharesResponse> {
        let rows: Vec<ShareRow> = sqlx::query_as(select!(
            "s.account = ? AND (s.expires_at IS NULL OR s.expires_at > ?) ORDER BY s.id"
        ))
        .bind(&self.account_id[..])
        .bind(tx.now)
        .fetch_all(&mut *tx.conn)
        .await?;
        let entries = rows.iter().map(|row| &row.share.entry_id);
        let paths = tree::paths(tx, entries).await?;
        let shares = rows.into_iter().filter_map(|ShareRow { share, .. }| {
            let path = paths.get(&share.entry_id[..]).cloned()?;
            Some(Share { path, ..share })
        });
        Ok(ListSharesResponse {
            shares: shares.collect(),
        })
    }
}

#[async_trait]
impl Command for GetShareRequest {
    type Reply = Share;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Share> {
        let row: Option<ShareRow> = sqlx::query_as(select!(
            "s.id = ? AND s.account = ? AND (s.expires_at IS NULL OR s.expires_at > ?)"
        ))
        .bind(&self.id[..])
        .bind(&self.account_id[..])
        .bind(tx.now)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let row = row.ok_or_else(|| rules::not_found("share"))?;
        Ok(row.placed(tx).await?.share)
    }
}

#[async_trait]
impl Command for RevokeShareRequest {
    type Reply = RevokeShareResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<RevokeShareResponse> {
        let revoked = sqlx::query("DELETE FROM shares WHERE id = ? AND account = ?")
            .bind(&self.id[..])
            .bind(&self.account_id[..])
            .execute(&mut *tx.conn)
            .await?;
        if revoked.rows_affected() == 0 {
            return Err(rules::not_found("share").into());
        }
        Ok(RevokeShareResponse {})
    }
}

#[async_trait]
impl Command for FindSharedRequest {
    type Reply = SharedEntry;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<SharedEntry> {
        let found = by_hash(tx, &self.hash).await?;
        let ShareRow {
            share,
            password_hash,
        } = found;
        rules::check_shown(&share, &self.path)?;
        let walk = Walk::below(tx, &share.account_id, &share.entry_id, &self.path).await?;
        Ok(SharedEntry {
            entry: Some(walk.into_end()?),
            share: Some(share),
            password_hash,
        })
    }
}

#[async_trait]
impl Command for ListSharedRequest {
    type Reply = ListSharedResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListSharedResponse> {
        let share = by_hash(tx, &self.hash).await?.share;
        if share.uploads {
            return Err(rules::not_found("entry").into());
        }
        let walk = Walk::below(tx, &share.account_id, &share.entry_id, &self.path).await?;
        let folder = walk.into_end()?;
        let request = ListRequest {
            owner: share.account_id.clone(),
            path: self.path.clone(),
            cursor: self.cursor.clone(),
            limit: self.limit,
            sort: self.sort,
            descending: self.descending,
            search: String::new(),
        };
        Ok(ListSharedResponse {
            page: Some(files::list_folder(tx, folder, &request).await?),
            share: Some(share),
        })
    }
}

#[async_trait]
impl Command for BeginDownloadRequest {
    type Reply = BeginDownloadResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<BeginDownloadResponse> {
        if !self.continues.is_empty() && goes_on(tx, self).await? {
            return Ok(BeginDownloadResponse { counted: false });
        }
        let is_counted: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM share_downloads WHERE id = ? AND share = ?)",
        )
        .bind(&self.id[..])
        .bind(&self.share_id[..])
        .fetch_one(&mut *tx.conn)
        .await?;
        if !is_counted {
            count(tx, self).await?;
        }
        Ok(BeginDownloadResponse { counted: true })
    }
}

/// Takes what the request needs from a download that was counted, if it has that much left.
async fn goes_on(tx: &mut Tx<'_>, request: &BeginDownloadRequest) -> Outcome<bool> {
    let taken = sqlx::query(
        "UPDATE share_downloads SET bytes_left = bytes_left - ?
        WHERE id = ? AND share = ? AND blake3 = ? AND bytes_left >= ? AND expires_at > ?",
    )
    .bind(request.bytes)
    .bind(&request.continues[..])
    .bind(&request.share_id[..])
    .bind(&request.blake3[..])
    .bind(request.bytes)
    .bind(tx.now)
    .execute(&mut *tx.conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Compare and set: of two that want the last download, one gets it.
async fn count(tx: &mut Tx<'_>, request: &BeginDownloadRequest) -> Outcome<()> {
    let counted = sqlx::query(
        "UPDATE shares SET downloads = downloads + 1
        WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)
            AND (max_downloads = 0 OR downloads < max_downloads)",
    )
    .bind(&request.share_id[..])
    .bind(tx.now)
    .execute(&mut *tx.conn)
    .await?;
    let max_downloads: Option<i64> = sqlx::query_scalar(
        "SELECT max_downloads FROM shares
        WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(&request.share_id[..])
    .bind(tx.now)
    .fetch_optional(&mut *tx.conn)
    .await?;
    let Some(max_downloads) = max_downloads.filter(|_| counted.rows_affected() == 1) else {
        return Err(rules::no_download(max_downloads.is_some()).into());
    };
    if max_downloads == 0 {
        return Ok(());
    }
    sqlx::query("DELETE FROM share_downloads WHERE share = ? AND expires_at <= ?")
        .bind(&request.share_id[..])
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await?;
    sqlx::query(
        "INSERT INTO share_downloads (id, share, blake3, bytes_left, expires_at)
        VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&request.id[..])
    .bind(&request.share_id[..])
    .bind(&request.blake3[..])
    .bind((request.allowance - request.bytes).max(0))
    .bind(tx.now + request.lifetime_ms)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}
