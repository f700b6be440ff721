//! The end of entries that were deleted for good.

use std::collections::HashMap;

use async_trait::async_trait;
use cloudstore_proto::file::*;

use super::{
    content,
    error::Outcome,
    rows::list,
    trash,
    writer::{Command, Tx},
};
use crate::check;

#[async_trait]
impl Command for PurgeRequest {
    type Reply = PurgeResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<PurgeResponse> {
        let limit = check::limit(self.limit);
        trash::expire(tx, limit).await?;
        // Deletion sinks from a folder to what it holds, a bounded number of entries at a time:
        // deepest first and fewer than are purged below, so that few folders wait for their end
        // and none is looked at in vain.
        sqlx::query(
            "UPDATE entries SET deleted_at = ?1 WHERE id IN
                (SELECT c.id FROM entries p CROSS JOIN entries c ON c.parent = p.id
                WHERE p.kind = 1 /* folder */ AND p.doomed_at IS NOT NULL AND c.live = 1
                ORDER BY p.doomed_at DESC LIMIT ?2)",
        )
        .bind(tx.now)
        .bind(limit.div_ceil(2))
        .execute(&mut *tx.conn)
        .await?;
        // Files at once, folders when nothing hangs below them any more.
        let rows: Vec<Purged> = sqlx::query_as(
            "SELECT e.id, e.owner, e.blob, e.size FROM entries e
            WHERE e.doomed_at IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM entries c WHERE c.parent = e.id)
            ORDER BY e.kind DESC LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&mut *tx.conn)
        .await?;
        release(tx, &rows).await?;
        let more =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM entries WHERE doomed_at IS NOT NULL)")
                .fetch_one(&mut *tx.conn)
                .await?;
        Ok(PurgeResponse {
            purged: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            more,
        })
    }
}

#[derive(sqlx::FromRow)]
struct Purged {
    id: Vec<u8>,
    owner: Vec<u8>,
    blob: Option<Vec<u8>>,
    size: i64,
}

/// Removes rows of entries and gives back what they held.
async fn release(tx: &mut Tx<'_>, rows: &[Purged]) -> Outcome<()> {
    let mut references: HashMap<&[u8], i64> = HashMap::new();
    let mut used: HashMap<&[u8], i64> = HashMap::new();
    for Purged {
        owner, blob, size, ..
    } in rows
    {
        if let Some(blob) = blob {
            *references.entry(blob).or_default() += 1;
            *used.entry(owner).or_default() += size;
        }
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone().into()).collect();
    sqlx::query("DELETE FROM entries WHERE id IN (SELECT unhex(value) FROM json_each(?))")
        .bind(list(&ids))
        .execute(&mut *tx.conn)
        .await?;
    for (blob, count) in references {
        content::drop_references(tx, blob, count).await?;
    }
    for (account, bytes) in used {
        content::charge(tx, &account.to_vec().into(), -bytes, 0).await?;
    }
    Ok(())
}
