//! Names, in a folder and anywhere below it.

use async_trait::async_trait;
use cloudstore_proto::file::*;
use cloudstore_service::{Kind, Problem};

use super::{
    error::{Fail, Outcome, takes_too_long},
    rows::{EntryRow, blob_columns, entry_columns},
    tree::{self, Walk},
    tx::{Command, Tx},
};
use crate::{check, names, rules};

// The server itself ends a search after 2.5 s, before `reads::MAX_READ` would take the server for lost:
// MariaDB reads the comment in front, MySQL the hint behind SELECT.
macro_rules! bounded {
    ($with:literal) => {
        concat!(
            "/*M!100108 SET STATEMENT max_statement_time = 2.5 FOR */ ",
            $with,
            " SELECT /*+ MAX_EXECUTION_TIME(2500) */ "
        )
    };
}

#[async_trait]
impl Command for SearchRequest {
    type Reply = SearchResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<SearchResponse> {
        let top = Walk::down(tx, &self.owner, &self.path).await?.into_end()?;
        rules::check_folder(&top)?;
        let limit = check::limit(self.limit);
        let rows: sqlx::Result<Vec<EntryRow>> = sqlx::query_as(concat!(
            bounded!(
                "WITH RECURSIVE folders (id) AS (
                    SELECT id FROM entries WHERE id = ?
                    UNION ALL
                    SELECT e.id FROM folders f STRAIGHT_JOIN entries e
                    ON e.parent = f.id AND e.live = 1 AND e.kind = 1 /* folder */)"
            ),
            entry_columns!(),
            " FROM folders f STRAIGHT_JOIN entries e ON e.parent = f.id AND e.live = 1
            LEFT JOIN blobs b ON b.blake3 = e.blob_id
            WHERE instr(e.name_key, ?) > 0 LIMIT ?"
        ))
        .bind(&top.id[..])
        .bind(names::key(&self.text).into_bytes())
        .bind(limit + 1)
        .fetch_all(&mut *tx.conn)
        .await;
        let rows = rows.map_err(|error| match error {
            error if takes_too_long(&error) => too_much(error).into(),
            error => Fail::Sql(error),
        })?;
        let found: Vec<Entry> = rows.into_iter().map(|row| row.entry).collect();
        let paths = tree::paths(tx, found.iter().map(|entry| &entry.id)).await?;
        Ok(rules::found(found, paths, limit, false))
    }
}

fn too_much(error: sqlx::Error) -> Problem {
    let detail = "there is too much to look through: search in a folder further down";
    Problem::new(Kind::LimitReached, detail).caused_by(error)
}
