//! Rows as the queries return them, and the messages they become.

use bytes::Bytes;
use cloudstore_proto::file::{Blob, Entry};
use sqlx::{FromRow, Row as _, mysql::MySqlRow};

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

/// A column of text, whether the schema calls it text or bytes.
pub(super) fn text(row: &MySqlRow, column: &str) -> sqlx::Result<String> {
    row.try_get_unchecked(column)
}

/// A column of bytes that may be NULL; then it is empty.
pub(super) fn optional(row: &MySqlRow, column: &str) -> sqlx::Result<Bytes> {
    Ok(row
        .try_get::<Option<Vec<u8>>, _>(column)?
        .unwrap_or_default()
        .into())
}

/// A blob.
pub(super) struct BlobRow(pub(super) Blob);

impl FromRow<'_, MySqlRow> for BlobRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
        Ok(Self(Blob {
            blake3: row.try_get::<Vec<u8>, _>("blake3")?.into(),
            size: row.try_get("size")?,
            sha256: optional(row, "sha256")?,
            sha1: optional(row, "sha1")?,
            state: row.try_get("state")?,
            node: text(row, "node")?,
            staging_id: optional(row, "staging_id")?,
        }))
    }
}

/// An entry whose path is still empty, and its name.
pub(super) struct EntryRow {
    pub(super) entry: Entry,
    pub(super) name: String,
}

impl FromRow<'_, MySqlRow> for EntryRow {
    fn from_row(row: &MySqlRow) -> sqlx::Result<Self> {
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
            media_type: text(row, "media_type")?,
            created_at_ms: row.try_get("created_at")?,
            modified_at_ms: row.try_get("modified_at")?,
            version: row.try_get("version")?,
        };
        Ok(Self {
            entry,
            name: text(row, "name")?,
        })
    }
}

/// NULL for what is not known.
pub(super) fn nullable(bytes: &Bytes) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}
