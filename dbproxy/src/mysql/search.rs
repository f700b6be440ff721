//! Names, in a folder and anywhere below it.

use async_trait::async_trait;
use cloudstore_proto::file::*;

use super::{
    error::Outcome,
    rows::{EntryRow, blob_columns, entry_columns},
    tree::{self, Walk},
    tx::{Command, Tx},
};
use crate::{check, names, rules};

#[async_trait]
impl Command for SearchRequest {
    type Reply = SearchResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<SearchResponse> {
        let top = Walk::down(tx, &self.owner, &self.path).await?.into_end()?;
        rules::check_folder(&top)?;
        let limit = check::limit(self.limit);
        // No read takes longer than `reads::MAX_READ`, which bounds it for the largest account.
        let rows: Vec<EntryRow> = sqlx::query_as(concat!(
            "WITH RECURSIVE folders (id) AS (
                SELECT id FROM entries WHERE id = ?
                UNION ALL
                SELECT e.id FROM folders f STRAIGHT_JOIN entries e
                ON e.parent = f.id AND e.live = 1 AND e.kind = 1 /* folder */)
            SELECT ",
            entry_columns!(),
            " FROM folders f STRAIGHT_JOIN entries e ON e.parent = f.id AND e.live = 1
            LEFT JOIN blobs b ON b.blake3 = e.blob_id
            WHERE instr(e.name_key, ?) > 0 LIMIT ?"
        ))
        .bind(&top.id[..])
        .bind(names::key(&self.text).into_bytes())
        .bind(limit + 1)
        .fetch_all(&mut *tx.conn)
        .await?;
        let found: Vec<Entry> = rows.into_iter().map(|row| row.entry).collect();
        let paths = tree::paths(tx, found.iter().map(|entry| &entry.id)).await?;
        Ok(rules::found(found, paths, limit))
    }
}
