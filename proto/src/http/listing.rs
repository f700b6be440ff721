//! JSON bodies that list entries.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Entry;

/// `GET /api/v1/files/{path}`: a file's metadata, or a folder with a page of its entries.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Listing {
    /// What the path names.
    #[serde(flatten)]
    pub entry: Entry,
    /// A folder's entries; absent for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<Vec<Entry>>,
    /// Pass as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `GET /api/v1/search`: entries anywhere below a folder.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Found {
    /// In order of their paths.
    pub entries: Vec<Entry>,
    /// These are not all.
    pub more: bool,
}
