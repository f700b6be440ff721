//! PUT (RFC 4918 section 9.7): a direct upload with the manners of WebDAV.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use cloudstore_proto::{
    file::{Entry, Precondition},
    path,
    upload::{CommitUploadResponse, OnConflict},
};
use cloudstore_service::{Kind, Problem};
use futures::Stream;

use super::{
    super::{content_length, direct, malformed, refuse_encodings, stream},
    Call,
    refusal::{Refusal, Result},
    store::{etag, is_folder},
};
use crate::engine::{Begin, Error, body::BodyError, session::Declared};

/// Seconds since 1970 of the file on the client's disk, with or without a fraction. Clients of other
/// servers send it to everybody.
const MTIME: HeaderName = HeaderName::from_static("x-oc-mtime");

/// Takes the content of a file: 201 when the file is new, else 204.
pub(super) async fn put(call: Call, body: Body) -> Result<Response> {
    refuse_encodings(&call.headers)?;
    if call.headers.contains_key(header::CONTENT_RANGE) {
        // RFC 9110 section 14.5: a PUT with Content-Range must not be taken for the whole.
        return Err(malformed("a partial PUT is not possible").into());
    }
    if call.has_slash {
        let detail = "a folder cannot have content; make it with MKCOL";
        return Err(Problem::new(Kind::MethodNotAllowed, detail).into());
    }
    let size = content_length(&call.headers)?;
    call.states.require(&call.store, &call.path).await?;
    // The engine makes the folders that are missing; this protocol wants to hear of them.
    call.store.parent_of(&call.path).await?;
    let mtime_ms = mtime(&call.headers);
    let content = Content {
        size,
        mtime_ms,
        media_type: direct::content_type(&call.headers),
    };
    let under = call.precondition();
    let committed = call.store_content(content, under, stream(body)).await?;
    metrics::counter!("cloudstore_uploads_completed_total", "how" => "dav").increment(1);
    let status = if committed.replaced {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::CREATED
    };
    let mut response = status.into_response();
    let headers = response.headers_mut();
    if let Some(tag) = committed.file.as_ref().and_then(etag) {
        let tag = HeaderValue::try_from(tag);
        headers.insert(header::ETAG, tag.expect("hexadecimal digits are ASCII"));
    }
    if mtime_ms != 0 {
        headers.insert(MTIME, HeaderValue::from_static("accepted"));
    }
    Ok(response)
}

/// What is known of content before it comes.
#[derive(Default)]
pub(super) struct Content {
    pub(super) size: Option<u64>,
    /// 0: not known.
    pub(super) mtime_ms: i64,
    pub(super) media_type: Option<String>,
}

impl Call {
    /// Puts content at the path of the request. A body that breaks off changes nothing.
    pub(super) async fn store_content(
        &self,
        content: Content,
        under: Precondition,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<CommitUploadResponse> {
        let path = path::normalize_new(&self.path).map_err(Problem::from)?;
        let upload = Begin {
            id: None,
            media_type: content
                .media_type
                .unwrap_or_else(|| super::super::media_type(&path)),
            path,
            size: Some(content.size.unwrap_or(0)),
            declared: Declared::default(),
            on_conflict: OnConflict::Replace,
            mtime_ms: content.mtime_ms,
            part: false,
            note: String::new(),
            visitor: false,
        };
        let account = self.user.account_id;
        let sent = self
            .engine
            .direct(account, upload, Some(under), content.size, body);
        // Folders have no content: RFC 4918 section 9.7.2.
        sent.await
            .map_err(|error| Refusal::from(error).instead(Kind::IsAFolder, Kind::MethodNotAllowed))
    }

    /// Makes an empty file where nothing is: what LOCK does there (RFC 4918 section 7.3).
    pub(super) async fn make_empty(&self, under: Precondition) -> Result<Entry> {
        self.store.parent_of(&self.path).await?;
        let empty = Content {
            size: Some(0),
            ..Content::default()
        };
        let made = self.store_content(empty, under, futures::stream::empty());
        let made = made.await?.file;
        Ok(made.ok_or(Error::NotFound)?)
    }

    /// What is at the path, which must be something.
    pub(super) async fn there(&self) -> Result<Entry> {
        let entry = self.store.stat(&self.path).await?;
        Ok(entry)
    }

    /// The address without the ambiguity of a missing slash.
    pub(super) fn href(&self, entry: &Entry) -> String {
        super::href::href(&self.path, is_folder(entry))
    }
}

/// The client's time of the file; 0 when it tells none, or nonsense.
fn mtime(headers: &HeaderMap) -> i64 {
    let told = headers.get(MTIME).and_then(|value| value.to_str().ok());
    let whole = told.map(|text| text.split('.').next().unwrap_or_default());
    let seconds: Option<i64> = whole.and_then(|text| text.parse().ok());
    // Years 1970 to 9999, which every form of time can write.
    let seconds = seconds.filter(|seconds| (1..253_402_300_800).contains(seconds));
    seconds.map_or(0, |seconds| seconds * 1_000)
}
