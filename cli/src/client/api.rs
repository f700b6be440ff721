//! One method for each call of the API.

use std::time::Duration;

use bytes::Bytes;
use cloudstore_proto::http::{
    Account, Completed, CopyEntry, CreateFolder, CreateToken, CreateUpload, CreateUploads, Created,
    CreatedToken, CreatedUploads, Entry, File, Folder, Found, Listing, Login, MoveEntry,
    OnConflict, Proof, Register, SessionList, TokenList, Tokens, UploadState, Uploads,
    shares::{CreateShare, CreatedShare, ShareList},
    trash::{Restore, Trash},
};
use reqwest::{
    Method, Response,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, RANGE},
};

use super::{
    Client,
    body::RangeBody,
    encode_path,
    wire::{Payload, Request, Trouble},
};
use crate::error::Result;

/// How content is wanted: `stream` means from the server itself.
const DELIVERY: HeaderName = HeaderName::from_static("cloudstore-delivery");
/// Entries a page of a listing, the most the server gives.
const PAGE: &str = "1000";
/// Completing waits for the server's disk, which may have many gigabytes to flush.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(600);

/// Content of a direct upload.
pub(crate) enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file.
    File(RangeBody),
    /// Comes once, of unknown length.
    Stream(reqwest::Body),
}

impl Client {
    /// Creates an account.
    pub(crate) async fn register(&self, body: &Register) -> Result<Account> {
        self.fetch(
            Request::new(Method::POST, "/api/v1/accounts")
                .json(body)?
                .once(),
        )
        .await
    }

    /// Starts a session.
    pub(crate) async fn login(&self, body: &Login) -> Result<Tokens> {
        self.fetch(Request::new(Method::POST, "/api/v1/sessions").json(body)?)
            .await
    }

    /// Ends this session, or all of the account.
    pub(crate) async fn logout(&self, all: bool) -> Result<()> {
        let path = if all {
            "/api/v1/sessions"
        } else {
            "/api/v1/sessions/current"
        };
        self.execute(Request::new(Method::DELETE, path)).await
    }

    /// Where the account is logged in.
    pub(crate) async fn sessions(&self) -> Result<SessionList> {
        self.fetch(Request::new(Method::GET, "/api/v1/sessions"))
            .await
    }

    /// Ends one login.
    pub(crate) async fn revoke_session(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/sessions{}", encode_path(id));
        self.execute(Request::new(Method::DELETE, path)).await
    }

    /// The account.
    pub(crate) async fn me(&self) -> Result<Account> {
        self.fetch(Request::new(Method::GET, "/api/v1/me")).await
    }

    /// A new API token. Once: a repetition would leave one that nobody knows.
    pub(crate) async fn create_token(&self, body: &CreateToken) -> Result<CreatedToken> {
        let request = Request::new(Method::POST, "/api/v1/tokens").json(body)?;
        self.fetch(request.once()).await
    }

    /// The API tokens that work now.
    pub(crate) async fn tokens(&self) -> Result<TokenList> {
        self.fetch(Request::new(Method::GET, "/api/v1/tokens"))
            .await
    }

    /// Ends an API token.
    pub(crate) async fn revoke_token(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/tokens{}", encode_path(id));
        self.execute(Request::new(Method::DELETE, path)).await
    }

    /// A new share. Once: a repetition would leave one that nobody knows.
    pub(crate) async fn create_share(&self, body: &CreateShare) -> Result<CreatedShare> {
        let request = Request::new(Method::POST, "/api/v1/shares").json(body)?;
        self.fetch(request.once()).await
    }

    /// The shares that have not ended.
    pub(crate) async fn shares(&self) -> Result<ShareList> {
        self.fetch(Request::new(Method::GET, "/api/v1/shares"))
            .await
    }

    /// Ends a share.
    pub(crate) async fn revoke_share(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/shares{}", encode_path(id));
        self.execute(Request::new(Method::DELETE, path)).await
    }

    /// Metadata of a file or folder, with a page of a folder's entries.
    pub(crate) async fn list(&self, path: &str, cursor: Option<&str>) -> Result<Listing> {
        let encoded = format!("/api/v1/files{}", encode_path(path));
        let mut request = Request::new(Method::GET, encoded).query("limit", PAGE);
        if let Some(cursor) = cursor {
            request = request.query("cursor", cursor);
        }
        self.about(path, self.fetch(request).await?)
    }

    /// What has a text in its name, anywhere below a folder.
    pub(crate) async fn search(&self, text: &str, path: &str, limit: u32) -> Result<Found> {
        let request = Request::new(Method::GET, "/api/v1/search")
            .query("q", text)
            .query("path", path)
            .query("limit", limit.to_string());
        self.fetch(request).await
    }

    /// Metadata only.
    pub(crate) async fn stat(&self, path: &str) -> Result<Listing> {
        let encoded = format!("/api/v1/files{}", encode_path(path));
        let request = Request::new(Method::GET, encoded).query("limit", "1");
        self.about(path, self.fetch(request).await?)
    }

    /// What the server answers is about what it was asked for: the names of local files come from
    /// there.
    fn about(&self, path: &str, listing: Listing) -> Result<Listing> {
        let (Entry::File(File { path: told, .. }) | Entry::Folder(Folder { path: told, .. })) =
            &listing.entry;
        if told == path {
            return Ok(listing);
        }
        let why = format!("it answered a request for {path} with {told}");
        Err(self.error(Trouble::Garbled(why)))
    }

    /// Creates a folder.
    pub(crate) async fn create_folder(&self, path: &str, parents: bool) -> Result<Entry> {
        let body = CreateFolder {
            path: path.to_owned(),
            parents,
        };
        let request = Request::new(Method::POST, "/api/v1/folders").json(&body)?;
        // With parents an existing folder is fine, so once more is harmless.
        self.fetch(if parents { request } else { request.once() })
            .await
    }

    /// Renames or moves.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<Entry> {
        let path = format!("/api/v1/files{}", encode_path(from));
        let body = MoveEntry {
            path: to.to_owned(),
        };
        self.fetch(Request::new(Method::PATCH, path).json(&body)?.once())
            .await
    }

    /// Copies on the server.
    pub(crate) async fn copy(
        &self,
        from: &str,
        to: &str,
        on_conflict: OnConflict,
    ) -> Result<Entry> {
        let body = CopyEntry {
            from: from.to_owned(),
            to: to.to_owned(),
            on_conflict,
        };
        let request = Request::new(Method::POST, "/api/v1/copies").json(&body)?;
        self.fetch(request.once()).await
    }

    /// Deletes a file, or a folder with everything in it.
    pub(crate) async fn remove(&self, path: &str, permanent: bool) -> Result<()> {
        let path = format!("/api/v1/files{}", encode_path(path));
        let mut request = Request::new(Method::DELETE, path).once();
        if permanent {
            request = request.query("permanent", "true");
        }
        self.execute(request).await
    }

    /// A page of the trash.
    pub(crate) async fn trash(&self, cursor: Option<&str>) -> Result<Trash> {
        let mut request = Request::new(Method::GET, "/api/v1/trash").query("limit", PAGE);
        if let Some(cursor) = cursor {
            request = request.query("cursor", cursor);
        }
        self.fetch(request).await
    }

    /// Puts something of the trash back.
    pub(crate) async fn restore(&self, id: &str, body: &Restore) -> Result<Entry> {
        let path = format!("/api/v1/trash{}/restore", encode_path(id));
        self.fetch(Request::new(Method::POST, path).json(body)?.once())
            .await
    }

    /// Deletes something of the trash for good.
    pub(crate) async fn delete_trashed(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/trash{}", encode_path(id));
        self.execute(Request::new(Method::DELETE, path)).await
    }

    /// Deletes everything of the trash for good.
    pub(crate) async fn empty_trash(&self) -> Result<()> {
        self.execute(Request::new(Method::DELETE, "/api/v1/trash"))
            .await
    }

    /// The head of a file's content, or of a range of it (the value of `Range` without `bytes=`).
    /// With a BLAKE3 root the answer is a problem if the file has other content.
    pub(crate) async fn content(
        &self,
        path: &str,
        range: Option<&str>,
        blake3: Option<&str>,
    ) -> Result<Response> {
        let path = format!("/api/v1/content{}", encode_path(path));
        // What the answer says of the content is needed, so no redirect to the object store.
        let mut request =
            Request::new(Method::GET, path).header(DELIVERY, HeaderValue::from_static("stream"));
        if let Some(range) = range.and_then(|range| header(&format!("bytes={range}"))) {
            request = request.header(RANGE, range);
        }
        if let Some(etag) = blake3.and_then(|root| header(&format!("\"{root}\""))) {
            request = request.header(IF_MATCH, etag);
        }
        self.open(request).await
    }

    /// Sends a whole file.
    pub(crate) async fn put_content(
        &self,
        path: &str,
        content: Content,
        on_conflict: OnConflict,
        mtime: Option<&str>,
    ) -> Result<File> {
        let path = format!("/api/v1/content{}", encode_path(path));
        let mut request = Request::new(Method::PUT, path)
            .query("on_conflict", conflict_name(on_conflict))
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            );
        if let Some(mtime) = mtime {
            request = request.query("mtime", mtime);
        }
        self.fetch(request.payload(match content {
            Content::Bytes(bytes) => Payload::Bytes(bytes),
            Content::File(file) => Payload::Range(file),
            Content::Stream(body) => Payload::Once(Some(body)),
        }))
        .await
    }

    /// Starts an upload, or finds that none is needed.
    pub(crate) async fn create_upload(&self, body: &CreateUpload) -> Result<Created> {
        self.fetch(Request::new(Method::POST, "/api/v1/uploads").json(body)?)
            .await
    }

    /// Starts many.
    pub(crate) async fn create_uploads(&self, body: &CreateUploads) -> Result<CreatedUploads> {
        self.fetch(Request::new(Method::POST, "/api/v1/uploads/batch").json(body)?)
            .await
    }

    /// Answers a challenge. Not repeated: a challenge can be answered once.
    pub(crate) async fn prove(&self, id: &str, proof: &[u8; 32]) -> Result<Completed> {
        let body = Proof {
            proof: hex::encode(proof),
        };
        let path = format!("/api/v1/uploads{}/proof", encode_path(id));
        self.fetch(Request::new(Method::POST, path).json(&body)?.once())
            .await
    }

    /// Sends a chunk.
    pub(crate) async fn put_chunk(&self, id: &str, index: u64, chunk: RangeBody) -> Result<()> {
        let path = format!("/api/v1/uploads{}/chunks/{index}", encode_path(id));
        let octets = HeaderValue::from_static("application/octet-stream");
        let request = Request::new(Method::PUT, path).header(CONTENT_TYPE, octets);
        self.execute(request.payload(Payload::Range(chunk))).await
    }

    /// What is missing of an upload.
    pub(crate) async fn upload(&self, id: &str) -> Result<UploadState> {
        self.fetch(Request::new(
            Method::GET,
            format!("/api/v1/uploads{}", encode_path(id)),
        ))
        .await
    }

    /// All unfinished uploads.
    pub(crate) async fn uploads(&self) -> Result<Uploads> {
        self.fetch(Request::new(Method::GET, "/api/v1/uploads"))
            .await
    }

    /// Turns an upload into a file.
    pub(crate) async fn complete(&self, id: &str) -> Result<Completed> {
        let path = format!("/api/v1/uploads{}/complete", encode_path(id));
        self.fetch(Request::new(Method::POST, path).patience(COMPLETION_PATIENCE))
            .await
    }

    /// Drops an upload.
    pub(crate) async fn cancel(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/uploads{}", encode_path(id));
        self.execute(Request::new(Method::DELETE, path)).await
    }
}

fn header(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

fn conflict_name(on_conflict: OnConflict) -> &'static str {
    match on_conflict {
        OnConflict::Fail => "fail",
        OnConflict::Replace => "replace",
        OnConflict::Rename => "rename",
    }
}
