//! Dead properties of WebDAV.

use async_trait::async_trait;
use bytes::Bytes;
use cloudstore_proto::dav::*;

use super::{
    error::Outcome,
    locks,
    rows::list,
    tree::Walk,
    writer::{Command, Tx},
};
use crate::dav::{self, Extent, Properties, Touched};

#[async_trait]
impl Command for PatchPropertiesRequest {
    type Reply = PatchPropertiesResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<PatchPropertiesResponse> {
        let entry = Walk::down(tx, &self.owner, &self.path).await?.into_end()?;
        let touched = [Touched {
            path: &self.path,
            extent: Extent::Entry,
        }];
        let held = locks::of_account(tx, &self.owner).await?;
        dav::check(&held, &self.lock_tokens, &touched)?;
        let old: Vec<(String, String, String)> =
            sqlx::query_as("SELECT namespace, name, xml FROM dav_properties WHERE entry = ?")
                .bind(&entry.id[..])
                .fetch_all(&mut *tx.conn)
                .await?;
        let old = old
            .into_iter()
            .map(|(space, name, xml)| ((space, name), xml));
        let mut properties: Properties = old.collect();
        dav::patch(&mut properties, &self.changes)?;
        sqlx::query("DELETE FROM dav_properties WHERE entry = ?")
            .bind(&entry.id[..])
            .execute(&mut *tx.conn)
            .await?;
        for ((namespace, name), xml) in &properties {
            sqlx::query(
                "INSERT INTO dav_properties (entry, namespace, name, xml) VALUES (?, ?, ?, ?)",
            )
            .bind(&entry.id[..])
            .bind(namespace)
            .bind(name)
            .bind(xml)
            .execute(&mut *tx.conn)
            .await?;
        }
        Ok(PatchPropertiesResponse {})
    }
}

#[async_trait]
impl Command for ListPropertiesRequest {
    type Reply = ListPropertiesResponse;

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<ListPropertiesResponse> {
        let rows: Vec<(Vec<u8>, String, String, String)> = sqlx::query_as(
            "SELECT p.entry, p.namespace, p.name, p.xml
            FROM json_each(?2) i CROSS JOIN dav_properties p ON p.entry = unhex(i.value)
            CROSS JOIN entries e ON e.id = p.entry WHERE e.owner = ?1",
        )
        .bind(&self.owner[..])
        .bind(list(&self.entries))
        .fetch_all(&mut *tx.conn)
        .await?;
        let properties = rows
            .into_iter()
            .map(|(entry, namespace, name, xml)| EntryProperty {
                entry: entry.into(),
                property: Some(Property {
                    namespace,
                    name,
                    xml,
                }),
            });
        Ok(ListPropertiesResponse {
            properties: properties.collect(),
        })
    }
}

/// Gives copies the properties of what they are copies of: pairs of original and copy. No more than one
/// call may copy.
pub(super) async fn copy(tx: &mut Tx<'_>, pairs: &[(Bytes, Bytes)]) -> Outcome<()> {
    let pairs = pairs
        .iter()
        .map(|(from, to)| (hex::encode(from), hex::encode(to).into()));
    let pairs: serde_json::Map<String, serde_json::Value> = pairs.collect();
    let pairs = serde_json::Value::from(pairs).to_string();
    let bytes: i64 = sqlx::query_scalar(
        "SELECT COALESCE(SUM(length(CAST(p.namespace AS BLOB)) + length(CAST(p.name AS BLOB))
            + length(CAST(p.xml AS BLOB))), 0)
        FROM json_each(?) i CROSS JOIN dav_properties p ON p.entry = unhex(i.key)",
    )
    .bind(&pairs)
    .fetch_one(&mut *tx.conn)
    .await?;
    dav::check_copied_properties(bytes)?;
    sqlx::query(
        "INSERT INTO dav_properties (entry, namespace, name, xml)
        SELECT unhex(i.value), p.namespace, p.name, p.xml
        FROM json_each(?) i CROSS JOIN dav_properties p ON p.entry = unhex(i.key)",
    )
    .bind(pairs)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}
