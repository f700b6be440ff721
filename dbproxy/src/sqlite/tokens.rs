//! API tokens.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::account::*;
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};

use super::{
    error::{Outcome, is_taken},
    writer::{Command, Tx},
};
use crate::rules;

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT t.id, t.account, a.username, t.name, t.scope, t.created_at, t.expires_at
            FROM api_tokens t JOIN accounts a ON a.id = t.account WHERE ",
            $condition
        )
    };
}

struct TokenRow(ApiToken);

impl FromRow<'_, SqliteRow> for TokenRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self(ApiToken {
            id: row.try_get::<Vec<u8>, _>("id")?.into(),
            account_id: row.try_get::<Vec<u8>, _>("account")?.into(),
            username: row.try_get("username")?,
            name: row.try_get("name")?,
            scope: row.try_get("scope")?,
            created_at_ms: row.try_get("created_at")?,
            expires_at_ms: row.try_get("expires_at")?,
        }))
    }
}

/// Forgets tokens of an account that nobody has to know of any more.
async fn clean(tx: &mut Tx<'_>, account: &Bytes) -> Outcome<()> {
    sqlx::query(
        "DELETE FROM api_tokens WHERE account = ? AND (expires_at <= ? OR revoked_at <= ?)",
    )
    .bind(&account[..])
    .bind(tx.now)
    .bind(tx.now - rules::REVOKED_TOKEN_MS)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// The token that the same call added before.
async fn added_before(
    tx: &mut Tx<'_>,
    request: &CreateApiTokenRequest,
) -> Outcome<Option<ApiToken>> {
    let row: Option<TokenRow> =
        sqlx::query_as(select!("t.id = ? AND t.account = ? AND t.hash = ?"))
            .bind(&request.id[..])
            .bind(&request.account_id[..])
            .bind(&request.hash[..])
            .fetch_optional(&mut *tx.conn)
            .await?;
    Ok(row.map(|row| row.0))
}

#[async_trait]
impl Command for CreateApiTokenRequest {
    type Reply = ApiToken;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ApiToken> {
        let account = GetAccountRequest {
            id: self.account_id.clone(),
        };
        account.run(tx).await?;
        clean(tx, &self.account_id).await?;
        if let Some(token) = added_before(tx, &self).await? {
            return Ok(token);
        }
        let (all, revoked): (i64, i64) =
            sqlx::query_as("SELECT count(*), count(revoked_at) FROM api_tokens WHERE account = ?")
                .bind(&self.account_id[..])
                .fetch_one(&mut *tx.conn)
                .await?;
        rules::room_for_token(all, revoked, self.max_tokens)?;
        let inserted = sqlx::query(
            "INSERT INTO api_tokens (id, account, hash, name, scope, created_at, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.id[..])
        .bind(&self.account_id[..])
        .bind(&self.hash[..])
        .bind(&*self.name)
        .bind(self.scope)
        .bind(tx.now)
        .bind(tx.now + self.lifetime_ms)
        .execute(&mut *tx.conn)
        .await;
        match inserted {
            Err(error) if !is_taken(&error) => return Err(error.into()),
            _ => {}
        }
        let added = added_before(tx, &self).await?;
        added.ok_or_else(|| Problem::new(Kind::NameConflict, "another token has this id").into())
    }
}

#[async_trait]
impl Command for FindApiTokenRequest {
    type Reply = ApiToken;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ApiToken> {
        let row: Option<TokenRow> = sqlx::query_as(select!(
            "t.hash = ? AND t.revoked_at IS NULL AND t.expires_at > ?"
        ))
        .bind(&self.hash[..])
        .bind(tx.now)
        .fetch_optional(&mut *tx.conn)
        .await?;
        row.map(|row| row.0)
            .ok_or_else(|| rules::not_found("token").into())
    }
}

#[async_trait]
impl Command for ListApiTokensRequest {
    type Reply = ListApiTokensResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListApiTokensResponse> {
        let rows: Vec<TokenRow> = sqlx::query_as(select!(
            "t.account = ? AND t.revoked_at IS NULL AND t.expires_at > ? ORDER BY t.id"
        ))
        .bind(&self.account_id[..])
        .bind(tx.now)
        .fetch_all(&mut *tx.conn)
        .await?;
        let tokens = rows.into_iter().map(|row| row.0).collect();
        Ok(ListApiTokensResponse { tokens })
    }
}

#[async_trait]
impl Command for RevokeApiTokenRequest {
    type Reply = RevokeApiTokenResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<RevokeApiTokenResponse> {
        let revoked = sqlx::query(
            "UPDATE api_tokens SET revoked_at = coalesce(revoked_at, ?3)
            WHERE id = ?1 AND account = ?2",
        )
        .bind(&self.id[..])
        .bind(&self.account_id[..])
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await?;
        if revoked.rows_affected() == 0 {
            return Err(rules::not_found("token").into());
        }
        Ok(RevokeApiTokenResponse {})
    }
}
