//! Write locks of WebDAV. What they mean is in [`crate::dav`].

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::{dav::*, file::Precondition};

use super::{
    error::Outcome,
    tree::Walk,
    writer::{Command, Tx},
};
use crate::dav::{self, Touched};

/// Token, path, infinite, shared, owner, milliseconds that are left.
type LockRow = (Vec<u8>, String, bool, bool, String, i64);

/// Every lock of an account that holds now.
pub(super) async fn of_account(tx: &mut Tx<'_>, account: &Bytes) -> Outcome<Vec<Lock>> {
    let rows: Vec<LockRow> = sqlx::query_as(
        "SELECT token, path, infinite, shared, owner_xml, expires_at - ?2 FROM dav_locks
        WHERE account = ?1 AND expires_at > ?2 ORDER BY path, token",
    )
    .bind(&account[..])
    .bind(tx.now)
    .fetch_all(&mut *tx.conn)
    .await?;
    let locks =
        rows.into_iter().map(
            |(token, path, infinite, shared, owner_xml, remaining_ms)| Lock {
                token: token.into(),
                path,
                infinite,
                shared,
                owner_xml,
                remaining_ms,
            },
        );
    Ok(locks.collect())
}

/// Refuses a change that a lock stands against, if the caller asks about locks at all.
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
    sqlx::query(
        "DELETE FROM dav_locks
        WHERE account = ?1 AND (path = ?2 OR substr(path, 1, length(?2) + 1) = ?2 || '/')",
    )
    .bind(&account[..])
    .bind(path)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

#[async_trait]
impl Command for LockRequest {
    type Reply = Lock;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Lock> {
        // There is such an account.
        Walk::down(tx, &self.owner, "/").await?;
        sqlx::query("DELETE FROM dav_locks WHERE account = ? AND expires_at <= ?")
            .bind(&self.owner[..])
            .bind(tx.now)
            .execute(&mut *tx.conn)
            .await?;
        let locks = of_account(tx, &self.owner).await?;
        if let Some(lock) = locks.iter().find(|lock| lock.token == self.token) {
            return Ok(lock.clone());
        }
        dav::admit(&locks, &self)?;
        sqlx::query(
            "INSERT INTO dav_locks (token, account, path, infinite, shared, owner_xml, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.token[..])
        .bind(&self.owner[..])
        .bind(&*self.path)
        .bind(self.infinite)
        .bind(self.shared)
        .bind(&*self.owner_xml)
        .bind(tx.now + self.timeout_ms)
        .execute(&mut *tx.conn)
        .await?;
        Ok(Lock {
            token: self.token,
            path: self.path,
            infinite: self.infinite,
            shared: self.shared,
            owner_xml: self.owner_xml,
            remaining_ms: self.timeout_ms,
        })
    }
}

#[async_trait]
impl Command for RefreshLockRequest {
    type Reply = Lock;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Lock> {
        let locks = of_account(tx, &self.owner).await?;
        let lock = dav::find(locks, &self.token, &self.path)?;
        sqlx::query("UPDATE dav_locks SET expires_at = ?2 WHERE token = ?1")
            .bind(&lock.token[..])
            .bind(tx.now + self.timeout_ms)
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

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<UnlockResponse> {
        let locks = of_account(tx, &self.owner).await?;
        let lock = dav::find(locks, &self.token, &self.path)?;
        sqlx::query("DELETE FROM dav_locks WHERE token = ?")
            .bind(&lock.token[..])
            .execute(&mut *tx.conn)
            .await?;
        Ok(UnlockResponse {})
    }
}

#[async_trait]
impl Command for ListLocksRequest {
    type Reply = ListLocksResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListLocksResponse> {
        Ok(ListLocksResponse {
            locks: of_account(tx, &self.owner).await?,
        })
    }
}
