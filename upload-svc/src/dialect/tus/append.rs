//! Bytes for an upload.

use ::http::{HeaderMap, StatusCode};
use axum::{
    body::{Body, HttpBody as _},
    extract::State,
};
use cloudstore_proto::http::Binary;
use cloudstore_service::{Kind, Problem, Result, path::Path};
use std::sync::Arc;
use uuid::Uuid;

use super::{
    BYTES, UPLOAD_LENGTH, UPLOAD_OFFSET, checksum, concat::Concat, fields, find, note::Note,
};
use crate::{
    dialect::{content_length, malformed, refuse_encodings},
    drop_box::Depositor,
    engine::{Engine, Error, Finished, Found, session::Session},
};

/// `PATCH /files/{id}`: 204 once the bytes are kept, and with the last of them once the file is
/// there.
#[utoipa::path(
    patch,
    path = "/files/{id}",
    tag = "tus",
    operation_id = "tus_append",
    security((), ("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(
        ("id" = Uuid, Path, description = "Its id"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Offset" = u64, Header, description = "Where the bytes belong"),
        ("Upload-Length" = Option<String>, Header, description = "Bytes of the content, where it was not told"),
        ("Upload-Checksum" = Option<String>, Header, description = "Algorithm and checksum of the body"),
    ),
    request_body(
        content = Binary,
        content_type = "application/offset+octet-stream",
        description = "Bytes of the content",
    ),
    responses((
        status = 204,
        description = "They are kept",
        headers(
            ("Upload-Offset" = String, description = "Bytes that are kept"),
        ),
    )),
    extensions(("x-problems" = json!(["unsupported-version", "forbidden", "request-timeout", "wrong-length", "offset-mismatch", "checksum-mismatch", "digest-mismatch", "too-large", "quota-exceeded", "unsupported-media-type", "name-conflict", "not-a-folder", "is-a-folder", "length-unknown", "incomplete", "busy", "preempted", "blob-missing", "blob-deleting", "locked", "insufficient-storage", "upload-gone", "upload-lost"]))),
)]
pub(crate) async fn append(
    State(engine): State<Arc<Engine>>,
    user: Depositor,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, HeaderMap)> {
    if !fields::has_type(&headers, BYTES) {
        return Err(fields::wrong_type(BYTES));
    }
    refuse_encodings(&headers)?;
    let at = fields::number(&headers, &UPLOAD_OFFSET)?;
    let at = at.ok_or_else(|| malformed("send Upload-Offset"))?;
    let length = fields::number(&headers, &UPLOAD_LENGTH)?;
    let session = match find(&engine, user.account_id, id).await? {
        Found::Open(session) => session,
        Found::Done(done) => return repeated(&done, at, &body),
    };
    refuse_final(&session.facts().note)?;
    tell_length(&engine, &session, at, length).await?;
    let announced = content_length(&headers)?;
    let (frames, check) = checksum::body(&headers, body)?;
    let appended = engine
        .append(&session, at, announced, check, frames)
        .await?;
    let facts = session.facts();
    let mut answer = HeaderMap::new();
    answer.insert(UPLOAD_OFFSET, appended.offset.into());
    if appended.is_whole && !facts.part {
        engine.complete(&session).await?;
        metrics::counter!("cloudstore_uploads_completed_total", "how" => "tus").increment(1);
    } else {
        answer.extend([fields::expires(facts.expires_at_ms)]);
    }
    Ok((StatusCode::NO_CONTENT, answer))
}

fn refuse_final(note: &str) -> Result<()> {
    if matches!(Note::read(note).concat(), Concat::Final(_)) {
        let detail = "a final upload is made of its parts only";
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    Ok(())
}

/// A length that was deferred may come with any bytes, once.
async fn tell_length(
    engine: &Arc<Engine>,
    session: &Arc<Session>,
    at: u64,
    length: Option<u64>,
) -> Result<()> {
    let Some(length) = length else { return Ok(()) };
    // A request that does not belong here changes nothing.
    let expected = session.offset().await?;
    if at != expected {
        let provided = at;
        return Err(Error::OffsetMismatch { expected, provided }.into());
    }
    Ok(engine.set_length(session, length).await?)
}

/// To what is complete nothing can be added; a client that did not get the last answer may ask
/// again with nothing.
fn repeated(done: &Finished, at: u64, body: &Body) -> Result<(StatusCode, HeaderMap)> {
    refuse_final(&done.note)?;
    let expected = done.size;
    if at != expected {
        let provided = at;
        return Err(Error::OffsetMismatch { expected, provided }.into());
    }
    if !body.is_end_stream() {
        let (expected, found) = (0, None);
        return Err(Error::Length { expected, found }.into());
    }
    let offset = (UPLOAD_OFFSET, at.into());
    Ok((StatusCode::NO_CONTENT, HeaderMap::from_iter([offset])))
}
