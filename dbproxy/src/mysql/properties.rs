//! Dead properties of WebDAV.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::dav::*;
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

use super::{
    content,
    error::Outcome,
    locks,
    rows::text,
    statement::Statement,
    tree::Walk,
    tx::{Command, Tx},
};
use crate::dav::{self, Extent, Properties, Touched};

/// Originals and copies in one statement, which names each of them twice: 50 KB.
const PAIRS_AT_ONCE: usize = 500;

struct PropertyRow(EntryProperty);

impl FromRow<'_, MySqlRow> for PropertyRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self(EntryProperty {
            entry: row.try_get::<Vec<u8>, _>("entry")?.into(),
            property: Some(Property {
                namespace: text(row, "namespace")?,
                name: text(row, "name")?,
                xml: text(row, "xml")?,
            }),
        }))
    }
}

#[async_trait]
impl Command for PatchPropertiesRequest {
    type Reply = PatchPropertiesResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<PatchPropertiesResponse> {
        content::lock_account(tx, &self.owner).await?;
        let entry = Walk::down(tx, &self.owner, &self.path).await?.into_end()?;
        let touched = [Touched {
            path: &self.path,
            extent: Extent::Entry,
        }];
        let held = locks::of_account(tx, &self.owner).await?;
        dav::check(&held, &self.lock_tokens, &touched)?;
        let old: Vec<PropertyRow> = sqlx::query_as(
            "SELECT entry, namespace, name, xml FROM dav_properties WHERE entry = ?",
        )
        .bind(&entry.id[..])
        .fetch_all(&mut *tx.conn)
        .await?;
        let old = old.into_iter().filter_map(|row| row.0.property);
        let mut properties: Properties = old
            .map(|property| ((property.namespace, property.name), property.xml))
            .collect();
        dav::patch(&mut properties, &self.changes)?;
        sqlx::query("DELETE FROM dav_properties WHERE entry = ?")
            .bind(&entry.id[..])
            .execute(&mut *tx.conn)
            .await?;
        if properties.is_empty() {
            return Ok(PatchPropertiesResponse {});
        }
        let insert =
            Statement::new("INSERT INTO dav_properties (entry, namespace, name, xml) VALUES ")
                .rows(&properties, |row, ((namespace, name), xml)| {
                    row.bytes(&entry.id)
                        .bytes(namespace.as_bytes())
                        .bytes(name.as_bytes())
                        .text(xml);
                });
        insert.execute(tx).await?;
        Ok(PatchPropertiesResponse {})
    }
}

#[async_trait]
impl Command for ListPropertiesRequest {
    type Reply = ListPropertiesResponse;

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<ListPropertiesResponse> {
        let select = Statement::new(
            "SELECT p.entry, p.namespace, p.name, p.xml
            FROM dav_properties p STRAIGHT_JOIN entries e ON e.id = p.entry WHERE e.owner = ",
        )
        .bytes(&self.owner)
        .sql(" AND p.entry IN ")
        .list(self.entries.iter().map(|entry| &entry[..]));
        let rows: Vec<PropertyRow> = select.fetch(tx).await?;
        Ok(ListPropertiesResponse {
            properties: rows.into_iter().map(|row| row.0).collect(),
        })
    }
}

/// Gives copies the properties of what they are copies of: pairs of original and copy. No more than one
/// call may copy.
pub(super) async fn copy(tx: &mut Tx<'_>, pairs: &[(Bytes, Bytes)]) -> Outcome<()> {
    let mut bytes = 0;
    for pairs in pairs.chunks(PAIRS_AT_ONCE) {
        bytes += total(tx, pairs).await?;
        dav::check_copied_properties(bytes)?;
        let mut copy = Statement::new(
            "INSERT INTO dav_properties (entry, namespace, name, xml)
            SELECT CASE p.entry",
        );
        for (from, to) in pairs {
            copy = copy.sql(" WHEN ").bytes(from).sql(" THEN ").bytes(to);
        }
        let copy = copy
            .sql(" END, p.namespace, p.name, p.xml FROM dav_properties p WHERE p.entry IN ")
            .list(pairs.iter().map(|(from, _)| &from[..]));
        copy.execute(tx).await?;
    }
    Ok(())
}

/// Bytes of the properties of some originals.
async fn total(tx: &mut Tx<'_>, pairs: &[(Bytes, Bytes)]) -> Outcome<i64> {
    let sum = Statement::new(
        "SELECT CAST(COALESCE(SUM(LENGTH(namespace) + LENGTH(name) + LENGTH(xml)), 0) AS SIGNED)
        FROM dav_properties WHERE entry IN ",
    )
    .list(pairs.iter().map(|(from, _)| &from[..]));
    let sums: Vec<(i64,)> = sum.fetch(tx).await?;
    Ok(sums.into_iter().map(|(bytes,)| bytes).sum())
}
