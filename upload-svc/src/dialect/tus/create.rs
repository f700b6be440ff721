//! Creation, with or without bytes, with or without a length.

use ::http::{HeaderMap, Method, StatusCode, header};
use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use cloudstore_proto::{http::Binary, path, upload::OnConflict};
use cloudstore_service::{Kind, Problem, Result, listener::PublicOrigin};
use std::sync::Arc;
use uuid::Uuid;

use super::{
    BYTES, METHOD_OVERRIDE, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_METADATA, UPLOAD_OFFSET,
    checksum,
    concat::{self, Concat},
    fields,
    metadata::Metadata,
    note::Note,
    text,
};
use crate::{
    dialect::{content_length, malformed, refuse_encodings},
    drop_box::Depositor,
    engine::{
        Begin, Begun, Engine, Error,
        session::{Declared, Session},
    },
};

/// `POST /files/`
#[utoipa::path(
    post,
    path = "/files/",
    tag = "tus",
    operation_id = "tus_create",
    security((), ("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Length" = Option<String>, Header, description = "Bytes of the content"),
        ("Upload-Defer-Length" = Option<String>, Header, description = "`1`: the length is told later"),
        ("Upload-Metadata" = Option<String>, Header, description = "`filename`, `filetype` and others, in base64"),
        ("Upload-Concat" = Option<String>, Header, description = "`partial`, or `final;` and the addresses of the parts"),
        ("Upload-Checksum" = Option<String>, Header, description = "Algorithm and checksum of the body"),
    ),
    request_body(
        content = Option<Binary>,
        content_type = "application/offset+octet-stream",
        description = "The beginning of the content, or all of it",
    ),
    responses((
        status = 201,
        description = "The upload",
        headers(
            ("Location" = String, description = "Where it is"),
            ("Upload-Offset" = String, description = "Bytes that are kept"),
        ),
    )),
    extensions(("x-problems" = json!(["unsupported-version", "not-found", "method-not-allowed", "name-conflict", "not-a-folder", "is-a-folder", "invalid-path", "request-timeout", "wrong-length", "offset-mismatch", "checksum-mismatch", "digest-mismatch", "too-large", "quota-exceeded", "too-many-uploads", "unsupported-media-type", "forbidden", "incomplete", "length-unknown", "busy", "preempted", "blob-deleting", "locked", "insufficient-storage", "upload-gone", "upload-lost"]))),
)]
pub(crate) async fn create(
    State(engine): State<Arc<Engine>>,
    user: Depositor,
    PublicOrigin(origin): PublicOrigin,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let place = Place {
        folder: user.folder.to_string(),
        on_conflict: OnConflict::Rename,
    };
    create_at(&engine, user, &origin, place, &parts.headers, body).await
}

/// Where an upload is to become a file.
pub(crate) struct Place {
    /// Normalised; what the metadata say is below it.
    pub(crate) folder: String,
    pub(crate) on_conflict: OnConflict,
}

/// The same for creations at other addresses. The version has been checked.
pub(crate) async fn create_at(
    engine: &Arc<Engine>,
    user: Depositor,
    origin: &str,
    place: Place,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    if headers.contains_key(METHOD_OVERRIDE) && overrides(headers) {
        let detail = "uploads are created by POST";
        return Err(Problem::new(Kind::MethodNotAllowed, detail));
    }
    let wanted = Wanted::read(engine, &user, place, headers, !body.is_end_stream()).await?;
    let session = begin(engine, user.account_id, &wanted).await?;
    let offset = match fill(engine, &session, &wanted, headers, body).await {
        Ok(offset) => offset,
        Err(error) => {
            give_up(engine, &session, &error).await;
            return Err(error);
        }
    };
    metrics::counter!("cloudstore_uploads_created_total", "how" => "tus").increment(1);
    let facts = session.facts();
    let location = format!("{origin}/files/{}", facts.id);
    let mut response = StatusCode::CREATED.into_response();
    let answer = response.headers_mut();
    answer.insert(header::LOCATION, text(&location));
    answer.extend([fields::expires(facts.expires_at_ms)]);
    if let Some(offset) = offset {
        answer.insert(UPLOAD_OFFSET, offset.into());
    }
    Ok(response)
}

fn overrides(headers: &HeaderMap) -> bool {
    let meant = headers.get(METHOD_OVERRIDE);
    meant.is_some_and(|meant| {
        !meant
            .as_bytes()
            .eq_ignore_ascii_case(Method::POST.as_str().as_bytes())
    })
}

/// What a creation asks for.
struct Wanted {
    id: Uuid,
    concat: Concat,
    length: Option<u64>,
    path: String,
    on_conflict: OnConflict,
    media_type: String,
    note: String,
    visitor: bool,
}

impl Wanted {
    async fn read(
        engine: &Engine,
        user: &Depositor,
        place: Place,
        headers: &HeaderMap,
        has_body: bool,
    ) -> Result<Self> {
        refuse_encodings(headers)?;
        let (concat, concat_field) = Concat::of(headers)?;
        let length = length(headers, matches!(concat, Concat::Final(_)))?;
        let metadata_field = fields::single(headers, &UPLOAD_METADATA)?;
        let metadata = Metadata::parse(metadata_field)?;
        let note = Note::new(metadata_field, concat_field).write()?;
        if has_body && !fields::has_type(headers, BYTES) {
            return Err(fields::wrong_type(BYTES));
        }
        let id = user.new_id();
        let path = match concat {
            // It has no name of its own, whatever its metadata say.
            Concat::Partial => Metadata::default().path(id)?,
            _ => path::normalize_new(&format!("{}{}", place.folder, metadata.path(id)?))?,
        };
        let length = match &concat {
            Concat::Final(parts) => {
                if has_body {
                    return Err(malformed(
                        "the bytes of a final upload are those of its parts",
                    ));
                }
                concat::parts_len(engine, user.account_id, parts).await?
            }
            _ => length,
        };
        let max = engine.settings().max_size;
        if length > Some(max) {
            return Err(Error::TooLarge(max).into());
        }
        if let (Some(length), Some(body)) = (length, content_length(headers)?)
            && body > length
        {
            let (expected, found) = (length, Some(body));
            return Err(Error::Length { expected, found }.into());
        }
        Ok(Self {
            id,
            media_type: metadata.media_type(&path),
            path,
            on_conflict: place.on_conflict,
            concat,
            length,
            note,
            visitor: user.is_anonymous,
        })
    }
}

/// Exactly one of `Upload-Length` and `Upload-Defer-Length`; an upload made of others has neither.
fn length(headers: &HeaderMap, is_final: bool) -> Result<Option<u64>> {
    let length = fields::number(headers, &UPLOAD_LENGTH)?;
    let deferred = fields::single(headers, &UPLOAD_DEFER_LENGTH)?;
    if deferred.is_some_and(|deferred| deferred != "1") {
        return Err(malformed("Upload-Defer-Length is 1 or absent"));
    }
    match (length, deferred.is_some(), is_final) {
        (Some(_), false, false) | (None, true, false) | (None, false, true) => Ok(length),
        (_, _, true) => Err(malformed(
            "the length of a final upload follows from its parts",
        )),
        (Some(_), true, _) => Err(malformed("a length that is told is not deferred")),
        (None, false, _) => Err(malformed("send Upload-Length or Upload-Defer-Length: 1")),
    }
}

async fn begin(engine: &Engine, account: Uuid, wanted: &Wanted) -> Result<Arc<Session>> {
    let entry = Begin {
        id: Some(wanted.id),
        path: wanted.path.clone(),
        size: wanted.length,
        declared: Declared::default(),
        on_conflict: wanted.on_conflict,
        mtime_ms: 0,
        media_type: wanted.media_type.clone(),
        part: wanted.concat == Concat::Partial,
        note: wanted.note.clone(),
        visitor: wanted.visitor,
    };
    let begun = engine.begin(account, vec![entry], false).await?;
    match begun.into_iter().next() {
        Some(Begun::Uploading(session)) => Ok(session),
        Some(Begun::Refused(error)) => Err(error.into()),
        _ => Err(Problem::internal("content without digests was recognised")),
    }
}

/// Takes the bytes that came along, and completes what is complete already. Returns where the
/// upload goes on, if bytes could go on there.
async fn fill(
    engine: &Arc<Engine>,
    session: &Arc<Session>,
    wanted: &Wanted,
    headers: &HeaderMap,
    body: Body,
) -> Result<Option<u64>> {
    if let Concat::Final(parts) = &wanted.concat {
        engine.concatenate(session, parts).await?;
        return Ok(None);
    }
    let mut whole = wanted.length == Some(0);
    let mut offset = None;
    if !body.is_end_stream() {
        let announced = content_length(headers)?;
        let (frames, check) = checksum::body(headers, body)?;
        let appended = engine.append(session, 0, announced, check, frames).await?;
        (whole, offset) = (appended.is_whole, Some(appended.offset));
    }
    if whole && wanted.concat == Concat::None {
        engine.complete(session).await?;
    }
    Ok(offset)
}

/// Nobody will learn the address of an upload whose creation was refused. What a broken connection
/// has sent stays: the address may have come through.
async fn give_up(engine: &Arc<Engine>, session: &Arc<Session>, problem: &Problem) {
    let facts = session.facts();
    if problem.kind().status().is_server_error() {
        return;
    }
    if let Err(error) = engine.cancel(facts.account, facts.id).await {
        tracing::debug!(upload = %facts.id, %error, "a refused creation stays until it expires");
    }
}
