//! JSON bodies of shares.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /api/v1/shares`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateShare {
    /// Absolute path of a file or folder. The share follows it when it is moved.
    #[schema(max_length = 4096)]
    pub path: String,
    /// Seconds until it ends, at most ten years; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315360000)]
    pub expires_in: Option<u64>,
    /// To be told by whoever opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 8, max_length = 1024, format = Password)]
    pub password: Option<String>,
    /// How many downloads may begin; any number when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000000)]
    pub max_downloads: Option<u64>,
    /// Whoever has it puts files into this folder, and sees nothing of what is in it. Downloads of it
    /// are not limited: there are none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub uploads: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// File or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Has content.
    File,
    /// Holds entries.
    Folder,
}

/// A share as its owner sees it afterwards: never the token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct Share {
    /// UUID.
    #[schema(format = Uuid)]
    pub id: String,
    /// Where the entry is now.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// How many downloads may begin; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_downloads: Option<u64>,
    /// How many have begun.
    pub downloads: u64,
    /// It has to be unlocked.
    pub has_password: bool,
    /// It collects what others upload, and shows nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub uploads: bool,
}

/// Answer to the creation of a share.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct CreatedShare {
    /// The secret that opens it. Shown this once.
    #[schema(pattern = "^css_[A-Za-z0-9_-]{43}$")]
    pub token: String,
    /// The address to give away; it ends with the token.
    pub url: String,
    /// What can be seen of it later.
    #[serde(flatten)]
    pub about: Share,
}

/// `GET /api/v1/shares`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ShareList {
    /// Those that have not ended, oldest first; those without downloads left among them.
    pub shares: Vec<Share>,
}

/// `POST /api/v1/public/shares/{token}/unlock`
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnlockShare {
    /// Of the share.
    #[schema(format = Password)]
    pub password: String,
}

/// Answer to the right password. A cookie with the ticket comes with it.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct UnlockedShare {
    /// Opens this share: for the field `Cloudstore-Share-Ticket` of requests.
    pub ticket: String,
    /// Seconds until it does not any more.
    pub expires_in: u64,
}

/// A file or a folder as those see it who know the token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct SharedEntry {
    /// What it is.
    pub kind: EntryKind,
    /// Its name.
    pub name: String,
    /// Path below what is shared, which itself is `/`.
    pub path: String,
    /// Bytes; files only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Files only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The file's own time when one was told, or when it last changed.
    #[schema(format = DateTime)]
    pub modified_at: String,
}

/// `GET /api/v1/public/shares/{token}`: what a token opens, or what is at a path below it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PublicShare {
    /// Nothing else is told before it is unlocked, but when it ends.
    pub needs_password: bool,
    /// When the share ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// How many more downloads may begin; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downloads_left: Option<u64>,
    /// Files can be put into the folder, with the token as `Authorization: Bearer` at `/files/`; what is
    /// in it is not shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub uploads: bool,
    /// What the path names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<SharedEntry>,
    /// A page of a folder's entries; absent for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<Vec<SharedEntry>>,
    /// Pass as `cursor` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
