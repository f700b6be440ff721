//! Write locks of WebDAV. What they mean is in [`crate::dav`]. They belong to the third kind of rows
//! that a transaction locks; the account's row comes first and keeps others away.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{dav::*, file::Precondition, path::is_below};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    content,
    error::Outcome,
    rows::text,
    tx::{Command, Tx},
};
use crate::dav::{self, Touched};

struct LockRow(Lock);

impl FromRow<'_, MySqlRow> for LockRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self(Lock {
            token: row.try_get::<Vec<u8>, _>("token")?.into(),
            path: text(row, "path")?,
            infinite: row.try_get::<i32, _>("infinite")? != 0,
            shared: row.try_get::<i32, _>("shared")? != 0,
            owner_xml: text(row, "owner_xml")?,
            remaining_ms: row.try_get("remaining_ms")?,
        }))
    }
}

/// Every lock of an account that holds now.
pub(super) async fn of_account(tx: &mut Tx<'_>, account: &Bytes) -> Outcome<Vec<Lock>> {
    let rows: Vec<LockRow> = sqlx::query_as(
        "SELECT token, path, infinite, shared, owner_xml, expires_at - ? AS remaining_ms
        FROM dav_locks WHERE account = ? AND expires_at > ? ORDER BY path, token",
    )
    .bind(tx.now)
    .bind(&account[..])
    .bind(tx.now)
    .fetch_all(&mut *tx.conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Refuses a change that a lock stands against, if the caller asks about locks at all. The account
/// is locked.
pub(super) async fn allow(
    tx: &mut Tx<'_>,
    account: &Bytes,
    precondition: Option<&Precondition>,
    touched: &[Touched<'_>],
) -> Outcome<()> {
    let Some(tokens) = dav::tokens(precondition) else {
        return Ok(());
    };
    let locks = of_account(tx, account).await?;
    Ok(dav::check(&locks, tokens, touched)?)
}

/// Ends the locks at a path and below it, for a caller that asks about locks.
pub(super) async fn end(
    tx: &mut Tx<'_>,
    account: &Bytes,
    precondition: Option<&Precondition>,
    path: &str,
) -> Outcome<()> {
    if dav::tokens(precondition).is_none() {
        return Ok(());
    }
    let locks = of_account(tx, account).await?;
    let ended = locks
        .iter()
        .filter(|lock| lock.path == path || is_below(&lock.path, path));
    for lock in ended {
        forget(tx, &lock.token).await?;
    }
    Ok(())
}

async fn forget(tx: &mut Tx<'_>, token: &Bytes) -> Outcome<()> {
    sqlx::query("DELETE FROM dav_locks WHERE token = ?")
        .bind(&token[..])
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

#[async_trait]
impl Command for LockRequest {
    type Reply = Lock;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Lock> {
        content::lock_account(tx, &self.owner).await?;
        sqlx::query("DELETE FROM dav_locks WHERE account = ? AND expires_at <= ?")
            .bind(&self.owner[..])
            .bind(tx.now)
            .execute(&mut *tx.conn)
            .await?;
        let locks = of_account(tx, &self.owner).await?;
        if let Some(lock) = locks.iter().find(|lock| lock.token == self.token) {
            return Ok(lock.clone());
        }
        dav::admit(&locks, self)?;
        sqlx::query(
            "INSERT INTO dav_locks (token, account, path, infinite, shared, owner_xml, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.token[..])
        .bind(&self.owner[..])
        .bind(self.path.as_bytes())
        .bind(i32::from(self.infinite))
        .bind(i32::from(self.shared))
        .bind(&*self.owner_xml)
        .bind(tx.now + self.timeout_ms)
        .execute(&mut *tx.conn)
        .await?;
        Ok(Lock {
            token: self.token.clone(),
            path: self.path.clone(),
            infinite: self.infinite,
            shared: self.shared,
            owner_xml: self.owner_xml.clone(),
            remaining_ms: self.timeout_ms,
        })
    }
}

#[async_trait]
impl Command for RefreshLockRequest {
    type Reply = Lock;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Lock> {
        content::lock_account(tx, &self.owner).await?;
        let locks = of_account(tx, &self.owner).await?;
        let lock = dav::find(locks, &self.token, &self.path)?;
        sqlx::query("UPDATE dav_locks SET expires_at = ? WHERE token = ?")
            .bind(tx.now + self.timeout_ms)
            .bind(&lock.token[..])
            .execute(&mut *tx.conn)
            .await?;
        Ok(Lock {
            remaining_ms: self.timeout_ms,
            ..lock
        })
    }
}

#[async_trait]
impl Command for UnlockRequest {
    type Reply = UnlockResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<UnlockResponse> {
        content::lock_account(tx, &self.owner).await?;
        let locks = of_account(tx, &self.owner).await?;
        let lock = dav::find(locks, &self.token, &self.path)?;
        forget(tx, &lock.token).await?;
        Ok(UnlockResponse {})
    }
}

#[async_trait]
impl Command for ListLocksRequest {
    type Reply = ListLocksResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListLocksResponse> {
        Ok(ListLocksResponse {
            locks: of_account(tx, &self.owner).await?,
        })
    }
}
