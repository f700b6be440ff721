//! tus 1.0 (<https://tus.io/protocols/resumable-upload>) with all its extensions, at `/files/`.
//!
//! - [`speak`] the layer of all routes (those of [`ietf`] pass it): version, cross-origin rules, what every answer carries
//! - [`mod@create`] creation, creation-with-upload, creation-defer-length
//! - [`mod@offset`], [`mod@append`] the core; checksum and checksum-trailer; expiration
//! - [`mod@terminate`] termination
//! - [`mod@concat`] concatenation, concatenation-unfinished
//! - [`mod@content`] what clients' test suites read back
//!
//! What the protocol wants back later than the engine needs it (`Upload-Metadata`,
//! `Upload-Concat`) is kept in the upload's note ([`note`]).

mod append;
mod checksum;
mod concat;
mod content;
mod cors;
mod create;
mod fields;
mod metadata;
mod note;
mod offset;
mod terminate;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cloudstore_proto::http::Binary;
use cloudstore_service::{Kind, Problem, Result};
use std::sync::Arc;
use uuid::Uuid;

pub(crate) use self::{
    append::append,
    content::content,
    cors::Origins,
    create::{Place, create, create_at},
    metadata::Metadata,
    offset::offset,
    terminate::terminate,
};
use crate::{
    dialect::ietf,
    drop_box::Depositor,
    engine::{Engine, Error, Found, checksum::Algorithm},
    routes::App,
};

/// The only version there is.
const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: HeaderValue = HeaderValue::from_static(
    "creation,creation-with-upload,creation-defer-length,checksum,checksum-trailer,expiration,\
     termination,concatenation,concatenation-unfinished",
);
/// `Content-Type` of bytes that belong at an offset.
const BYTES: &str = "application/offset+octet-stream";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// The description of the routes; each of their handlers is named here.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    append::append,
    content::content,
    create::create,
    offset::offset,
    options,
    overridden,
    terminate::terminate,
))]
pub(crate) struct Description;

/// The layer of all routes: refuses versions that are not spoken before anything is processed,
/// and gives every answer what the protocol and browsers want in it.
pub(crate) async fn speak(State(app): State<App>, request: Request, next: Next) -> Response {
    let method = effective_method(&request);
    let origin = app.origins.allowed(request.headers());
    if ietf::is_spoken(request.headers()) {
        let mut response = next.run(request).await;
        app.origins.expose(&mut response, origin);
        return response;
    }
    let mut response = match check_version(&method, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(TUS_RESUMABLE, VERSION);
    if method == Method::OPTIONS || headers.get(TUS_VERSION).is_some() {
        headers.insert(TUS_VERSION, VERSION);
    }
    if response.status() == StatusCode::PRECONDITION_FAILED {
        response.headers_mut().insert(TUS_VERSION, VERSION);
    }
    app.origins.expose(&mut response, origin);
    response
}

/// Does a request speak this protocol, at whatever address?
pub(crate) fn is_spoken(headers: &HeaderMap) -> bool {
    headers.contains_key(TUS_RESUMABLE)
}

/// Creates an upload for a request at an address that is not ours, and of which nothing but this is:
/// the answer leads here.
pub(crate) async fn create_for(
    engine: &Arc<Engine>,
    user: Depositor,
    origin: &str,
    place: Place,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<Response> {
    check_version(&Method::POST, headers)?;
    let mut response = create_at(engine, user, origin, place, headers, body).await?;
    response.headers_mut().insert(TUS_RESUMABLE, VERSION);
    Ok(response)
}

/// The core protocol exempts OPTIONS. GET is not of the protocol, and HEAD is asked by people's
/// tools as well; neither changes anything.
fn check_version(method: &Method, headers: &HeaderMap) -> Result<()> {
    if [Method::OPTIONS, Method::GET, Method::HEAD].contains(method) {
        return Ok(());
    }
    let mut told = headers.get_all(TUS_RESUMABLE).iter();
    if (told.next(), told.next()) == (Some(&VERSION), None) {
        return Ok(());
    }
    let detail = "say Tus-Resumable: 1.0.0";
    Err(Problem::new(Kind::UnsupportedVersion, detail))
}

/// The method that is meant: environments that have no PATCH or DELETE say it in a field.
fn effective_method(request: &Request) -> Method {
    let meant = request.headers().get(METHOD_OVERRIDE);
    let meant = meant.and_then(|meant| meant.to_str().ok());
    let meant = meant.and_then(|meant| Method::from_bytes(meant.to_uppercase().as_bytes()).ok());
    meant.unwrap_or_else(|| request.method().clone())
}

/// `POST /files/{id}` with another method in `X-HTTP-Method-Override`.
#[utoipa::path(
    post,
    path = "/files/{id}",
    tag = "tus",
    operation_id = "tus_overridden",
    security((), ("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    params(("id" = Uuid, Path, description = "Its id"), ("Tus-Resumable" = String, Header, description = "`1.0.0`"), ("X-HTTP-Method-Override" = Option<String>, Header, description = "The method that is meant")),
    request_body(content = Option<Binary>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 200, description = "As of the method"),
        (status = 204, description = "As of the method"),
    ),
    extensions(("x-problems" = json!(["unsupported-version", "method-not-allowed", "forbidden", "request-timeout", "wrong-length", "offset-mismatch", "checksum-mismatch", "digest-mismatch", "too-large", "quota-exceeded", "unsupported-media-type", "name-conflict", "not-a-folder", "is-a-folder", "length-unknown", "incomplete", "busy", "preempted", "blob-missing", "blob-deleting", "locked", "insufficient-storage", "upload-gone", "upload-lost"]))),
)]
pub(crate) async fn overridden(app: State<App>, request: Request) -> Response {
    use axum::handler::Handler as _;
    let state = app.0.clone();
    match effective_method(&request) {
        Method::PATCH => append.call(request, state).await,
        Method::DELETE => terminate.call(request, state).await,
        Method::HEAD => offset.call(request, state).await,
        Method::GET => content.call(request, state).await,
        Method::OPTIONS => options.call(request, state).await,
        _ => {
            let detail = "an upload has no POST; say the method in X-HTTP-Method-Override";
            Problem::new(Kind::MethodNotAllowed, detail).into_response()
        }
    }
}

/// `OPTIONS`: what this server can do. Nobody has to log in for that.
#[utoipa::path(
    options,
    path = "/files/{id}",
    tag = "tus",
    operation_id = "tus_options",
    params(("id" = Uuid, Path, description = "Its id")),
    responses((
        status = 204,
        description = "What this server can do",
        headers(
            ("Tus-Version" = String, description = "The versions"),
            ("Tus-Extension" = String, description = "The extensions"),
            ("Tus-Max-Size" = String, description = "Bytes of the longest content"),
            ("Tus-Checksum-Algorithm" = String, description = "The algorithms"),
        ),
    )),
)]
pub(crate) async fn options(State(engine): State<Arc<Engine>>) -> (StatusCode, HeaderMap) {
    let mut algorithms = String::new();
    for algorithm in Algorithm::ALL {
        if !algorithms.is_empty() {
            algorithms.push(',');
        }
        algorithms.push_str(algorithm.name());
    }
    let headers = [
        (TUS_EXTENSION, EXTENSIONS),
        (TUS_MAX_SIZE, engine.settings().max_size.into()),
        (TUS_CHECKSUM_ALGORITHM, text(&algorithms)),
    ];
    (StatusCode::NO_CONTENT, HeaderMap::from_iter(headers))
}

/// An upload as this protocol sees it: once its file holds something else, it is gone.
async fn find(engine: &Engine, account: Uuid, id: Uuid) -> Result<Found> {
    match engine.find(account, id).await? {
        Found::Done(done) if !done.is_unchanged() => Err(Error::Gone.into()),
        found => Ok(found),
    }
}

/// A field's value out of text that has been checked.
fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(const { HeaderValue::from_static("") })
}
