//! Where an upload goes on.

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::{body::Body, extract::State};
use cloudstore_service::{Kind, Result, path::Path};
use std::sync::Arc;
use uuid::Uuid;

use super::{UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_OFFSET, concat, fields, find, note::Note};
use crate::{
    drop_box::Depositor,
    engine::{Engine, Error, Finished, Found, session::Session},
};

/// `HEAD /files/{id}`
#[utoipa::path(
    head,
    path = "/files/{id}",
    tag = "tus",
    operation_id = "tus_offset",
    security((), ("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((
        status = 200,
        description = "How far it is",
        headers(
            ("Upload-Offset" = String, description = "Bytes that are kept"),
            ("Upload-Length" = String, description = "Bytes of the content"),
        ),
    )),
    extensions(("x-problems" = json!(["forbidden", "incomplete", "name-conflict", "busy", "preempted", "digest-mismatch", "blob-missing", "quota-exceeded", "not-a-folder", "is-a-folder", "insufficient-storage", "upload-gone", "upload-lost"]))),
)]
pub(crate) async fn offset(
    State(engine): State<Arc<Engine>>,
    user: Depositor,
    Path(id): Path<Uuid>,
    body: Body,
) -> Result<(StatusCode, HeaderMap)> {
    fields::refuse_body(&body)?;
    let mut headers = match find(&engine, user.account_id, id).await? {
        Found::Done(done) => finished(&done),
        Found::Open(session) => match unfinished(&engine, &session).await {
            // It was completed meanwhile.
            Err(problem) if problem.kind() == Kind::UploadGone => {
                match find(&engine, user.account_id, id).await? {
                    Found::Done(done) => finished(&done),
                    Found::Open(_) => return Err(problem),
                }
            }
            headers => headers?,
        },
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((StatusCode::OK, headers))
}

fn finished(done: &Finished) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(UPLOAD_OFFSET, done.size.into());
    headers.insert(UPLOAD_LENGTH, done.size.into());
    Note::read(&done.note).echo(&mut headers);
    headers
}

async fn unfinished(engine: &Arc<Engine>, session: &Arc<Session>) -> Result<HeaderMap> {
    let note = Note::read(&session.facts().note);
    let mut headers = HeaderMap::new();
    if let concat::Concat::Final(parts) = note.concat() {
        match concat::finish(engine, session, &note).await {
            Ok(Some(_)) => drop(headers.insert(UPLOAD_OFFSET, session.contiguous().into())),
            // A part is missing, for good or for now: only the offset cannot be told.
            Ok(None) => {}
            Err(problem) if problem.kind().status().is_server_error() => return Err(problem),
            Err(problem) => {
                tracing::debug!(upload = %session.facts().id, %problem, "parts are not to be had");
            }
        }
        let known = match session.facts().size {
            Some(size) => Some(size),
            None => parts_len(engine, session, &parts).await,
        };
        if let Some(known) = known {
            headers.insert(UPLOAD_LENGTH, known.into());
        }
    } else {
        let offset = session.offset().await?;
        let facts = session.facts();
        // Whoever sees that everything is there goes away: it has to be a file by then.
        if facts.size == Some(offset) && !facts.part {
            engine.complete(session).await?;
        }
        headers.insert(UPLOAD_OFFSET, offset.into());
        match facts.size {
            Some(size) => headers.insert(UPLOAD_LENGTH, size.into()),
            None => headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
        };
    }
    note.echo(&mut headers);
    headers.extend([fields::expires(session.facts().expires_at_ms)]);
    Ok(headers)
}

async fn parts_len(engine: &Engine, session: &Session, parts: &[Uuid]) -> Option<u64> {
    let account = session.facts().account;
    let len: Result<_, Error> = engine.parts_len(account, parts).await;
    len.ok().flatten()
}
