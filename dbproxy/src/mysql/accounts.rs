//! Accounts and signing keys.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::account::*;
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    error::{Outcome, is_taken},
    rows::text,
    sessions,
    tx::{Command, Tx},
};
use crate::{names, rules};

macro_rules! account_columns {
    () => {
        "id, username, email, display_name, quota_bytes, used_bytes, reserved_bytes, created_at"
    };
}

struct AccountRow(Account);

impl FromRow<'_, MySqlRow> for AccountRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self(Account {
            id: row.try_get::<Vec<u8>, _>("id")?.into(),
            username: text(row, "username")?,
            email: text(row, "email")?,
            display_name: text(row, "display_name")?,
            quota_bytes: row.try_get("quota_bytes")?,
            used_bytes: row.try_get("used_bytes")?,
            reserved_bytes: row.try_get("reserved_bytes")?,
            created_at_ms: row.try_get("created_at")?,
        }))
    }
}

/// An account and its password hash.
struct CredentialsRow(Credentials);

impl FromRow<'_, MySqlRow> for CredentialsRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self(Credentials {
            account: Some(AccountRow::from_row(row)?.0),
            password_hash: text(row, "password_hash")?,
        }))
    }
}

/// An account; in a transaction it stays as it is until its end, and so do its files and uploads.
pub(super) async fn lock(tx: &mut Tx<'_>, id: &Bytes) -> Outcome<Account> {
    let row: Option<AccountRow> = sqlx::query_as(concat!(
        "SELECT ",
        account_columns!(),
        " FROM accounts WHERE id = ? FOR UPDATE"
    ))
    .bind(&id[..])
    .fetch_optional(&mut *tx.conn)
    .await?;
    row.map(|row| row.0)
        .ok_or_else(|| rules::not_found("account").into())
}

async fn find(tx: &mut Tx<'_>, username: &str) -> Outcome<Option<Credentials>> {
    let row: Option<CredentialsRow> = sqlx::query_as(concat!(
        "SELECT password_hash, ",
        account_columns!(),
        " FROM accounts WHERE username_key = ?"
    ))
    .bind(names::key(username).into_bytes())
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(row.map(|row| row.0))
}

#[async_trait]
impl Command for CreateAccountRequest {
    type Reply = Account;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Account> {
        let inserted = sqlx::query(
            "INSERT INTO accounts (id, username, username_key, password_hash, email, display_name,
                quota_bytes, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.id[..])
        .bind(&*self.username)
        .bind(names::key(&self.username).into_bytes())
        .bind(self.password_hash.as_bytes())
        .bind(&*self.email)
        .bind(&*self.display_name)
        .bind(self.quota_bytes)
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await;
        match inserted {
            Ok(_) => {}
            Err(error) if is_taken(&error) => return taken(tx, self).await,
            Err(error) => return Err(error.into()),
        }
        sqlx::query(
            "INSERT INTO entries (id, owner, name, name_key, kind, size, media_type, created_at,
                modified_at, version)
            VALUES (?, ?, '', '', 1 /* folder */, 0, '', ?, ?, 1)",
        )
        .bind(&self.id[..])
        .bind(&self.id[..])
        .bind(tx.now)
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await?;
        lock(tx, &self.id).await
    }
}

/// The same call once more is answered like the first. The id and the salted hash tell it from
/// somebody else's attempt to take the name.
async fn taken(tx: &mut Tx<'_>, request: &CreateAccountRequest) -> Outcome<Account> {
    if let Some(Credentials {
        account: Some(account),
        password_hash,
    }) = find(tx, &request.username).await?
        && account.id == request.id
        && password_hash == request.password_hash
    {
        return Ok(account);
    }
    Err(Problem::new(Kind::NameTaken, "another account has this username").into())
}

#[async_trait]
impl Command for GetAccountRequest {
    type Reply = Account;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Account> {
        let row: Option<AccountRow> = sqlx::query_as(concat!(
            "SELECT ",
            account_columns!(),
            " FROM accounts WHERE id = ?"
        ))
        .bind(&self.id[..])
        .fetch_optional(&mut *tx.conn)
        .await?;
        row.map(|row| row.0)
            .ok_or_else(|| rules::not_found("account").into())
    }
}

#[async_trait]
impl Command for FindCredentialsRequest {
    type Reply = Credentials;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Credentials> {
        find(tx, &self.username)
            .await?
            .ok_or_else(|| rules::not_found("account").into())
    }
}

#[async_trait]
impl Command for UpdateAccountRequest {
    type Reply = Account;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Account> {
        sqlx::query(
            "UPDATE accounts SET email = coalesce(?, email),
                display_name = coalesce(?, display_name)
            WHERE id = ?",
        )
        .bind(self.email.as_deref())
        .bind(self.display_name.as_deref())
        .bind(&self.id[..])
        .execute(&mut *tx.conn)
        .await?;
        lock(tx, &self.id).await
    }
}

#[async_trait]
impl Command for SetPasswordRequest {
    type Reply = SetPasswordResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<SetPasswordResponse> {
        let changed =
            sqlx::query("UPDATE accounts SET password_hash = ? WHERE id = ? AND password_hash = ?")
                .bind(self.new_password_hash.as_bytes())
                .bind(&self.id[..])
                .bind(self.old_password_hash.as_bytes())
                .execute(&mut *tx.conn)
                .await?;
        if changed.rows_affected() == 0 {
            lock(tx, &self.id).await?;
            let detail = "the password was changed by somebody else meanwhile";
            return Err(Problem::new(Kind::PreconditionFailed, detail).into());
        }
        sessions::revoke_all(tx, &self.id, &self.keep_session_id).await?;
        Ok(SetPasswordResponse {})
    }
}

#[async_trait]
impl Command for PublishKeyRequest {
    type Reply = PublishKeyResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<PublishKeyResponse> {
        let none = PublicKey::default();
        let key = self.key.as_ref().unwrap_or(&none);
        sqlx::query("DELETE FROM signing_keys WHERE expires_at <= ? AND kid <> ?")
            .bind(tx.now)
            .bind(key.kid.as_bytes())
            .execute(&mut *tx.conn)
            .await?;
        sqlx::query(
            "INSERT INTO signing_keys (kid, public_key, expires_at) VALUES (?, ?, ?)
            ON DUPLICATE KEY UPDATE expires_at = CASE WHEN public_key = VALUES(public_key)
                THEN greatest(expires_at, VALUES(expires_at)) ELSE expires_at END",
        )
        .bind(key.kid.as_bytes())
        .bind(&key.public_key[..])
        .bind(key.expires_at_ms)
        .execute(&mut *tx.conn)
        .await?;
        let published: Vec<u8> =
            sqlx::query_scalar("SELECT public_key FROM signing_keys WHERE kid = ?")
                .bind(key.kid.as_bytes())
                .fetch_one(&mut *tx.conn)
                .await?;
        if published != key.public_key {
            return Err(Problem::new(Kind::NameConflict, "the kid belongs to another key").into());
        }
        Ok(PublishKeyResponse {})
    }
}

#[async_trait]
impl Command for ListKeysRequest {
    type Reply = ListKeysResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListKeysResponse> {
        let rows = sqlx::query(
            "SELECT kid, public_key, expires_at FROM signing_keys WHERE expires_at > ?
            ORDER BY expires_at, kid",
        )
        .bind(tx.now)
        .fetch_all(&mut *tx.conn)
        .await?;
        let keys = rows.iter().map(|row| {
            Ok(PublicKey {
                kid: text(row, "kid")?,
                public_key: row.try_get::<Vec<u8>, _>("public_key")?.into(),
                expires_at_ms: row.try_get("expires_at")?,
            })
        });
        Ok(ListKeysResponse {
            keys: keys.collect::<sqlx::Result<_>>()?,
        })
    }
}
