//! JSON bodies of the HTTP API, shared by the services and the command line client.
//!
//! Digests are lower-case hexadecimal, times are RFC 3339 in UTC with milliseconds, ids are
//! hyphenated UUIDs, sizes are bytes. Requests refuse unknown fields, answers may gain some.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub mod admin;
mod changes;
mod listing;
mod openapi;
mod sessions;
pub mod shares;
pub mod trash;

pub use changes::*;
pub use listing::{Found, Listing};
pub use openapi::Binary;
pub use sessions::{Session, SessionList};

/// Media type of [`Problem`] (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Entries that one call of `POST /api/v1/uploads/batch` may carry.
pub const MAX_BATCH: usize = 1_000;
/// Largest number of chunks of one upload; the server picks the chunk size accordingly.
pub const MAX_CHUNKS: u64 = 10_000;
/// Chunk size of every upload that stays below [`MAX_CHUNKS`] with it.
pub const DEFAULT_CHUNK_SIZE: u64 = 8 << 20;

/// An error answer (RFC 9457). `type` is `/problems/<slug>` and stable.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `/problems/<slug>`
    #[serde(rename = "type")]
    #[schema(example = "/problems/not-found", pattern = "^/problems/[a-z-]+$")]
    pub kind: String,
    /// The same for every occurrence of the type.
    pub title: String,
    /// HTTP status code.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The request's id, as in the logs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Members of this type of problem (for instance `missing`, `errors`).
    #[serde(flatten)]
    #[schema(ignore)]
    pub extensions: Map<String, Value>,
}

impl Problem {
    /// The slug: `type` without `/problems/`.
    #[must_use]
    pub fn slug(&self) -> &str {
        self.kind.strip_prefix("/problems/").unwrap_or(&self.kind)
    }
}

/// `POST /api/v1/accounts`
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// 2 to 64 characters of `a-z A-Z 0-9 . _ -`, unique without regard to case.
    #[schema(min_length = 2, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    pub username: String,
    /// 8 to 1,024 bytes.
    #[schema(min_length = 8, max_length = 1024, format = Password)]
    pub password: String,
    /// Optional mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// Optional name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub display_name: Option<String>,
}

/// `POST /api/v1/sessions`
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// As registered, without regard to case.
    pub username: String,
    /// The password.
    #[schema(format = Password)]
    pub password: String,
}

/// `POST /api/v1/sessions/refresh`
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The token of the last login or refresh. It can be used once.
    pub refresh_token: String,
}

/// Answer to a login and to a refresh.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct Tokens {
    /// JWT for `Authorization: Bearer`.
    pub access_token: String,
    /// Always `Bearer`.
    #[schema(pattern = "^Bearer$")]
    pub token_type: String,
    /// Seconds until `access_token` expires.
    pub expires_in: u64,
    /// One-use token for the next pair.
    pub refresh_token: String,
}

/// An account as its owner sees it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Account {
    /// UUID.
    #[schema(format = Uuid)]
    pub id: String,
    /// As registered.
    pub username: String,
    /// Empty when not given.
    pub email: String,
    /// Empty when not given.
    pub display_name: String,
    /// Bytes the account may hold.
    pub quota_bytes: u64,
    /// Bytes its files have. Room of deleted files is given back in the background, within about a
    /// second (later for very large folders).
    pub used_bytes: u64,
    /// Bytes its unfinished uploads have reserved.
    pub reserved_bytes: u64,
    /// When it was registered.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// `PATCH /api/v1/me`; absent members stay as they are.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    /// New mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// New name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub display_name: Option<String>,
}

/// `PUT /api/v1/me/password`
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The password until now.
    #[schema(format = Password)]
    pub old_password: String,
    /// The password from now on; every other session ends.
    #[schema(min_length = 8, max_length = 1024, format = Password)]
    pub new_password: String,
}

/// What an API token is good for. None of them manages the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All of the files.
    Full,
    /// Create files and folders, and see and finish unfinished uploads; nothing that exists is
    /// read, listed, replaced or deleted.
    Upload,
    /// List and download.
    Read,
}

/// `POST /api/v1/tokens`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What it is for, in 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// Seconds until it expires, at most ten years; 90 days when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315360000)]
    pub expires_in: Option<u64>,
}

/// An API token as its owner sees it afterwards: never the secret.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Token {
    /// UUID.
    #[schema(format = Uuid)]
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it stops working.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Answer to the creation of an API token.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct CreatedToken {
    /// The secret, for `Authorization: Bearer` or as the password of `Basic`. Shown this once.
    #[schema(pattern = "^cst_[A-Za-z0-9_-]{43}$")]
    pub token: String,
    /// What can be seen of it later.
    #[serde(flatten)]
    pub about: Token,
}

/// `GET /api/v1/tokens`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct TokenList {
    /// Those that work now, oldest first.
    pub tokens: Vec<Token>,
}

/// What to do when the path is taken by other content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// 409 `name-conflict`.
    #[default]
    Fail,
    /// The new file takes the place of the old one.
    Replace,
    /// The new file is called `name (1).ext` or the like.
    Rename,
}

/// Digests that a client declares; each is verified before the upload completes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    pub blake3: Option<String>,
    /// 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    pub sha256: Option<String>,
    /// 40 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9A-Fa-f]{40}$")]
    pub sha1: Option<String>,
}

/// `POST /api/v1/uploads`, and one entry of a batch.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// Absolute path of the file to be; missing folders are created on completion.
    #[schema(max_length = 4096)]
    pub path: String,
    /// Bytes; 0 is allowed.
    pub size: u64,
    /// What the client knows of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digests: Option<Digests>,
    /// RFC 3339 modification time of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub mtime: Option<String>,
    /// Default: fail.
    #[serde(default)]
    pub on_conflict: OnConflict,
}

/// `POST /api/v1/uploads/batch`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUploads {
    /// 1 to [`MAX_BATCH`] entries.
    #[schema(min_items = 1, max_items = 1000)]
    pub entries: Vec<CreateUpload>,
}

/// An unfinished upload.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Upload {
    /// UUID.
    #[schema(format = Uuid)]
    pub id: String,
    /// Path of the file to be.
    pub path: String,
    /// Declared bytes; 0 while nobody has told the length.
    pub size: u64,
    /// The length is told later: there are no chunks yet, only a sequential protocol goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub length_unknown: bool,
    /// Bytes of every chunk but the last, a power of two of at least 1 MiB.
    pub chunk_size: u64,
    /// Number of chunks; 0 for an empty file.
    pub chunk_count: u64,
    /// Bytes that are kept.
    pub received: u64,
    /// First and last index of each run of chunks still to be sent.
    pub missing: Vec<[u64; 2]>,
    /// The node with the received bytes does not answer right now: what is said in `received` and
    /// `missing` is not known. Only in lists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreachable: bool,
    /// The upload and what was received of it are dropped then.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// URL path of the upload.
    pub location: String,
}

/// `GET /api/v1/uploads/{id}`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum UploadState {
    /// Chunks are still to be sent, or the upload is still to be completed.
    Uploading {
        /// The upload.
        #[serde(flatten)]
        upload: Upload,
    },
    /// It became a file.
    Completed {
        /// The file.
        file: File,
    },
}

/// Prove possession of content the server already has.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Challenge {
    /// 64 hexadecimal digits: the BLAKE3 key.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub nonce: String,
    /// Offset and length of each window; the proof is the keyed hash of their bytes in this order.
    /// They cover all of the content when it is short or only its SHA-1 was declared.
    pub windows: Vec<[u64; 2]>,
    /// The proof is refused afterwards.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Answer to the creation of an upload, and to one entry of a batch.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Created {
    /// No byte needs to be sent: the file exists now.
    Instant {
        /// The file.
        file: File,
    },
    /// Send the missing chunks, then complete.
    Uploading {
        /// The upload.
        #[serde(flatten)]
        upload: Upload,
    },
    /// Prove possession, or send the missing chunks like for `Uploading`.
    Challenge {
        /// What to prove.
        challenge: Challenge,
        /// The upload.
        #[serde(flatten)]
        upload: Upload,
    },
    /// Batches only: small and new; `PUT /api/v1/content/{path}`.
    Direct,
    /// Batches only: this entry was refused.
    Problem {
        /// Why.
        problem: Problem,
    },
}

/// Answer to a batch, one result for each entry, in order.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CreatedUploads {
    /// In the order of the entries.
    pub results: Vec<Created>,
}

/// `POST /api/v1/uploads/{id}/proof`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// 64 hexadecimal digits.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    pub proof: String,
}

/// `GET /api/v1/uploads`
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Uploads {
    /// Oldest first.
    pub uploads: Vec<Upload>,
}

/// Answer to a completion and to an accepted proof.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Completed {
    /// The file.
    pub file: File,
}

/// Is the content already in durable storage?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// Complete and safe on a staging node, on its way.
    Staged,
    /// Verified in durable storage.
    Stored,
}

/// A file.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct File {
    /// UUID.
    #[schema(format = Uuid)]
    pub id: String,
    /// Absolute path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3-256 of the content: its identity.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub blake3: String,
    /// SHA-256, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub sha256: Option<String>,
    /// SHA-1, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{40}$")]
    pub sha1: Option<String>,
    /// Guessed from the name when not told.
    pub media_type: String,
    /// When the file appeared here.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The client's mtime, or when the content last changed.
    #[schema(format = DateTime)]
    pub modified_at: String,
    /// Staged or stored.
    pub state: FileState,
    /// This answer is about an upload for which no content was sent.
    #[serde(default)]
    pub instant: bool,
}

/// A folder.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Folder {
    /// UUID; the root folder's is the account's.
    #[schema(format = Uuid)]
    pub id: String,
    /// Absolute path.
    pub path: String,
    /// When it was created.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed its name or place.
    #[schema(format = DateTime)]
    pub modified_at: String,
}

/// A file or a folder.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Entry {
    /// A file.
    File(File),
    /// A folder.
    Folder(Folder),
}
