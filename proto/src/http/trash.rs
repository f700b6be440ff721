//! JSON bodies of the trash.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{OnConflict, shares::EntryKind};

/// `GET /api/v1/trash`: what was deleted and can be restored, last deleted first.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Trash {
    /// A page. What was in a deleted folder is not listed, it comes back with the folder.
    pub entries: Vec<Trashed>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A file or folder that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct Trashed {
    /// UUID.
    #[schema(format = Uuid)]
    pub id: String,
    /// What it was called.
    pub name: String,
    /// Where it was.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes; 0 for a folder.
    pub size: u64,
    /// When it was deleted.
    #[schema(format = DateTime)]
    pub deleted_at: String,
    /// When it goes for good.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// `POST /api/v1/trash/{id}/restore`: answers with the entry; 404 for what is not in the trash any more,
/// 409 `name-conflict` when the name is taken. Folders that are missing on the way are made.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// Absolute path; where it was when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub path: Option<String>,
    /// What to do when the name is taken: `fail` (the default) or `rename`. Nothing is replaced.
    #[serde(default)]
    pub on_conflict: OnConflict,
}
