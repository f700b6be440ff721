//! Direct upload: `PUT /api/v1/content/{path}`, as `curl -T` does it.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::{body::Body, extract::State};
use cloudstore_proto::{convert, http, path, upload::OnConflict};
use cloudstore_service::{
    Result, auth::Uploader, json::Json, path::Path, precondition::Conditions, query::Query,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    content_length, malformed, media_type, mtime, native, refuse_encodings, sha256_field, stream,
};
use crate::engine::{Begin, Engine, Error, session::Declared};

/// Query of a direct upload.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Default `replace`: PUT means "let this be the content". `fail` for those who may not.
    #[param(inline)]
    pub(super) on_conflict: Option<http::OnConflict>,
    /// RFC 3339.
    #[param(format = DateTime)]
    pub(super) mtime: Option<String>,
}

/// Sends the content of a file in one body.
///
/// 201 for a new file, 200 when one was replaced.
#[utoipa::path(
    put,
    path = "/api/v1/content/{path}",
    tag = "content",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(
        ("path" = String, Path, description = "Path of the entry; slashes may be as they are"),
        Options,
        ("If-Match" = Option<String>, Header, description = "Entity tags of which the entry has to have one"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags of which the entry must have none"),
        ("Repr-Digest" = Option<String>, Header, description = "SHA-256 of the content (RFC 9530)"),
        ("Content-Digest" = Option<String>, Header, description = "The same"),
    ),
    request_body(content = http::Binary, content_type = "application/octet-stream", description = "The content, of whatever type"),
    responses(
        (status = 200, description = "It has taken the place of other content", body = http::File),
        (status = 201, description = "The new file", body = http::File),
    ),
    extensions(("x-problems" = json!(["not-found", "name-conflict", "not-a-folder", "is-a-folder", "precondition-failed", "request-timeout", "wrong-length", "digest-mismatch", "too-large", "quota-exceeded", "too-many-uploads", "unsupported-media-type", "invalid-fields", "busy", "preempted", "upload-gone", "blob-deleting", "locked", "insufficient-storage"]))),
)]
pub(crate) async fn put_content(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
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
    let on_conflict = on_conflict(&uploader, options.on_conflict)?;
    let upload = Begin {
        id: None,
        media_type: content_type(&headers).unwrap_or_else(|| media_type(&path)),
        path,
        size: Some(size.unwrap_or(0)),
        declared: Declared {
            sha256: whole_digest(&headers)?,
            ..Declared::default()
        },
        on_conflict,
        mtime_ms: mtime(options.mtime.as_deref())?,
        part: false,
        note: String::new(),
        visitor: false,
    };
    let committed = engine
        .direct(
            uploader.account_id,
            upload,
            precondition,
            size,
            stream(body),
        )
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

/// What becomes of a file that is there.
///
/// # Errors
/// As [`native::on_conflict`].
pub(super) fn on_conflict(
    uploader: &Uploader,
    told: Option<http::OnConflict>,
) -> Result<OnConflict> {
    let default = match uploader.may_replace {
        true => http::OnConflict::Replace,
        false => http::OnConflict::Fail,
    };
    native::on_conflict(uploader, told.unwrap_or(default))
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
