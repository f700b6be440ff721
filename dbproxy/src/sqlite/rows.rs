//! Rows as the queries return them, and the messages they become.

use bytes::Bytes;
use cloudstore_proto::file::{Blob, Entry};
use sqlx::{FromRow, Row as _, sqlite::SqliteRow};

/// Columns of [`BlobRow`], from `blobs b`.
macro_rules! blob_columns {
    () => {
        "b.blake3, b.size, b.sha256, b.sha1, b.state, b.node, b.staging_id"
    };
}

/// Columns of [`EntryRow`], from `entries e LEFT JOIN blobs b`.
macro_rules! entry_columns {
    () => {
        concat!(
            "e.id, e.owner, e.name, e.kind, e.media_type, e.created_at, e.modified_at, e.version, ",
            blob_columns!()
        )
    };
}

pub(super) use {blob_columns, entry_columns};

/// A blob.
pub(super) struct BlobRow(pub(super) Blob);

impl FromRow<'_, SqliteRow> for BlobRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let optional = |column| -> sqlx::Result<Bytes> {
            Ok(row
                .try_get::<Option<Vec<u8>>, _>(column)?
                .unwrap_or_default()
                .into())
        };
        Ok(Self(Blob {
            blake3: row.try_get::<Vec<u8>, _>("blake3")?.into(),
            size: row.try_get("size")?,
            sha256: optional("sha256")?,
            sha1: optional("sha1")?,
            state: row.try_get("state")?,
            node: row.try_get("node")?,
            staging_id: optional("staging_id")?,
        }))
    }
}

/// An entry whose path is still empty, and its name.
pub(super) struct EntryRow {
    pub(super) entry: Entry,
    pub(super) name: String,
}

impl FromRow<'_, SqliteRow> for EntryRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let has_blob = row.try_get::<Option<&[u8]>, _>("blake3")?.is_some();
        let entry = Entry {
            id: row.try_get::<Vec<u8>, _>("id")?.into(),
            owner: row.try_get::<Vec<u8>, _>("owner")?.into(),
            path: String::new(),
            kind: row.try_get("kind")?,
            blob: if has_blob {
                Some(BlobRow::from_row(row)?.0)
            } else {
                None
            },
            media_type: row.try_get("media_type")?,
            created_at_ms: row.try_get("created_at")?,
            modified_at_ms: row.try_get("modified_at")?,
            version: row.try_get("version")?,
        };
        Ok(Self {
            entry,
            name: row.try_get("name")?,
        })
    }
}

/// NULL for what is not known.
pub(super) fn nullable(bytes: &Bytes) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

/// A list of ids or digests as one argument: `SELECT unhex(value) FROM json_each(?)`.
pub(super) fn list<'a>(items: impl IntoIterator<Item = &'a Bytes>) -> String {
    let items: Vec<String> = items.into_iter().map(hex::encode).collect();
    serde_json::Value::from(items).to_string()
}
