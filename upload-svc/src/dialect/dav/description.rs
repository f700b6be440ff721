//! What OpenAPI can say of [`handle`](super::handle): the methods that it knows. The others (MKCOL, COPY,
//! MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK) are those of RFC 4918.

use cloudstore_proto::http::Binary;

/// The description of the routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(put, delete, options, post))]
pub(crate) struct Description;

/// Sends the content of a file.
#[utoipa::path(
    put,
    path = "/dav/{path}",
    tag = "webdav",
    operation_id = "dav_put",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are"), ("If-Match" = Option<String>, Header, description = "Entity tags of which the entry has to have one"), ("If-None-Match" = Option<String>, Header, description = "Entity tags of which the entry must have none"), ("If" = Option<String>, Header, description = "Lock tokens and entity tags (RFC 4918 section 10.4)")),
    request_body(content = Binary, content_type = "application/octet-stream", description = "The content, of whatever type"),
    responses(
        (status = 201, description = "The file is new"),
        (status = 204, description = "It has taken the place of other content"),
    ),
    extensions(("x-problems" = json!(["invalid-path", "not-found", "name-conflict", "not-a-folder", "precondition-failed", "request-timeout", "wrong-length", "digest-mismatch", "too-large", "quota-exceeded", "too-many-uploads", "unsupported-media-type", "invalid-fields", "busy", "preempted", "upload-gone", "blob-deleting", "locked", "insufficient-storage", "method-not-allowed", "limit-reached"]))),
)]
#[expect(dead_code, reason = "it stands for a part of `handle`")]
fn put() {}

/// Deletes a file, or a folder with everything in it.
#[utoipa::path(
    delete,
    path = "/dav/{path}",
    tag = "webdav",
    operation_id = "dav_delete",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(
        ("path" = String, Path, description = "Path of the entry; slashes may be as they are"),
        ("If-Match" = Option<String>, Header, description = "Entity tags of which the entry has to have one"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags of which the entry must have none"),
        ("If" = Option<String>, Header, description = "Lock tokens and entity tags (RFC 4918 section 10.4)"),
        ("Depth" = Option<String>, Header, description = "`infinity`"),
    ),
    responses((status = 204, description = "It is deleted")),
    extensions(("x-problems" = json!(["not-found", "not-a-folder", "forbidden", "precondition-failed", "locked", "invalid-path"]))),
)]
#[expect(dead_code, reason = "it stands for a part of `handle`")]
fn delete() {}

/// The methods and classes that are spoken here.
#[utoipa::path(
    options,
    path = "/dav/{path}",
    tag = "webdav",
    operation_id = "dav_options",
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are")),
    responses((
        status = 200,
        description = "They are in the header",
        headers(
            ("Allow" = String, description = "The methods"),
            ("DAV" = String, description = "The classes of RFC 4918"),
        ),
    )),
)]
#[expect(dead_code, reason = "it stands for a part of `handle`")]
fn options() {}

/// Begins an upload by tus to a folder.
#[utoipa::path(
    post,
    path = "/dav/{path}",
    tag = "webdav",
    operation_id = "dav_upload",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(
        ("path" = String, Path, description = "Path of the entry; slashes may be as they are"),
        ("Tus-Resumable" = Option<String>, Header, description = "`1.0.0`"),
        ("Upload-Length" = Option<String>, Header, description = "Bytes of the content"),
        ("Upload-Metadata" = Option<String>, Header, description = "`filename` and others, in base64"),
    ),
    responses((
        status = 201,
        description = "The upload",
        headers(
            ("Location" = String, description = "Where it goes on"),
        ),
    )),
    extensions(("x-problems" = json!(["method-not-allowed", "unsupported-version", "too-many-uploads", "checksum-mismatch", "offset-mismatch", "forbidden", "incomplete", "length-unknown", "upload-lost", "limit-reached", "not-found", "name-conflict", "not-a-folder", "is-a-folder", "precondition-failed", "request-timeout", "wrong-length", "digest-mismatch", "too-large", "quota-exceeded", "too-many-uploads", "unsupported-media-type", "invalid-fields", "busy", "preempted", "upload-gone", "blob-deleting", "locked", "insufficient-storage"]))),
)]
#[expect(dead_code, reason = "it stands for a part of `handle`")]
fn post() {}
