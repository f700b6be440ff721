//! The content of a finished upload. The protocol has no GET, but clients' test suites ask for it.

use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use cloudstore_proto::{file::Entry, http::Binary};
use cloudstore_service::{Kind, Problem, Result, auth::Reader, path::Path};
use std::sync::Arc;
use uuid::Uuid;

use super::{concat, find, note::Note, text};
use crate::engine::{Engine, Found};

/// Content is somebody's: it never becomes a page of this origin.
const UNTRUSTED: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// `GET /files/{id}`
#[utoipa::path(
    get,
    path = "/files/{id}",
    tag = "tus",
    operation_id = "tus_content",
    security(("login" = []), ("token" = ["full", "read"]), ("basic" = ["full", "read"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "The content", body = Binary, content_type = "*/*")),
    extensions(("x-problems" = json!(["incomplete", "forbidden", "blob-missing", "name-conflict", "busy", "preempted", "digest-mismatch", "quota-exceeded", "not-a-folder", "is-a-folder", "insufficient-storage", "upload-gone", "upload-lost"]))),
)]
pub(crate) async fn content(
    State(engine): State<Arc<Engine>>,
    reader: Reader,
    Path(id): Path<Uuid>,
) -> Result<Response> {
    let file = match find(&engine, reader.account_id, id).await? {
        Found::Done(done) => done.file,
        Found::Open(session) => {
            let note = Note::read(&session.facts().note);
            let file = concat::finish(&engine, &session, &note).await?;
            let detail = "the upload is not finished";
            file.ok_or_else(|| Problem::new(Kind::Incomplete, detail))?
        }
    };
    answer(&engine, &file).await
}

async fn answer(engine: &Engine, file: &Entry) -> Result<Response> {
    let (size, frames) = engine.read_file(file).await?;
    let mut headers = HeaderMap::from_iter(UNTRUSTED);
    headers.insert(header::CONTENT_TYPE, text(&file.media_type));
    headers.insert(header::CONTENT_LENGTH, size.into());
    Ok((headers, Body::from_stream(frames)).into_response())
}
