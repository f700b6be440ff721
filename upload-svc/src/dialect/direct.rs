//! Direct upload: `PUT /api/v1/content/{path}`, as `curl -T` does it.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::{body::Body, extract::State};
use cloudstore_proto::{convert, http, path};
use cloudstore_service::{
    Result, auth::User, json::Json, path::Path, precondition::Conditions, query::Query,
};
use serde::Deserialize;

use super::{
    content_length, malformed, media_type, mtime, native, refuse_encodings, sha256_field, stream,
};
use crate::engine::{Begin, Engine, Error, session::Declared};

/// Query of a direct upload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Default `replace`: PUT means "let this be the content".
    on_conflict: Option<http::OnConflict>,
    /// RFC 3339.
    mtime: Option<String>,
}

/// `PUT /api/v1/content/{path}`: 201 for a new file, 200 when one was replaced.
pub(crate) async fn put_content(
    State(engine): State<Arc<Engine>>,
    user: User,
    Path(path): Path<String>,
    Query(options): Query<Options>,
    Conditions(precondition): Conditions,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<http::File>)> {
    refuse_encodings(&headers)?;
    if headers.contains_key(header::CONTENT_RANGE) {
        // RFC 9110 section 14.5: a PUT with Content-Range must not be taken for the whole.
        return Err(malformed(
            "a partial PUT is not possible; upload in chunks instead",
        ));
    }
    let size = content_length(&headers)?;
    let path = path::normalize_new(&path)?;
    let upload = Begin {
        id: None,
        media_type: content_type(&headers).unwrap_or_else(|| media_type(&path)),
        path,
        size: Some(size.unwrap_or(0)),
        declared: Declared {
            sha256: whole_digest(&headers)?,
            ..Declared::default()
        },
        on_conflict: native::on_conflict(options.on_conflict.unwrap_or(http::OnConflict::Replace)),
        mtime_ms: mtime(options.mtime.as_deref())?,
        part: false,
        note: String::new(),
    };
    let committed = engine
        .direct(user.account_id, upload, precondition, size, stream(body))
        .await?;
    metrics::counter!("cloudstore_uploads_completed_total", "how" => "direct").increment(1);
    let status = if committed.replaced {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let file = committed.file.ok_or(Error::NotFound)?;
    Ok((status, Json(convert::file(&file, false))))
}

/// Of a whole in one body, `Repr-Digest` and `Content-Digest` say the same.
fn whole_digest(headers: &HeaderMap) -> Result<Option<[u8; 32]>> {
    let whole = sha256_field(headers, &HeaderName::from_static("repr-digest"))?;
    let body = sha256_field(headers, &HeaderName::from_static("content-digest"))?;
    if whole.is_some() && body.is_some() && whole != body {
        return Err(malformed(
            "Repr-Digest and Content-Digest contradict each other",
        ));
    }
    Ok(whole.or(body))
}

/// What the client says the content is, unless it is what clients say when they do not know.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let told = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let unspecific = [
        "application/octet-stream",
        "application/x-www-form-urlencoded",
    ];
    let essence = told.split(';').next().unwrap_or_default().trim();
    let known = essence.contains('/') && !unspecific.contains(&essence) && told.len() <= 255;
    known.then(|| told.to_owned())
}
