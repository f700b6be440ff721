//! Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), interop versions 3 to 8: at
//! `/files/`, beside tus, and as an upgrade of `PUT` and `POST /api/v1/content/{path}`.
//!
//! - [`answer`], [`upgrade`] tell its requests from those of tus and from conventional uploads
//! - [`create`] uploads with any part of their content; [`append`] the rest
//! - [`receive`] the bytes of both, and `104` while they come
//! - [`offset`] where it goes on, cancellation, limits
//! - [`version`] what the drafts differ in; [`fields`], [`problem`], [`disposition`]
//!
//! `104` needs a client that announced its version and no proxy of ours in between.

mod append;
mod create;
mod disposition;
mod fields;
mod offset;
mod problem;
mod receive;
mod version;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::{
    RequestExt as _,
    body::Body,
    extract::{Request, State},
    handler::Handler as _,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use cloudstore_proto::http;
use cloudstore_service::{Interim, Kind, Problem, Result, path::Path};
use uuid::Uuid;

pub(crate) use self::offset::options;
use self::version::Version;
use crate::{drop_box::Depositor, engine::Found, routes::App};

const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const UPLOAD_INCOMPLETE: HeaderName = HeaderName::from_static("upload-incomplete");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");
const UPLOAD_DRAFT_INTEROP_VERSION: HeaderName =
    HeaderName::from_static("upload-draft-interop-version");
const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
/// `Content-Type` of bytes that are appended.
const PARTIAL: &str = "application/partial-upload";
/// Methods of content, whichever service answers them.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,POST,OPTIONS");
/// What the note of an upload begins with that was created here.
const NOTE: &str = r#"{"ietf":"#;

/// The description of what is there besides the routes of others.
#[derive(utoipa::OpenApi)]
#[openapi(paths(no_post, offset::options))]
pub(crate) struct Description;

/// Whether a request speaks this protocol: not tus, and a field that nobody else has.
pub(crate) fn is_spoken(headers: &HeaderMap) -> bool {
    let ours = [
        UPLOAD_COMPLETE,
        UPLOAD_INCOMPLETE,
        UPLOAD_DRAFT_INTEROP_VERSION,
    ];
    !headers.contains_key(TUS_RESUMABLE) && ours.iter().any(|name| headers.contains_key(name))
}

/// The layer of `/files/` that answers requests of this protocol and passes on the others.
pub(crate) async fn answer(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    // The standard to come has no field of its own in a request for the offset.
    let spoken = is_spoken(request.headers())
        || (method == Method::HEAD && is_plain_and_ours(&app, &mut request).await);
    match method {
        Method::OPTIONS => offset::with_limits(&app, request, next).await,
        Method::POST if spoken => create::in_files.call(request, app).await,
        Method::HEAD if spoken => offset::offset.call(request, app).await,
        Method::PATCH if spoken => append::append.call(request, app).await,
        Method::DELETE if spoken => offset::cancel.call(request, app).await,
        _ => next.run(request).await,
    }
}

async fn is_plain_and_ours(app: &App, request: &mut Request) -> bool {
    if request.headers().contains_key(TUS_RESUMABLE) {
        return false;
    }
    let id = request.extract_parts::<Path<Uuid>>().await;
    let user = request.extract_parts_with_state::<Depositor, _>(app).await;
    let (Ok(Path(id)), Ok(user)) = (id, user) else {
        return false;
    };
    match app.engine.find(user.account_id, id).await {
        Ok(Found::Open(session)) => session.facts().note.starts_with(NOTE),
        Ok(Found::Done(done)) => done.note.starts_with(NOTE),
        Err(_) => false,
    }
}

/// The layer of `/api/v1/content/{path}` that makes an upload resumable, if the client offers that
/// (draft-ietf-httpbis-resumable-upload, "Upgrading To Resumable Uploads").
pub(crate) async fn upgrade(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    if request.method() == Method::OPTIONS {
        return offset::with_limits(&app, request, next).await;
    }
    let version = Version::of(headers);
    let offered = version.completes(headers);
    let offered = offered.filter(|_| !headers.contains_key(TUS_RESUMABLE));
    let conditional =
        headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH);
    let is_put = request.method() == Method::PUT;
    match offered {
        None => next.run(request).await,
        Some(false) if conditional => {
            let detail = "a condition is checked with the whole content, in one request";
            let problem = Problem::new(Kind::MalformedRequest, detail);
            problem::answer(version, problem)
        }
        // Conditions are decided at the end of one request; and without a 104 the client could not
        // resume anyway.
        Some(true) if is_put && (conditional || !can_tell(version, &mut request).await) => {
            let mut response = next.run(request).await;
            version.tell_complete(response.headers_mut(), true);
            response
        }
        Some(_) => create::at_path.call(request, app).await,
    }
}

async fn can_tell(version: Version, request: &mut Request) -> bool {
    let Ok(interim) = request.extract_parts::<Interim>().await;
    version.announced && interim.is_possible()
}

/// `POST /api/v1/content/{path}` that offers no resumption.
#[utoipa::path(
    post,
    path = "/api/v1/content/{path}",
    tag = "content",
    operation_id = "begin_content",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(
        ("path" = String, Path, description = "Path of the entry; slashes may be as they are"),
        super::direct::Options,
        ("Upload-Complete" = Option<String>, Header, description = "`?1` if all of the content comes, else `?0`"),
        ("Upload-Length" = Option<String>, Header, description = "Bytes of the content"),
    ),
    request_body(content = Option<http::Binary>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The content was all there, and is a file"),
        (status = 201, description = "The upload, or the new file"),
    ),
    extensions(("x-problems" = json!(["method-not-allowed", "not-found", "name-conflict", "not-a-folder", "is-a-folder", "precondition-failed", "request-timeout", "wrong-length", "digest-mismatch", "too-large", "quota-exceeded", "too-many-uploads", "unsupported-media-type", "invalid-fields", "busy", "preempted", "upload-gone", "blob-deleting", "locked", "insufficient-storage"]))),
)]
pub(crate) async fn no_post() -> Response {
    let detail = "POST is for resumable uploads with Upload-Complete; send the content by PUT";
    let mut response = Problem::new(Kind::MethodNotAllowed, detail).into_response();
    response.headers_mut().insert(header::ALLOW, ALLOWED);
    response
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let told = headers.get(header::CONTENT_TYPE);
    let told = told.and_then(|told| told.to_str().ok()).unwrap_or_default();
    let essence = told.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(wanted)
}

/// Visitors may see nothing of the account: that it went well is all that they are told.
fn bare(visitor: bool, response: Response) -> Response {
    if !visitor || !response.status().is_success() {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    for field in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(field);
    }
    Response::from_parts(parts, Body::empty())
}

/// An answer, whatever came of the request.
fn settled(version: Version, result: Result<Response>) -> Response {
    result.unwrap_or_else(|problem| problem::answer(version, problem))
}
