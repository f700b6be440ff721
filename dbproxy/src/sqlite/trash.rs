//! What was deleted and can be restored.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{file::*, path};
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};

use super::{
    copy,
    error::Outcome,
    rows::{EntryRow, blob_columns, entry_columns, list},
    tree::{self, Walk},
    writer::{Command, Tx},
};
use crate::{check, names, rules, trash};

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT t.path, t.deleted_at, t.expires_at, ",
            entry_columns!(),
            " FROM trash t CROSS JOIN entries e ON e.id = t.entry
            LEFT JOIN blobs b ON b.blake3 = e.blob WHERE ",
            $condition
        )
    };
}

struct TrashedRow(Trashed);

impl FromRow<'_, SqliteRow> for TrashedRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let entry = Entry {
            path: row.try_get("path")?,
            ..EntryRow::from_row(row)?.entry
        };
        Ok(Self(Trashed {
            entry: Some(entry),
            deleted_at_ms: row.try_get("deleted_at")?,
            expires_at_ms: row.try_get("expires_at")?,
        }))
    }
}

/// Puts an entry, with its path, into the trash.
pub(super) async fn keep(tx: &mut Tx<'_>, entry: &Entry, keep_ms: i64) -> Outcome<()> {
    sqlx::query(
        "UPDATE entries SET parent = owner, deleted_at = ?2, trashed = 1, version = version + 1
        WHERE id = ?1",
    )
    .bind(&entry.id[..])
    .bind(tx.now)
    .execute(&mut *tx.conn)
    .await?;
    sqlx::query(
        "INSERT INTO trash (entry, account, path, deleted_at, expires_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&entry.id[..])
    .bind(&entry.owner[..])
    .bind(&*entry.path)
    .bind(tx.now)
    .bind(tx.now + keep_ms)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

#[async_trait]
impl Command for ListTrashRequest {
    type Reply = ListTrashResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListTrashResponse> {
        let limit = check::limit(self.limit);
        let after = trash::after(&self)?.unwrap_or((i64::MAX, Vec::new()));
        let rows: Vec<TrashedRow> = sqlx::query_as(select!(
            "t.account = ?1 AND t.expires_at > ?2 AND (t.deleted_at, t.entry) < (?3, ?4)
            ORDER BY t.deleted_at DESC, t.entry DESC LIMIT ?5"
        ))
        .bind(&self.owner[..])
        .bind(tx.now)
        .bind(after.0)
        .bind(after.1)
        .bind(limit + 1)
        .fetch_all(&mut *tx.conn)
        .await?;
        Ok(trash::page(
            rows.into_iter().map(|row| row.0).collect(),
            limit,
        ))
    }
}

#[async_trait]
impl Command for RestoreRequest {
    type Reply = Entry;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        let row: Option<TrashedRow> = sqlx::query_as(select!(
            "t.entry = ? AND t.account = ? AND t.expires_at > ?"
        ))
        .bind(&self.id[..])
        .bind(&self.owner[..])
        .bind(tx.now)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let Some(entry) = row.and_then(|row| row.0.entry) else {
            // The same call before, whose answer was lost, or somebody was faster.
            let restored = tree::by_id(tx, &self.id).await?;
            let restored = restored.filter(|entry| entry.owner == self.owner);
            return restored.ok_or_else(|| rules::not_found("entry of the trash").into());
        };
        let mut to = rules::restored_to(&self, &entry);
        if self.rename {
            to = copy::free_path(tx, &self.owner, to).await?;
        }
        let mut walk = Walk::down(tx, &self.owner, &to).await?;
        if walk.end().is_some() {
            return Err(rules::name_conflict().into());
        }
        tree::check_lengths(tx, &entry, &to).await?;
        let parent = walk.make_parents(tx).await?;
        let name = path::name(&to);
        sqlx::query(
            "UPDATE entries SET parent = ?2, name = ?3, name_key = ?4, deleted_at = NULL,
                trashed = NULL, version = version + 1
            WHERE id = ?1",
        )
        .bind(&entry.id[..])
        .bind(&parent.id[..])
        .bind(name)
        .bind(names::key(name))
        .execute(&mut *tx.conn)
        .await?;
        sqlx::query("DELETE FROM trash WHERE entry = ?")
            .bind(&entry.id[..])
            .execute(&mut *tx.conn)
            .await?;
        Ok(Entry {
            path: path::join(&parent.path, name),
            version: entry.version + 1,
            ..entry
        })
    }
}

#[async_trait]
impl Command for EmptyTrashRequest {
    type Reply = EmptyTrashResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<EmptyTrashResponse> {
        let limit = check::limit(self.limit);
        let ids: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT entry FROM trash WHERE account = ?1 AND (?2 = x'' OR entry = ?2) LIMIT ?3",
        )
        .bind(&self.owner[..])
        .bind(&self.id[..])
        .bind(limit)
        .fetch_all(&mut *tx.conn)
        .await?;
        if ids.is_empty() && !self.id.is_empty() {
            return Err(rules::not_found("entry of the trash").into());
        }
        let more = ids.len() >= limit as usize;
        doom(tx, ids).await?;
        Ok(EmptyTrashResponse { more })
    }
}

/// Deletes for good what has been in the trash for long enough.
pub(super) async fn expire(tx: &mut Tx<'_>, limit: u32) -> Outcome<()> {
    let ids: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT entry FROM trash WHERE expires_at <= ? LIMIT ?")
            .bind(tx.now)
            .bind(limit)
            .fetch_all(&mut *tx.conn)
            .await?;
    doom(tx, ids).await
}

/// Out of the trash, to be purged.
async fn doom(tx: &mut Tx<'_>, ids: Vec<Vec<u8>>) -> Outcome<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<Bytes> = ids.into_iter().map(Bytes::from).collect();
    let ids = list(&ids);
    for change in [
        "UPDATE entries SET trashed = NULL WHERE id IN (SELECT unhex(value) FROM json_each(?))",
        "DELETE FROM trash WHERE entry IN (SELECT unhex(value) FROM json_each(?))",
    ] {
        sqlx::query(change)
            .bind(&ids)
            .execute(&mut *tx.conn)
            .await?;
    }
    Ok(())
}
