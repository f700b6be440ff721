//! The end of entries that were deleted for good.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::file::*;

use super::{
    content::{self, Room},
    error::Outcome,
    statement::Statement,
    trash,
    tx::{Command, Tx},
};
use crate::check;

/// Accounts that one call locks: enough to keep up with many that delete a little, few enough
/// that hardly anybody waits for it.
const MAX_ACCOUNTS: usize = 64;

/// Entries, by id, and the accounts that own them.
pub(super) type Found = Vec<(Vec<u8>, Vec<u8>)>;

#[async_trait]
impl Command for PurgeRequest {
    type Reply = PurgeResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<PurgeResponse> {
        let limit = check::limit(self.limit);
        if trash::expire(tx, limit).await? {
            // Accounts were locked: what they own is found by the next call.
            return Ok(PurgeResponse {
                purged: 0,
                more: true,
            });
        }
        // Found without locks, because accounts come first. What is deleted for good cannot come
        // back, and nothing can be added below it: what was found stays true, but for what others
        // purge.
        let mut below = below_deleted(tx, limit.div_ceil(2)).await?;
        let mut ends = ends(tx, limit).await?;
        let mut owners = BTreeSet::new();
        for found in [&mut ends, &mut below] {
            few_owners(&mut owners, found);
        }
        let mut purged = 0;
        if !owners.is_empty() {
            content::lock_accounts(tx, &owners).await?;
            sink(tx, &below).await?;
            purged = release(tx, &ends).await?;
        }
        // Kinds are named for the index, which leads with them.
        let more: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM entries
                WHERE kind IN (1 /* folder */, 2 /* file */) AND doomed_at IS NOT NULL)",
        )
        .fetch_one(&mut *tx.conn)
        .await?;
        Ok(PurgeResponse {
            purged: u32::try_from(purged).unwrap_or(u32::MAX),
            more: more != 0,
        })
    }
}

/// Leaves out what would make the owners too many.
pub(super) fn few_owners(owners: &mut BTreeSet<Vec<u8>>, found: &mut Found) {
    found.retain(|(_, owner)| {
        owners.contains(owner) || (owners.len() < MAX_ACCOUNTS && owners.insert(owner.clone()))
    });
}

/// What hangs directly below deleted folders and is not marked itself: deepest first and fewer than
/// are purged with it, so that few folders wait for their end and none is looked at in vain.
async fn below_deleted(tx: &mut Tx<'_>, limit: u32) -> Outcome<Found> {
    Ok(sqlx::query_as(
        "SELECT c.id, c.owner FROM entries p STRAIGHT_JOIN entries c ON c.parent = p.id
        WHERE p.kind = 1 /* folder */ AND p.doomed_at IS NOT NULL AND c.live = 1
        ORDER BY p.doomed_at DESC LIMIT ?",
    )
    .bind(limit)
    .fetch_all(&mut *tx.conn)
    .await?)
}

/// Deleted entries that can go: files at once, folders when nothing hangs below them any more.
async fn ends(tx: &mut Tx<'_>, limit: u32) -> Outcome<Found> {
    let mut ends: Found = sqlx::query_as(
        "SELECT id, owner FROM entries
        WHERE kind = 2 /* file */ AND doomed_at IS NOT NULL ORDER BY doomed_at LIMIT ?",
    )
    .bind(limit)
    .fetch_all(&mut *tx.conn)
    .await?;
    let room = u32::try_from(ends.len()).map_or(0, |files| limit.saturating_sub(files));
    if room > 0 {
        let folders: Found = sqlx::query_as(
            "SELECT e.id, e.owner FROM entries e
            WHERE e.kind = 1 /* folder */ AND e.doomed_at IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM entries c WHERE c.parent = e.id)
            ORDER BY e.doomed_at DESC LIMIT ?",
        )
        .bind(room)
        .fetch_all(&mut *tx.conn)
        .await?;
        ends.extend(folders);
    }
    Ok(ends)
}

/// Deletion sinks from a folder to what it holds.
async fn sink(tx: &mut Tx<'_>, found: &Found) -> Outcome<()> {
    if found.is_empty() {
        return Ok(());
    }
    let sink = Statement::new("UPDATE entries FORCE INDEX (PRIMARY) SET deleted_at = ")
        .number(tx.now)
        .sql(" WHERE deleted_at IS NULL AND id IN ")
        .list(found.iter().map(|(id, _)| &id[..]));
    sink.execute(tx).await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Purged {
    id: Vec<u8>,
    owner: Vec<u8>,
    blob_id: Option<Vec<u8>>,
    size: i64,
}

/// Removes rows of entries, whose accounts are locked, and gives back what they held. How many
/// were there still.
async fn release(tx: &mut Tx<'_>, found: &Found) -> Outcome<usize> {
    if found.is_empty() {
        return Ok(0);
    }
    let lock = Statement::new(
        "SELECT id, owner, blob_id, size FROM entries FORCE INDEX (PRIMARY) WHERE id IN ",
    )
    .list(found.iter().map(|(id, _)| &id[..]))
    .sql(" FOR UPDATE");
    let rows: Vec<Purged> = lock.fetch(tx).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let delete = Statement::new("DELETE FROM entries WHERE id IN ");
    let delete = delete.list(rows.iter().map(|row| &row.id[..]));
    delete.execute(tx).await?;
    let purged = rows.len();
    let mut references = BTreeMap::new();
    let mut used: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for row in rows {
        if let Some(blob) = row.blob_id {
            *references.entry(Bytes::from(blob)).or_default() -= 1;
            *used.entry(row.owner).or_default() += row.size;
        }
    }
    if !used.is_empty() {
        content::release(tx, Room::Used, &used).await?;
    }
    content::change_references(tx, &references).await?;
    Ok(purged)
}
