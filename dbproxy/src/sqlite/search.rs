//! Names, in a folder and anywhere below it.

use async_trait::async_trait;
use cloudstore_proto::file::*;

use super::{
    error::Outcome,
    rows::{EntryRow, blob_columns, entry_columns},
    tree::{self, Walk},
    writer::{Command, Tx},
};
use crate::{check, names, rules};

/// Folders that are looked into, and names in them that are looked at: about a second for the largest
/// account. What is beyond is not found, and the answer says so.
const MAX_FOLDERS: u32 = 200_000;
const MAX_NAMES: u32 = 500_000;

/// Everything below a folder: of what is in its folders id and name, up to the bounds.
macro_rules! below {
    () => {
        "WITH RECURSIVE folders (id) AS (
            SELECT ?1
            UNION ALL
            SELECT e.id FROM folders f CROSS JOIN entries e
            ON e.parent = f.id AND e.live = 1 AND e.kind = 1 /* folder */
            LIMIT ?2),
        below (id, name_key) AS (
            SELECT e.id, e.name_key
            FROM folders f CROSS JOIN entries e ON e.parent = f.id AND e.live = 1
            LIMIT ?3)
        "
    };
}

#[async_trait]
impl Command for SearchRequest {
    type Reply = SearchResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<SearchResponse> {
        let top = Walk::down(tx, &self.owner, &self.path).await?.into_end()?;
        rules::check_folder(&top)?;
        let limit = check::limit(self.limit);
        let rows: Vec<EntryRow> = sqlx::query_as(concat!(
            below!(),
            "SELECT ",
            entry_columns!(),
            " FROM below CROSS JOIN entries e ON e.id = below.id
            LEFT JOIN blobs b ON b.blake3 = e.blob
            WHERE instr(below.name_key, ?4) > 0 LIMIT ?5"
        ))
        .bind(&top.id[..])
        .bind(MAX_FOLDERS)
        .bind(MAX_NAMES)
        .bind(names::key(&self.text))
        .bind(limit + 1)
        .fetch_all(&mut *tx.conn)
        .await?;
        let is_full = rows.len() > limit as usize;
        let cut = !is_full && reaches_bounds(tx, &top).await?;
        let found: Vec<Entry> = rows.into_iter().map(|row| row.entry).collect();
        let paths = tree::paths(tx, found.iter().map(|entry| &entry.id)).await?;
        Ok(rules::found(found, paths, limit, cut))
    }
}

/// Is there more below a folder than is looked at?
async fn reaches_bounds(tx: &mut Tx<'_>, top: &Entry) -> Outcome<bool> {
    let (folders, names): (u32, u32) = sqlx::query_as(concat!(
        below!(),
        "SELECT (SELECT count(*) FROM folders), (SELECT count(*) FROM below)"
    ))
    .bind(&top.id[..])
    .bind(MAX_FOLDERS)
    .bind(MAX_NAMES)
    .fetch_one(&mut *tx.conn)
    .await?;
    Ok(folders >= MAX_FOLDERS || names >= MAX_NAMES)
}
