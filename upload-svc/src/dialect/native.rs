//! The native dialect: create (one or a batch), prove possession, send chunks, complete.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use cloudstore_proto::{convert, http, path, upload::OnConflict};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::{Uploader, insufficient},
    http::request_id,
    json::{Json, invalid_fields},
    path::Path,
};
use uuid::Uuid;

use super::{
    content_length, declared, media_type, mtime, refuse_encodings, sha256_field, stream, view,
};
use crate::{
    engine::{Begin, Begun, ChallengeView, Engine, Found},
    forward::{Forward, Sender},
};

/// Begins an upload.
#[utoipa::path(
    post,
    path = "/api/v1/uploads",
    tag = "uploads",
    operation_id = "create_upload",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    request_body = http::CreateUpload,
    responses((
        status = 201,
        description = "What is to be done now",
        body = http::Created,
        headers(("Location" = String, description = "Where the upload is, if there is one")),
    )),
    extensions(("x-problems" = json!(["not-found", "name-conflict", "not-a-folder", "is-a-folder", "invalid-path", "digest-mismatch", "quota-exceeded", "too-large", "too-many-uploads", "blob-deleting", "locked", "insufficient-storage"]))),
)]
pub(crate) async fn create(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
    Json(body): Json<http::CreateUpload>,
) -> Result<Response> {
    let entry = begin(&engine, &uploader, &body)?;
    let begun = engine
        .begin(uploader.account_id, vec![entry], false)
        .await?;
    let begun = begun
        .into_iter()
        .next()
        .ok_or_else(|| Problem::internal("no result"))?;
    if let Begun::Refused(error) = begun {
        return Err(error.into());
    }
    let created = created(begun);
    let location = match &created {
        http::Created::Uploading { upload } | http::Created::Challenge { upload, .. } => {
            HeaderValue::try_from(&upload.location).ok()
        }
        _ => None,
    };
    let mut response = (StatusCode::CREATED, Json(created)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Begins several uploads: every entry has its own result, whatever becomes of the others.
#[utoipa::path(
    post,
    path = "/api/v1/uploads/batch",
    tag = "uploads",
    operation_id = "create_uploads",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    request_body = http::CreateUploads,
    responses((status = 200, description = "A result for each entry", body = http::CreatedUploads)),
    extensions(("x-problems" = json!(["quota-exceeded", "too-many-uploads", "blob-deleting", "insufficient-storage"]))),
)]
pub(crate) async fn create_batch(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
    Json(body): Json<http::CreateUploads>,
) -> Result<Json<http::CreatedUploads>> {
    if body.entries.is_empty() || body.entries.len() > http::MAX_BATCH {
        let message = format!("must have 1 to {} elements", http::MAX_BATCH);
        return Err(invalid_fields([("entries", message)]));
    }
    let entries = body.entries.iter();
    let entries = entries.map(|entry| begin(&engine, &uploader, entry));
    let (mut results, mut valid) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Ok(entry) => {
                valid.push(entry);
                results.push(None);
            }
            Err(problem) => results.push(Some(refused(&problem))),
        }
    }
    let mut begun = engine
        .begin(uploader.account_id, valid, true)
        .await?
        .into_iter();
    let results = results.into_iter().map(|result| {
        let next = || begun.next().map(created);
        result
            .or_else(next)
            .ok_or_else(|| Problem::internal("a result is missing"))
    });
    Ok(Json(http::CreatedUploads {
        results: results.collect::<Result<_>>()?,
    }))
}

/// Proves possession of the content, instead of sending it.
#[utoipa::path(
    post,
    path = "/api/v1/uploads/{id}/proof",
    tag = "uploads",
    operation_id = "prove_upload",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = http::Proof,
    responses((status = 201, description = "The file", body = http::Completed)),
    extensions(("x-problems" = json!(["proof-failed", "name-conflict", "not-a-folder", "is-a-folder", "digest-mismatch", "blob-missing", "busy", "preempted", "length-unknown", "forbidden", "upload-gone", "upload-lost", "quota-exceeded", "locked", "blob-deleting", "insufficient-storage"]))),
)]
pub(crate) async fn prove(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
    Path(id): Path<Uuid>,
    Json(body): Json<http::Proof>,
) -> Result<(StatusCode, Json<http::Completed>)> {
    let mut proof = [0; 32];
    hex::decode_to_slice(&body.proof, &mut proof)
        .map_err(|_| invalid_fields([("proof", "must be 64 hexadecimal digits")]))?;
    let file = match engine.find(uploader.account_id, id).await? {
        Found::Done(done) => done.file,
        Found::Open(session) => {
            let file = engine.prove(&session, &proof).await?;
            metrics::counter!("cloudstore_uploads_completed_total", "how" => "proof").increment(1);
            file
        }
    };
    Ok((
        StatusCode::CREATED,
        Json(http::Completed {
            file: convert::file(&file, true),
        }),
    ))
}

/// Lists unfinished uploads.
///
/// Those of all nodes. Asked by another node, only this one's.
#[utoipa::path(
    get,
    path = "/api/v1/uploads",
    tag = "uploads",
    operation_id = "list_uploads",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    responses((status = 200, description = "Those that are not finished", body = http::Uploads)),
)]
pub(crate) async fn list(
    State(engine): State<Arc<Engine>>,
    State(forward): State<Arc<Forward>>,
    uploader: Uploader,
    headers: HeaderMap,
) -> Result<Json<http::Uploads>> {
    let sender = forward.sender(&headers).await?;
    let listed = engine.list(uploader.account_id).await?;
    let mut uploads: Vec<_> = listed.own.iter().map(|session| view(session)).collect();
    if sender == Sender::Client {
        uploads.extend(forward.list(&headers, listed.elsewhere).await);
        // Ids begin with the time of their creation.
        uploads.sort_by(|one, other| one.id.cmp(&other.id));
    }
    Ok(Json(http::Uploads { uploads }))
}

/// Shows how far an upload is.
#[utoipa::path(
    get,
    path = "/api/v1/uploads/{id}",
    tag = "uploads",
    operation_id = "get_upload",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "How far it is", body = http::UploadState)),
    extensions(("x-problems" = json!(["upload-gone", "upload-lost"]))),
)]
pub(crate) async fn status(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
    Path(id): Path<Uuid>,
) -> Result<Json<http::UploadState>> {
    Ok(Json(match engine.find(uploader.account_id, id).await? {
        Found::Open(session) => http::UploadState::Uploading {
            upload: view(&session),
        },
        Found::Done(done) => http::UploadState::Completed {
            file: convert::file(&done.file, false),
        },
    }))
}

/// Sends a chunk.
#[utoipa::path(
    put,
    path = "/api/v1/uploads/{id}/chunks/{index}",
    tag = "uploads",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(("id" = Uuid, Path, description = "Its id"), ("index" = u64, Path, description = "Number of the chunk, from 0"), ("Content-Digest" = Option<String>, Header, description = "SHA-256 of the chunk (RFC 9530)")),
    request_body(content = http::Binary, content_type = "application/octet-stream", description = "The chunk"),
    responses((status = 204, description = "It is kept")),
    extensions(("x-problems" = json!(["wrong-length", "request-timeout", "busy", "preempted", "chunk-conflict", "length-unknown", "digest-mismatch", "forbidden", "upload-gone", "upload-lost", "unsupported-media-type", "insufficient-storage", "checksum-mismatch"]))),
)]
pub(crate) async fn put_chunk(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
    Path((id, index)): Path<(Uuid, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode> {
    refuse_encodings(&headers)?;
    let length = content_length(&headers)?;
    let check = sha256_field(&headers, &HeaderName::from_static("content-digest"))?;
    let Found::Open(session) = engine.find(uploader.account_id, id).await? else {
        return Err(Problem::new(Kind::UploadGone, "the upload is completed"));
    };
    engine
        .put_chunk(&session, index, length, check, stream(body))
        .await?;
    metrics::counter!("cloudstore_upload_chunks_total").increment(1);
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a file of an upload that has all of its chunks.
#[utoipa::path(
    post,
    path = "/api/v1/uploads/{id}/complete",
    tag = "uploads",
    operation_id = "complete_upload",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 201, description = "The file", body = http::Completed)),
    extensions(("x-problems" = json!(["incomplete", "name-conflict", "not-a-folder", "is-a-folder", "digest-mismatch", "blob-missing", "busy", "preempted", "length-unknown", "forbidden", "upload-gone", "upload-lost", "quota-exceeded", "locked", "blob-deleting", "insufficient-storage"]))),
)]
pub(crate) async fn complete(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Json<http::Completed>)> {
    let file = match engine.find(uploader.account_id, id).await? {
        Found::Done(done) => done.file,
        Found::Open(session) => {
            let file = engine.complete(&session).await?;
            metrics::counter!("cloudstore_uploads_completed_total", "how" => "chunks").increment(1);
            file
        }
    };
    Ok((
        StatusCode::CREATED,
        Json(http::Completed {
            file: convert::file(&file, false),
        }),
    ))
}

/// Cancels an upload.
#[utoipa::path(
    delete,
    path = "/api/v1/uploads/{id}",
    tag = "uploads",
    operation_id = "cancel_upload",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It is cancelled")),
    extensions(("x-problems" = json!(["busy", "upload-gone", "upload-lost"]))),
)]
pub(crate) async fn cancel(
    State(engine): State<Arc<Engine>>,
    uploader: Uploader,
    Path(id): Path<Uuid>,
) -> Result<StatusCode> {
    engine.cancel(uploader.account_id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn begin(engine: &Engine, uploader: &Uploader, entry: &http::CreateUpload) -> Result<Begin> {
    let max = engine.settings().max_size;
    if entry.size > max {
        return Err(crate::engine::Error::TooLarge(max).into());
    }
    let path = path::normalize_new(&entry.path)?;
    Ok(Begin {
        id: None,
        media_type: media_type(&path),
        path,
        size: Some(entry.size),
        declared: declared(entry.digests.as_ref())?,
        on_conflict: on_conflict(uploader, entry.on_conflict)?,
        mtime_ms: mtime(entry.mtime.as_deref())?,
        part: false,
        note: String::new(),
        visitor: false,
    })
}

/// The conflict rule, if the caller may go by it.
///
/// # Errors
/// `insufficient-scope` for who may only add to what exists.
pub(super) fn on_conflict(uploader: &Uploader, rule: http::OnConflict) -> Result<OnConflict> {
    Ok(match rule {
        http::OnConflict::Fail => OnConflict::Fail,
        http::OnConflict::Replace if uploader.may_replace => OnConflict::Replace,
        http::OnConflict::Replace => {
            return Err(insufficient(
                "to replace content, a token needs the scope full",
            ));
        }
        http::OnConflict::Rename => OnConflict::Rename,
    })
}

fn created(begun: Begun) -> http::Created {
    match begun {
        Begun::Instant(entry) => {
            metrics::counter!("cloudstore_uploads_completed_total", "how" => "instant")
                .increment(1);
            http::Created::Instant {
                file: convert::file(&entry, true),
            }
        }
        Begun::Uploading(session) => http::Created::Uploading {
            upload: view(&session),
        },
        Begun::Challenge(challenge, session) => http::Created::Challenge {
            challenge: challenge_view(challenge),
            upload: view(&session),
        },
        Begun::Direct => http::Created::Direct,
        Begun::Refused(error) => refused(&error.into()),
    }
}

fn refused(problem: &Problem) -> http::Created {
    http::Created::Problem {
        problem: problem.to_body(&request_id()),
    }
}

fn challenge_view(challenge: ChallengeView) -> http::Challenge {
    http::Challenge {
        nonce: hex::encode(challenge.nonce),
        windows: challenge
            .windows
            .into_iter()
            .map(|(offset, len)| [offset, len])
            .collect(),
        expires_at: convert::rfc3339(challenge.expires_at_ms),
    }
}
