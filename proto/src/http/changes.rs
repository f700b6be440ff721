//! JSON bodies of changes to files and folders.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Entry, OnConflict};

/// `POST /api/v1/folders`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateFolder {
    /// Absolute path.
    #[schema(max_length = 4096)]
    pub path: String,
    /// Create missing parents and accept an existing folder.
    #[serde(default)]
    pub parents: bool,
}

/// `POST /api/v1/changes`: all of them or none, in order.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// 1 to 1,000 changes.
    #[schema(min_items = 1, max_items = 1000)]
    pub changes: Vec<Change>,
}

/// One of several changes.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Creates a folder.
    CreateFolder {
        /// Absolute path.
        path: String,
        /// Create missing parents and accept an existing folder.
        #[serde(default)]
        parents: bool,
    },
    /// Renames or moves an entry.
    Move {
        /// Absolute path of the entry.
        from: String,
        /// New absolute path; its parent must exist.
        to: String,
    },
    /// Deletes an entry and everything below it.
    Delete {
        /// Absolute path.
        path: String,
        /// For good, not into the trash.
        #[serde(default)]
        permanent: bool,
    },
}

/// What became of the changes.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Changed {
    /// One for each change, in order; `null` for a deletion.
    pub entries: Vec<Option<Entry>>,
}

/// `PATCH /api/v1/files/{path}`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveEntry {
    /// New absolute path; its parent must exist.
    #[schema(max_length = 4096)]
    pub path: String,
}

/// `POST /api/v1/copies`. No content is moved: the copies refer to the same, and take room in the quota.
/// 201 with the copy; 507 `limit-reached` for a folder of more than 10,000 entries, 422 `invalid-path`
/// for a folder into itself. `If-Match` is about what is copied.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyEntry {
    /// Absolute path of a file, or of a folder, which is copied with everything below it.
    #[schema(max_length = 4096)]
    pub from: String,
    /// Absolute path of the copy; its parent must exist.
    #[schema(max_length = 4096)]
    pub to: String,
    /// What to do when `to` is taken, by whatever content. `replace` deletes what is there, a folder
    /// with everything in it. Default: fail.
    #[serde(default)]
    pub on_conflict: OnConflict,
}
