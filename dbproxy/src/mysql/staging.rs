//! Staged copies without an upload row: which of them may still become part of a blob.
//!
//! A node that starts after a crash asks what its staged files are good for and removes those that
//! nothing refers to, while the commit that would refer to one of them may still be on its way
//! through another process. So that answer and that commit exclude each other: the answer first
//! writes down that the copies are abandoned and then looks for blobs that refer to them, the
//! commit first makes its blob and then looks whether the copy is abandoned. Each reads with a
//! lock, so one of them sees the other or waits for its end.

use std::collections::HashSet;

use bytes::Bytes;
use cloudstore_service::{Kind, Problem};

use super::{error::Outcome, statement::Statement, tx::Tx};

/// How long an abandoned copy is remembered, in milliseconds: far longer than any commit is under
/// way.
const REMEMBERED_MS: i64 = 24 * 3_600 * 1_000;
/// Rows that were remembered for long enough and go with one call.
const FORGOTTEN_AT_ONCE: u32 = 1_000;
/// Ids in one statement, which may be 16 MiB long.
const IDS_AT_ONCE: usize = 10_000;

/// What a commit is told when its copy was abandoned: its node has removed it.
pub(super) fn abandoned() -> Problem {
    let detail = "what was received is not there any more: send it again";
    Problem::new(Kind::UploadGone, detail)
}

/// After a blob was made to refer to a copy: it must not be abandoned.
pub(super) async fn refuse_abandoned(tx: &mut Tx<'_>, staging_id: &Bytes) -> Outcome<()> {
    let found = sqlx::query(
        "SELECT forget_at FROM abandoned_copies WHERE staging_id = ? LOCK IN SHARE MODE",
    )
    .bind(&staging_id[..])
    .fetch_optional(&mut *tx.conn)
    .await?;
    if found.is_some() {
        return Err(abandoned().into());
    }
    Ok(())
}

/// Before copies are called unreferenced: no commit that is not under way already may have them
/// any more. Answers which are referred to after all, by commits that were.
pub(super) async fn abandon(tx: &mut Tx<'_>, mut copies: Vec<Bytes>) -> Outcome<HashSet<Bytes>> {
    // Everybody inserts in one order, so that nobody waits for each other.
    copies.sort_unstable();
    for some in copies.chunks(IDS_AT_ONCE) {
        let forget_at = tx.now + REMEMBERED_MS;
        let insert = Statement::new("INSERT INTO abandoned_copies (staging_id, forget_at) VALUES ")
            .rows(some, |row, id| {
                row.bytes(id).number(forget_at);
            })
            .sql(" ON DUPLICATE KEY UPDATE forget_at = VALUES(forget_at)");
        insert.execute(tx).await?;
    }
    of_blobs(tx, &copies, " LOCK IN SHARE MODE").await
}

/// Which of these copies belong to a blob.
pub(super) async fn of_blobs(
    tx: &mut Tx<'_>,
    copies: &[Bytes],
    lock: &'static str,
) -> Outcome<HashSet<Bytes>> {
    let mut found = HashSet::new();
    for some in copies.chunks(IDS_AT_ONCE) {
        // The index is forced because locking must not reach beyond these rows.
        let select = Statement::new(
            "SELECT staging_id FROM blobs FORCE INDEX (blobs_staging) WHERE staging_id IN ",
        )
        .list(some.iter().map(|id| &id[..]))
        .sql(lock);
        let ids: Vec<(Vec<u8>,)> = select.fetch(tx).await?;
        found.extend(ids.into_iter().map(|(id,)| Bytes::from(id)));
    }
    Ok(found)
}

/// Which of these copies belong to an upload that is not finished.
pub(super) async fn of_uploads(tx: &mut Tx<'_>, copies: &[Bytes]) -> Outcome<HashSet<Bytes>> {
    let mut found = HashSet::new();
    for some in copies.chunks(IDS_AT_ONCE) {
        let select =
            Statement::new("SELECT id FROM uploads WHERE status = 1 /* uploading */ AND id IN ")
                .list(some.iter().map(|id| &id[..]));
        let ids: Vec<(Vec<u8>,)> = select.fetch(tx).await?;
        found.extend(ids.into_iter().map(|(id,)| Bytes::from(id)));
    }
    Ok(found)
}

/// Forgets copies that were abandoned long ago.
pub(super) async fn forget(tx: &mut Tx<'_>) -> Outcome<()> {
    sqlx::query("DELETE FROM abandoned_copies WHERE forget_at <= ? ORDER BY forget_at LIMIT ?")
        .bind(tx.now)
        .bind(FORGOTTEN_AT_ONCE)
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}
