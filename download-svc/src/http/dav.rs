//! `GET` and `HEAD` below `/dav/`: the content of files, as under `/api/v1/content/`. The other methods
//! of WebDAV are upload-svc's.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Method, header::ALLOW},
    response::{IntoResponse as _, Response},
};
use cloudstore_proto::http::Binary;
use cloudstore_service::{Kind, Problem, auth::Reader};

use super::{
    content::{self, ContentFields, DELIVERY},
    path::EntryPath,
};
use crate::{App, disposition::Disposition};

/// Of this service's methods. A gateway names all of them.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// Sends the content of a file. A folder has none here: it is looked into with PROPFIND.
#[utoipa::path(
    method(get, head),
    path = "/dav/{path}",
    tag = "webdav",
    operation_id = "dav_get",
    security(("login" = []), ("token" = ["full", "read"]), ("basic" = ["full", "read"])),
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are"), ContentFields),
    responses(
        (status = 200, description = "The content", body = Binary, content_type = "*/*"),
        (status = 206, description = "The part that was asked for", body = Binary, content_type = "*/*"),
        (status = 304, description = "The client has it"),
    ),
    extensions(("x-problems" = json!(["not-found", "not-a-folder", "method-not-allowed", "blob-missing", "precondition-failed", "range-not-satisfiable"]))),
)]
pub(crate) async fn read(
    State(app): State<App>,
    reader: Reader,
    method: Method,
    EntryPath(path): EntryPath,
    mut headers: HeaderMap,
) -> Response {
    // Several clients of this protocol follow no redirects.
    headers.insert(DELIVERY, HeaderValue::from_static("stream"));
    let disposition = Disposition::default();
    match content::answer(&app, &reader, &method, path, &headers, disposition).await {
        Ok(response) => response,
        Err(problem) if problem.kind() == Kind::IsAFolder => {
            let detail = "a folder has no content; PROPFIND lists it";
            let problem = Problem::new(Kind::MethodNotAllowed, detail);
            let mut response = problem.into_response();
            response.headers_mut().insert(ALLOW, METHODS);
            response
        }
        Err(problem) => problem.into_response(),
    }
}
