//! Accounts and signing keys.

use async_trait::async_trait;
use cloudstore_proto::account::*;
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};

use super::{
    error::{Outcome, is_taken},
    sessions,
    writer::{Command, Tx},
};
use crate::{names, rules};

macro_rules! account_columns {
    () => {
        "id, username, email, display_name, quota_bytes, used_bytes, reserved_bytes, created_at"
    };
}

struct AccountRow(Account);

impl FromRow<'_, SqliteRow> for AccountRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self(Account {
            id: row.try_get::<Vec<u8>, _>("id")?.into(),
            username: row.try_get("username")?,
            email: row.try_get("email")?,
            display_name: row.try_get("display_name")?,
            quota_bytes: row.try_get("quota_bytes")?,
            used_bytes: row.try_get("used_bytes")?,
            reserved_bytes: row.try_get("reserved_bytes")?,
            created_at_ms: row.try_get("created_at")?,
        }))
    }
}

/// An account and its password hash.
struct CredentialsRow(Credentials);

impl FromRow<'_, SqliteRow> for CredentialsRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self(Credentials {
            account: Some(AccountRow::from_row(row)?.0),
            password_hash: row.try_get("password_hash")?,
        }))
    }
}

async fn find(tx: &mut Tx<'_>, username: &str) -> Outcome<Option<Credentials>> {
    let row: Option<CredentialsRow> = sqlx::query_as(concat!(
        "SELECT password_hash, ",
        account_columns!(),
        " FROM accounts WHERE username_key = ?"
    ))
    .bind(names::key(username))
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(row.map(|row| row.0))
}

#[async_trait]
impl Command for CreateAccountRequest {
    type Reply = Account;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Account> {
        let inserted = sqlx::query(
            "INSERT INTO accounts (id, username, username_key, password_hash, email, display_name,
                quota_bytes, created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.id[..])
        .bind(&*self.username)
        .bind(names::key(&self.username))
        .bind(&*self.password_hash)
        .bind(&*self.email)
        .bind(&*self.display_name)
        .bind(self.quota_bytes)
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await;
        match inserted {
            Ok(_) => {}
            Err(error) if is_taken(&error) => return taken(tx, &self).await,
            Err(error) => return Err(error.into()),
        }
        sqlx::query(
            "INSERT INTO entries (id, owner, name, name_key, kind, size, media_type, created_at,
                modified_at, version)
            VALUES (?1, ?1, '', '', 1, 0, '', ?2, ?2, 1)",
        )
        .bind(&self.id[..])
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await?;
        GetAccountRequest { id: self.id }.run(tx).await
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

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Account> {
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

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Credentials> {
        find(tx, &self.username)
            .await?
            .ok_or_else(|| rules::not_found("account").into())
    }
}

#[async_trait]
impl Command for UpdateAccountRequest {
    type Reply = Account;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Account> {
        sqlx::query(
            "UPDATE accounts SET email = coalesce(?2, email),
                display_name = coalesce(?3, display_name)
            WHERE id = ?1",
        )
        .bind(&self.id[..])
        .bind(self.email)
        .bind(self.display_name)
        .execute(&mut *tx.conn)
        .await?;
        GetAccountRequest { id: self.id }.run(tx).await
    }
}

#[async_trait]
impl Command for SetPasswordRequest {
    type Reply = SetPasswordResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<SetPasswordResponse> {
        let changed = sqlx::query(
            "UPDATE accounts SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2",
        )
        .bind(&self.id[..])
        .bind(&*self.old_password_hash)
        .bind(&*self.new_password_hash)
        .execute(&mut *tx.conn)
        .await?;
        if changed.rows_affected() == 0 {
            GetAccountRequest { id: self.id }.run(tx).await?;
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

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<PublishKeyResponse> {
        let key = self.key.unwrap_or_default();
        sqlx::query("DELETE FROM signing_keys WHERE expires_at <= ? AND kid <> ?")
            .bind(tx.now)
            .bind(&*key.kid)
            .execute(&mut *tx.conn)
            .await?;
        let published = sqlx::query(
            "INSERT INTO signing_keys (kid, public_key, expires_at) VALUES (?, ?, ?)
            ON CONFLICT (kid) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)
            WHERE public_key = excluded.public_key",
        )
        .bind(key.kid)
        .bind(&key.public_key[..])
        .bind(key.expires_at_ms)
        .execute(&mut *tx.conn)
        .await?;
        if published.rows_affected() == 0 {
            return Err(Problem::new(Kind::NameConflict, "the kid belongs to another key").into());
        }
        Ok(PublishKeyResponse {})
    }
}

#[async_trait]
impl Command for ListKeysRequest {
    type Reply = ListKeysResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListKeysResponse> {
        let rows: Vec<(String, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT kid, public_key, expires_at FROM signing_keys WHERE expires_at > ?
            ORDER BY expires_at, kid",
        )
        .bind(tx.now)
        .fetch_all(&mut *tx.conn)
        .await?;
        let keys = rows
            .into_iter()
            .map(|(kid, public_key, expires_at_ms)| PublicKey {
                kid,
                public_key: public_key.into(),
                expires_at_ms,
            });
        Ok(ListKeysResponse {
            keys: keys.collect(),
        })
    }
}
