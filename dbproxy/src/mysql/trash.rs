//! What was deleted and can be restored.

use std::collections::BTreeSet;

use async_trait::async_trait;
use cloudstore_proto::{file::*, path};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    content, copy,
    error::Outcome,
    purge::{Found, few_owners},
    rows::{EntryRow, blob_columns, entry_columns, text},
    statement::Statement,
    tree::{self, Walk},
    tx::{Command, Tx},
};
use crate::{check, names, rules, trash};

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT t.path, t.deleted_at, t.expires_at, ",
            entry_columns!(),
            " FROM trash t STRAIGHT_JOIN entries e ON e.id = t.entry
            LEFT JOIN blobs b ON b.blake3 = e.blob_id WHERE ",
            $condition
        )
    };
}

struct TrashedRow(Trashed);

impl FromRow<'_, MySqlRow> for TrashedRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        let entry = Entry {
            path: text(row, "path")?,
            ..EntryRow::from_row(row)?.entry
        };
        Ok(Self(Trashed {
            entry: Some(entry),
            deleted_at_ms: row.try_get("deleted_at")?,
            expires_at_ms: row.try_get("expires_at")?,
        }))
    }
}

/// Puts an entry, with its path, into the trash. The account is locked.
pub(super) async fn keep(tx: &mut Tx<'_>, entry: &Entry, keep_ms: i64) -> Outcome<()> {
    sqlx::query(
        "UPDATE entries SET parent = owner, deleted_at = ?, trashed = 1, version = version + 1
        WHERE id = ?",
    )
    .bind(tx.now)
    .bind(&entry.id[..])
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListTrashResponse> {
        let limit = check::limit(self.limit);
        let after = trash::after(self)?.unwrap_or((i64::MAX, Vec::new()));
        // Spelt out: a comparison of rows would not use the index.
        let rows: Vec<TrashedRow> = sqlx::query_as(select!(
            "t.account = ? AND t.expires_at > ? AND t.deleted_at <= ?
                AND (t.deleted_at < ? OR t.entry < ?)
            ORDER BY t.deleted_at DESC, t.entry DESC LIMIT ?"
        ))
        .bind(&self.owner[..])
        .bind(tx.now)
        .bind(after.0)
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Entry> {
        content::lock_account(tx, &self.owner).await?;
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
        let mut to = rules::restored_to(self, &entry);
        if self.rename {
            to = copy::free_path(tx, &self.owner, &to).await?;
        }
        let mut walk = Walk::down(tx, &self.owner, &to).await?;
        if walk.end().is_some() {
            return Err(rules::name_conflict().into());
        }
        tree::check_lengths(tx, &entry, &to).await?;
        let mut rows = Vec::new();
        let parent = walk.make_parents(tx.now, &mut rows)?;
        tree::insert(tx, &rows).await?;
        let name = path::name(&to);
        sqlx::query(
            "UPDATE entries SET parent = ?, name = ?, name_key = ?, deleted_at = NULL,
                trashed = NULL, version = version + 1
            WHERE id = ?",
        )
        .bind(&parent.id[..])
        .bind(name)
        .bind(names::key(name))
        .bind(&entry.id[..])
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<EmptyTrashResponse> {
        content::lock_account(tx, &self.owner).await?;
        let limit = check::limit(self.limit);
        let found: Found = sqlx::query_as(
            "SELECT entry, account FROM trash WHERE account = ? AND (? = '' OR entry = ?) LIMIT ?",
        )
        .bind(&self.owner[..])
        .bind(&self.id[..])
        .bind(&self.id[..])
        .bind(limit)
        .fetch_all(&mut *tx.conn)
        .await?;
        if found.is_empty() && !self.id.is_empty() {
            return Err(rules::not_found("entry of the trash").into());
        }
        let more = found.len() >= limit as usize;
        doom(tx, &found).await?;
        Ok(EmptyTrashResponse { more })
    }
}

/// Deletes for good what has been in the trash for long enough; whether there was something.
pub(super) async fn expire(tx: &mut Tx<'_>, limit: u32) -> Outcome<bool> {
    // Found without locks, because accounts come first: what was restored meanwhile stays.
    let mut found: Found =
        sqlx::query_as("SELECT entry, account FROM trash WHERE expires_at <= ? LIMIT ?")
            .bind(tx.now)
            .bind(limit)
            .fetch_all(&mut *tx.conn)
            .await?;
    let mut owners = BTreeSet::new();
    few_owners(&mut owners, &mut found);
    if found.is_empty() {
        return Ok(false);
    }
    content::lock_accounts(tx, &owners).await?;
    let again = Statement::new("SELECT entry, account FROM trash WHERE expires_at <= ")
        .number(tx.now)
        .sql(" AND entry IN ")
        .list(found.iter().map(|(id, _)| &id[..]));
    let found = again.fetch(tx).await?;
    doom(tx, &found).await?;
    Ok(true)
}

/// Out of the trash, to be purged. The accounts are locked.
async fn doom(tx: &mut Tx<'_>, found: &Found) -> Outcome<()> {
    if found.is_empty() {
        return Ok(());
    }
    for change in [
        "UPDATE entries FORCE INDEX (PRIMARY) SET trashed = NULL WHERE id IN ",
        "DELETE FROM trash WHERE entry IN ",
    ] {
        let change = Statement::new(change).list(found.iter().map(|(id, _)| &id[..]));
        change.execute(tx).await?;
    }
    Ok(())
}
