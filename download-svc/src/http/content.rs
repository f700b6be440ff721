//! Handler of `GET` and `HEAD /api/v1/content/{path}`, and the headers of its answers.

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
            CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
            IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, LOCATION, RANGE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cloudstore_proto::{file, http::Binary, path};
use cloudstore_service::{Kind, Problem, Result, auth::Reader, query::Query};
use futures::{Stream, TryStreamExt as _};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    multipart::{Multipart, content_range},
    path::EntryPath,
};
use crate::{
    App, Delivery,
    conditional::{Conditions, http_date},
    content::{self, Found, Reply, Sending, Shortcuts, Wanted},
    disposition::{self, Disposition, OCTET_STREAM},
    reader::{Error, Pieces},
};

/// nginx sends the file that this names, or the part of it that Content-Range describes, with this
/// answer's headers.
const ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
/// How the client wants the content: `stream` means from this server.
pub(super) const DELIVERY: HeaderName = HeaderName::from_static("cloudstore-delivery");
/// RFC 9530.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// Content is never a page of ours: no scripts, no forms, no other resources, no origin.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");

/// How the content is to be presented.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContentQuery {
    /// Whether a browser saves it or shows it.
    #[serde(default)]
    #[param(inline)]
    pub(super) disposition: Disposition,
}

/// Fields of a request that say which content is wanted (RFC 9110 sections 13 and 14).
#[derive(IntoParams)]
#[into_params(parameter_in = Header, rename_all = "kebab-case")]
#[expect(
    dead_code,
    reason = "it describes what is read from the fields themselves"
)]
pub(crate) struct ContentFields {
    /// Which bytes.
    range: Option<String>,
    /// Only while it has one of these entity tags.
    if_match: Option<String>,
    /// Only if it has none of these entity tags.
    if_none_match: Option<String>,
    /// Only if it was changed since.
    if_modified_since: Option<String>,
    /// Only if it was not changed since.
    if_unmodified_since: Option<String>,
    /// The range only while this is so, else all of it.
    if_range: Option<String>,
}

/// How content is to be delivered.
#[derive(IntoParams)]
#[into_params(parameter_in = Header, rename_all = "kebab-case")]
#[expect(dead_code, reason = "it describes what is read from the field itself")]
pub(crate) struct Delivered {
    /// `stream`: from this server, without a redirect.
    cloudstore_delivery: Option<String>,
}

/// Sends a file's content, or the part of it that is asked for.
#[utoipa::path(
    method(get, head),
    path = "/api/v1/content/{path}",
    tag = "content",
    operation_id = "read_content",
    security(("login" = []), ("token" = ["full", "read"]), ("basic" = ["full", "read"])),
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are"), ContentQuery, ContentFields, Delivered),
    responses(
        (status = 200, description = "The content", body = Binary, content_type = "*/*"),
        (status = 206, description = "The part that was asked for", body = Binary, content_type = "*/*"),
        (status = 304, description = "The client has it"),
        (status = 307, description = "It is to be fetched from the object store"),
    ),
    extensions(("x-problems" = json!(["not-found", "is-a-folder", "not-a-folder", "blob-missing", "precondition-failed", "range-not-satisfiable"]))),
)]
pub(crate) async fn read(
    State(app): State<App>,
    reader: Reader,
    method: Method,
    EntryPath(path): EntryPath,
    Query(query): Query<ContentQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    answer(&app, &reader, &method, path, &headers, query.disposition).await
}

/// The same, for every address that content has.
pub(super) async fn answer(
    app: &App,
    reader: &Reader,
    method: &Method,
    path: String,
    headers: &HeaderMap,
    disposition: Disposition,
) -> Result<Response> {
    let wanted = Wanted {
        owner: reader.account_id,
        path,
        conditions: conditions(headers),
        range: range(headers),
        body: method != Method::HEAD,
        shortcuts: shortcuts(&app.delivery, headers),
    };
    let found = content::find(&app.catalog, &app.reader, &wanted).await?;
    let mut response = respond(found, disposition);
    if let Some(name) = response.extensions_mut().remove::<HandOver>()
        && let Some(prefix) = &app.delivery.accel_prefix
        && let Ok(location) = HeaderValue::try_from(format!("{prefix}{}", name.0))
    {
        response.headers_mut().insert(ACCEL_REDIRECT, location);
    }
    Ok(response)
}

/// What the gateway is to send.
#[derive(Clone)]
struct HandOver(String);

/// A client that cannot follow a redirect, or wants this server's headers with the content, says
/// `Cloudstore-Delivery: stream`. The gateway knows nothing of our validators, so it gets requests
/// without conditions only.
fn shortcuts(delivery: &Delivery, headers: &HeaderMap) -> Shortcuts {
    let streamed = headers
        .get(DELIVERY)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"stream"));
    let conditions = [
        &IF_MATCH,
        &IF_NONE_MATCH,
        &IF_MODIFIED_SINCE,
        &IF_UNMODIFIED_SINCE,
        &IF_RANGE,
    ];
    Shortcuts {
        redirect_from: delivery.redirect_from.filter(|_| !streamed),
        hand_over: delivery.accel_prefix.is_some()
            && !conditions.iter().any(|name| headers.contains_key(*name)),
    }
}

pub(super) fn conditions(headers: &HeaderMap) -> Conditions {
    Conditions {
        if_match: joined(headers, &IF_MATCH),
        if_none_match: joined(headers, &IF_NONE_MATCH),
        if_modified_since: joined(headers, &IF_MODIFIED_SINCE),
        if_unmodified_since: joined(headers, &IF_UNMODIFIED_SINCE),
        if_range: joined(headers, &IF_RANGE),
    }
}

/// The `Range` field.
pub(super) fn range(headers: &HeaderMap) -> Option<String> {
    single(headers, &RANGE)
}

/// All lines of a list field as one (RFC 9110 section 5.3). Joined dates are no date any more.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let first = lines.next()?;
    Some(lines.fold(first, |all, line| all + ", " + &line))
}

/// A field that may come once only; otherwise it counts for nothing.
fn single(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?.to_str().ok()?;
    lines.next().is_none().then(|| line.to_owned())
}

pub(super) fn respond(found: Found, wanted: Disposition) -> Response {
    let validators = validators(&found);
    let response = match found.reply {
        Reply::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Reply::Failed => {
            let detail = "the file is not in the state that the request expects";
            Problem::new(Kind::PreconditionFailed, detail).into_response()
        }
        Reply::Unsatisfiable => {
            let detail = format!("no byte of the range exists, the file has {}", found.size);
            let problem = Problem::new(Kind::RangeNotSatisfiable, detail);
            let range = format!("bytes */{}", found.size);
            ([(CONTENT_RANGE, range)], problem.into_response()).into_response()
        }
        Reply::Send(sending) => return send(sending, found.entry, found.size, wanted, validators),
    };
    (validators, response).into_response()
}

/// What identifies the state of the file, in every answer about it.
fn validators(found: &Found) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let text = |text: String| HeaderValue::try_from(text).expect("hex digits and dates are ASCII");
    headers.insert(ETAG, text(format!("\"{}\"", found.validators.tag)));
    headers.insert(LAST_MODIFIED, text(http_date(found.validators.modified)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers
}

/// 200 and 206.
fn send(
    sending: Sending,
    entry: file::Entry,
    size: u64,
    wanted: Disposition,
    mut headers: HeaderMap,
) -> Response {
    let media_type = HeaderValue::from_str(&entry.media_type)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or(HeaderValue::from_static(OCTET_STREAM));
    // A HeaderValue may hold bytes beyond ASCII, a part's head may not.
    let media_type_text = media_type.to_str().unwrap_or(OCTET_STREAM).to_owned();
    let disposition = disposition::header(wanted, &media_type_text, path::name(&entry.path));
    let disposition = HeaderValue::try_from(disposition).expect("the value is printable ASCII");
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_TYPE, media_type);
    if let Some(sha256) = entry
        .blob
        .map(|blob| blob.sha256)
        .filter(|digest| !digest.is_empty())
    {
        let digest = format!("sha-256=:{}:", STANDARD.encode(sha256));
        headers.insert(
            REPR_DIGEST,
            HeaderValue::try_from(digest).expect("base64 is ASCII"),
        );
    }
    match sending {
        Sending::Part(range, pieces) => {
            let value = HeaderValue::try_from(content_range(&range, size));
            headers.insert(CONTENT_RANGE, value.expect("numbers are ASCII"));
            headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
            (StatusCode::PARTIAL_CONTENT, headers, body(pieces)).into_response()
        }
        Sending::Parts(ranges, content, first) => {
            let multipart = Multipart::new(ranges, &media_type_text, size);
            let content_type = HeaderValue::try_from(multipart.content_type());
            headers.insert(CONTENT_TYPE, content_type.expect("the boundary is ASCII"));
            headers.insert(CONTENT_LENGTH, multipart.len().into());
            let body = streamed(multipart.stream(content, first));
            (StatusCode::PARTIAL_CONTENT, headers, body).into_response()
        }
        Sending::Whole(pieces) => {
            headers.insert(CONTENT_LENGTH, size.into());
            (headers, body(pieces)).into_response()
        }
        Sending::HandOver(name, range) => {
            // The gateway sends what this says, whatever it would make of the client's words.
            if let Some(range) = range {
                let value = HeaderValue::try_from(content_range(&range, size));
                headers.insert(CONTENT_RANGE, value.expect("numbers are ASCII"));
            }
            (headers, Extension(HandOver(name))).into_response()
        }
        Sending::Redirect(url) => {
            // What is said of the content is for this answer; the store says its own.
            headers.remove(CONTENT_DISPOSITION);
            headers.remove(CONTENT_TYPE);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            let location = HeaderValue::try_from(String::from(url));
            headers.insert(LOCATION, location.expect("a URL is ASCII"));
            (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
        }
    }
}

/// What fits in one group goes out with the head, in one write.
fn body(pieces: Pieces) -> Body {
    match pieces.into_bytes() {
        Ok(bytes) => {
            sent(bytes.len());
            Body::from(bytes)
        }
        Err(pieces) => streamed(pieces),
    }
}

/// An error in the stream breaks the connection off: the announced length is never reached.
fn streamed(
    pieces: impl Stream<Item = std::result::Result<Bytes, Error>> + Send + 'static,
) -> Body {
    Body::from_stream(
        pieces
            .inspect_ok(|piece| sent(piece.len()))
            .inspect_err(|error| {
                tracing::error!(%error, "download broken off");
            }),
    )
}

pub(super) fn sent(bytes: usize) {
    metrics::counter!("cloudstore_download_bytes_total").increment(bytes as u64);
}
