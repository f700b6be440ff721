//! Sessions and their refresh tokens.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::account::*;
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};

use super::{
    error::Outcome,
    writer::{Command, Tx},
};
use crate::rules;

/// Expired sessions that a new one cleans away: more than one, so that they become fewer.
const CLEANED_PER_LOGIN: u32 = 100;
/// Revocations in one answer: 2 MB of ids.
const REVOCATIONS_PER_PAGE: u32 = 100_000;

/// Sessions of a list: far more than anybody looks at.
const MAX_LISTED: u32 = 1_000;

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT s.id, s.account, a.username, s.expires_at, s.created_at, s.used_at, s.client
            FROM sessions s JOIN accounts a ON a.id = s.account
            WHERE s.revoked_at IS NULL AND ",
            $condition
        )
    };
}

struct SessionRow(Session);

impl FromRow<'_, SqliteRow> for SessionRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self(Session {
            id: row.try_get::<Vec<u8>, _>("id")?.into(),
            account_id: row.try_get::<Vec<u8>, _>("account")?.into(),
            username: row.try_get("username")?,
            expires_at_ms: row.try_get("expires_at")?,
            created_at_ms: row.try_get("created_at")?,
            used_at_ms: row.try_get("used_at")?,
            client: row.try_get("client")?,
        }))
    }
}

/// Revokes the sessions of an account but one (or none, when `keep` is empty).
pub(super) async fn revoke_all(tx: &mut Tx<'_>, account: &Bytes, keep: &Bytes) -> Outcome<()> {
    sqlx::query(
        "UPDATE sessions SET revoked_at = ?3
        WHERE account = ?1 AND id <> ?2 AND revoked_at IS NULL",
    )
    .bind(&account[..])
    .bind(&keep[..])
    .bind(tx.now)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

async fn add_token(tx: &mut Tx<'_>, hash: &Bytes, session: &Bytes, until: i64) -> Outcome<()> {
    sqlx::query("INSERT INTO refresh_tokens (hash, session, expires_at) VALUES (?, ?, ?)")
        .bind(&hash[..])
        .bind(&session[..])
        .bind(until)
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

#[async_trait]
impl Command for CreateSessionRequest {
    type Reply = Session;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Session> {
        let account = GetAccountRequest {
            id: self.account_id.clone(),
        }
        .run(tx)
        .await?;
        sqlx::query(
            "DELETE FROM sessions WHERE id IN
                (SELECT id FROM sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        )
        .bind(tx.now)
        .bind(CLEANED_PER_LOGIN)
        .execute(&mut *tx.conn)
        .await?;
        let expires_at_ms = tx.now + self.lifetime_ms;
        let inserted = sqlx::query(
            "INSERT INTO sessions (id, account, created_at, expires_at, used_at, client)
            VALUES (?1, ?2, ?3, ?4, ?3, ?5) ON CONFLICT (id) DO NOTHING",
        )
        .bind(&self.id[..])
        .bind(&self.account_id[..])
        .bind(tx.now)
        .bind(expires_at_ms)
        .bind(&*self.client)
        .execute(&mut *tx.conn)
        .await?;
        if inserted.rows_affected() == 0 {
            return begun_before(tx, &self).await;
        }
        add_token(tx, &self.refresh_hash, &self.id, expires_at_ms).await?;
        Ok(Session {
            id: self.id,
            account_id: self.account_id,
            username: account.username,
            expires_at_ms,
            created_at_ms: tx.now,
            used_at_ms: tx.now,
            client: self.client,
        })
    }
}

/// The session that the same call began before; its refresh token tells it from another one.
async fn begun_before(tx: &mut Tx<'_>, request: &CreateSessionRequest) -> Outcome<Session> {
    let same: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM refresh_tokens WHERE hash = ? AND session = ?")
            .bind(&request.refresh_hash[..])
            .bind(&request.id[..])
            .fetch_optional(&mut *tx.conn)
            .await?;
    match usable(tx, &request.id).await? {
        Some(session) if same.is_some() && session.account_id == request.account_id => Ok(session),
        _ => Err(Problem::new(Kind::NameConflict, "the id belongs to another session").into()),
    }
}

/// What became of a refresh token; refusing one must not roll back the revocation.
pub(super) enum Rotated {
    /// Exchanged.
    Session(Session),
    /// Refused.
    Refused,
}

#[async_trait]
impl Command for RotateSessionRequest {
    type Reply = Rotated;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Rotated> {
        let token: Option<(Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(
            "SELECT session, replaced_by FROM refresh_tokens WHERE hash = ? AND expires_at > ?",
        )
        .bind(&self.old_refresh_hash[..])
        .bind(tx.now)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let Some((session, replaced_by)) = token else {
            return Ok(Rotated::Refused);
        };
        let session = Bytes::from(session);
        let Some(mut current) = usable(tx, &session).await? else {
            return Ok(Rotated::Refused);
        };
        match replaced_by {
            None => {
                current.expires_at_ms = tx.now + self.lifetime_ms;
                current.used_at_ms = tx.now;
                exchange(tx, &self, &current).await?;
                Ok(Rotated::Session(current))
            }
            // The same exchange again: its answer was lost on the way to account-svc.
            Some(successor) if successor == self.new_refresh_hash => Ok(Rotated::Session(current)),
            Some(_) => {
                revoke(session).run(tx).await?;
                Ok(Rotated::Refused)
            }
        }
    }
}

/// Whoever has it.
fn revoke(id: Bytes) -> RevokeSessionRequest {
    RevokeSessionRequest {
        id,
        account_id: Bytes::new(),
    }
}

async fn exchange(
    tx: &mut Tx<'_>,
    request: &RotateSessionRequest,
    session: &Session,
) -> Outcome<()> {
    sqlx::query("UPDATE refresh_tokens SET replaced_by = ?2 WHERE hash = ?1")
        .bind(&request.old_refresh_hash[..])
        .bind(&request.new_refresh_hash[..])
        .execute(&mut *tx.conn)
        .await?;
    add_token(
        tx,
        &request.new_refresh_hash,
        &session.id,
        session.expires_at_ms,
    )
    .await?;
    sqlx::query("DELETE FROM refresh_tokens WHERE session = ? AND expires_at <= ?")
        .bind(&session.id[..])
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await?;
    sqlx::query("UPDATE sessions SET expires_at = ?2, used_at = ?3 WHERE id = ?1")
        .bind(&session.id[..])
        .bind(session.expires_at_ms)
        .bind(tx.now)
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

/// A session that is neither revoked nor expired.
async fn usable(tx: &mut Tx<'_>, id: &Bytes) -> Outcome<Option<Session>> {
    let row: Option<SessionRow> = sqlx::query_as(select!("s.id = ? AND s.expires_at > ?"))
        .bind(&id[..])
        .bind(tx.now)
        .fetch_optional(&mut *tx.conn)
        .await?;
    Ok(row.map(|row| row.0))
}

#[async_trait]
impl Command for GetSessionRequest {
    type Reply = Session;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Session> {
        usable(tx, &self.id)
            .await?
            .ok_or_else(|| rules::not_found("session").into())
    }
}

#[async_trait]
impl Command for ListSessionsRequest {
    type Reply = ListSessionsResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListSessionsResponse> {
        let rows: Vec<SessionRow> = sqlx::query_as(select!(
            "s.account = ? AND s.expires_at > ? ORDER BY s.used_at DESC, s.id DESC LIMIT ?"
        ))
        .bind(&self.account_id[..])
        .bind(tx.now)
        .bind(MAX_LISTED)
        .fetch_all(&mut *tx.conn)
        .await?;
        Ok(ListSessionsResponse {
            sessions: rows.into_iter().map(|row| row.0).collect(),
        })
    }
}

#[async_trait]
impl Command for RevokeSessionRequest {
    type Reply = RevokeSessionsResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<RevokeSessionsResponse> {
        if !self.account_id.is_empty() {
            let owned: Option<i64> =
                sqlx::query_scalar("SELECT 1 FROM sessions WHERE id = ? AND account = ?")
                    .bind(&self.id[..])
                    .bind(&self.account_id[..])
                    .fetch_optional(&mut *tx.conn)
                    .await?;
            owned.ok_or_else(|| rules::not_found("session"))?;
        }
        sqlx::query("UPDATE sessions SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")
            .bind(&self.id[..])
            .bind(tx.now)
            .execute(&mut *tx.conn)
            .await?;
        Ok(RevokeSessionsResponse {})
    }
}

#[async_trait]
impl Command for RevokeAllSessionsRequest {
    type Reply = RevokeSessionsResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<RevokeSessionsResponse> {
        revoke_all(tx, &self.account_id, &Bytes::new()).await?;
        Ok(RevokeSessionsResponse {})
    }
}

#[async_trait]
impl Command for ListRevocationsRequest {
    type Reply = ListRevocationsResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListRevocationsResponse> {
        let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
            "SELECT id, revoked_at FROM sessions WHERE revoked_at >= ?1
            UNION ALL SELECT id, revoked_at FROM api_tokens WHERE revoked_at >= ?1
            ORDER BY revoked_at LIMIT ?2",
        )
        .bind(self.since_ms)
        .bind(REVOCATIONS_PER_PAGE)
        .fetch_all(&mut *tx.conn)
        .await?;
        // A revocation is stamped before its commit, and may show up after a later one.
        let covered = tx.now - rules::REVOCATION_OVERLAP_MS;
        let next_since_ms = match rows.last() {
            Some((_, last)) if rows.len() == REVOCATIONS_PER_PAGE as usize => {
                // Moves on even if one millisecond fills a whole page.
                covered.min((*last).max(self.since_ms + 1))
            }
            _ => covered,
        };
        let session_ids = rows.into_iter().map(|(id, _)| id.into()).collect();
        Ok(ListRevocationsResponse {
            session_ids,
            next_since_ms,
        })
    }
}
