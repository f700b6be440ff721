//! Sessions and their refresh tokens.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::account::*;
use cloudstore_service::{Kind, Problem};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    accounts,
    error::{Outcome, is_taken},
    rows::text,
    statement::Statement,
    tx::{Command, Tx},
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

impl FromRow<'_, MySqlRow> for SessionRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self(Session {
            id: row.try_get::<Vec<u8>, _>("id")?.into(),
            account_id: row.try_get::<Vec<u8>, _>("account")?.into(),
            username: text(row, "username")?,
            expires_at_ms: row.try_get("expires_at")?,
            created_at_ms: row.try_get("created_at")?,
            used_at_ms: row.try_get("used_at")?,
            client: text(row, "client")?,
        }))
    }
}

/// Revokes the sessions of an account but one (or none, when `keep` is empty).
pub(super) async fn revoke_all(tx: &mut Tx<'_>, account: &Bytes, keep: &Bytes) -> Outcome<()> {
    sqlx::query(
        "UPDATE sessions SET revoked_at = ?
        WHERE account = ? AND id <> ? AND revoked_at IS NULL",
    )
    .bind(tx.now)
    .bind(&account[..])
    .bind(&keep[..])
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

/// Forgets some sessions that expired, whoever had them. Those that somebody else is at are left
/// to the next one, so that logins do not wait for each other.
async fn clean(tx: &mut Tx<'_>) -> Outcome<()> {
    let expired: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT id FROM sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
        FOR UPDATE SKIP LOCKED",
    )
    .bind(tx.now)
    .bind(CLEANED_PER_LOGIN)
    .fetch_all(&mut *tx.conn)
    .await?;
    if expired.is_empty() {
        return Ok(());
    }
    let delete = Statement::new("DELETE FROM sessions WHERE id IN ");
    let delete = delete.list(expired.iter().map(|id| &id[..]));
    delete.execute(tx).await?;
    Ok(())
}

#[async_trait]
impl Command for CreateSessionRequest {
    type Reply = Session;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Session> {
        let account = accounts::lock(tx, &self.account_id).await?;
        clean(tx).await?;
        let expires_at_ms = tx.now + self.lifetime_ms;
        let inserted = sqlx::query(
            "INSERT INTO sessions (id, account, created_at, expires_at, used_at, client)
            VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&self.id[..])
        .bind(&self.account_id[..])
        .bind(tx.now)
        .bind(expires_at_ms)
        .bind(tx.now)
        .bind(&*self.client)
        .execute(&mut *tx.conn)
        .await;
        match inserted {
            Ok(_) => {}
            Err(error) if is_taken(&error) => return begun_before(tx, self).await,
            Err(error) => return Err(error.into()),
        }
        add_token(tx, &self.refresh_hash, &self.id, expires_at_ms).await?;
        Ok(Session {
            id: self.id.clone(),
            account_id: self.account_id.clone(),
            username: account.username,
            expires_at_ms,
            created_at_ms: tx.now,
            used_at_ms: tx.now,
            client: self.client.clone(),
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Rotated> {
        let session: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT session FROM refresh_tokens WHERE hash = ?")
                .bind(&self.old_refresh_hash[..])
                .fetch_optional(&mut *tx.conn)
                .await?;
        let Some(session) = session.map(Bytes::from) else {
            return Ok(Rotated::Refused);
        };
        // Sessions before tokens: two exchanges of one token come one after the other.
        sqlx::query("SELECT id FROM sessions WHERE id = ? FOR UPDATE")
            .bind(&session[..])
            .fetch_optional(&mut *tx.conn)
            .await?;
        let token: Option<(Option<Vec<u8>>,)> = sqlx::query_as(
            "SELECT replaced_by FROM refresh_tokens WHERE hash = ? AND expires_at > ?",
        )
        .bind(&self.old_refresh_hash[..])
        .bind(tx.now)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let Some((replaced_by,)) = token else {
            return Ok(Rotated::Refused);
        };
        let Some(mut current) = usable(tx, &session).await? else {
            return Ok(Rotated::Refused);
        };
        match replaced_by {
            None => {
                current.expires_at_ms = tx.now + self.lifetime_ms;
                current.used_at_ms = tx.now;
                exchange(tx, self, &current).await?;
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
    sqlx::query("UPDATE refresh_tokens SET replaced_by = ? WHERE hash = ?")
        .bind(&request.new_refresh_hash[..])
        .bind(&request.old_refresh_hash[..])
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
    sqlx::query("UPDATE sessions SET expires_at = ?, used_at = ? WHERE id = ?")
        .bind(session.expires_at_ms)
        .bind(tx.now)
        .bind(&session.id[..])
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Session> {
        usable(tx, &self.id)
            .await?
            .ok_or_else(|| rules::not_found("session").into())
    }
}

#[async_trait]
impl Command for ListSessionsRequest {
    type Reply = ListSessionsResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListSessionsResponse> {
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

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<RevokeSessionsResponse> {
        if !self.account_id.is_empty() {
            let owned: Option<i64> =
                sqlx::query_scalar("SELECT 1 FROM sessions WHERE id = ? AND account = ?")
                    .bind(&self.id[..])
                    .bind(&self.account_id[..])
                    .fetch_optional(&mut *tx.conn)
                    .await?;
            owned.ok_or_else(|| rules::not_found("session"))?;
        }
        sqlx::query("UPDATE sessions SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
            .bind(tx.now)
            .bind(&self.id[..])
            .execute(&mut *tx.conn)
            .await?;
        Ok(RevokeSessionsResponse {})
    }
}

#[async_trait]
impl Command for RevokeAllSessionsRequest {
    type Reply = RevokeSessionsResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<RevokeSessionsResponse> {
        revoke_all(tx, &self.account_id, &Bytes::new()).await?;
        Ok(RevokeSessionsResponse {})
    }
}

#[async_trait]
impl Command for ListRevocationsRequest {
    type Reply = ListRevocationsResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListRevocationsResponse> {
        let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
            "SELECT id, revoked_at FROM sessions WHERE revoked_at >= ?
            UNION ALL SELECT id, revoked_at FROM api_tokens WHERE revoked_at >= ?
            ORDER BY revoked_at LIMIT ?",
        )
        .bind(self.since_ms)
        .bind(self.since_ms)
        .bind(REVOCATIONS_PER_PAGE)
        .fetch_all(&mut *tx.conn)
        .await?;
        // A revocation is stamped before its commit, and may show up after a later one. What a
        // replica lacks while there is no primary shows up even later: nothing is covered then.
        let covered = if tx.is_primary {
            tx.now - rules::REVOCATION_OVERLAP_MS
        } else {
            self.since_ms
        };
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
