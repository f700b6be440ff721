//! Handlers of `/api/v1/archive`: folders and selections as one zip archive.

use std::{io, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{
        HeaderMap, HeaderValue, Method,
        header::{
            CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use cloudstore_proto::{
    convert,
    http::{Binary, MAX_BATCH},
    path,
};
use cloudstore_service::{
    Result,
    auth::Reader,
    context::{self, Context},
    json::{Json, invalid_fields},
    listener::ClientAddress,
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    content::{POLICY, sent},
    path::EntryPath,
    shares::{self, Token},
};
use crate::{
    App,
    archive::{Archive, Room, Selection, Source},
    disposition::{self, Disposition},
};

/// Registered by PKWARE.
const ZIP: &str = "application/zip";

/// `POST /api/v1/archive`: a zip archive of several entries, each with everything below it. `GET
/// /api/v1/archive/{path}` is that of one.
///
/// It is made while it is sent, so its length is not known and ranges cannot be asked for. If anything
/// cannot be read, or there are more entries than the archive has room for (16 MiB of names and what
/// belongs to them, 100,000 and more of ordinary length), the connection breaks off. A backslash in a
/// name, and the colon of a drive letter, are `%5C` and `%3A` in the archive, and a percent sign that
/// looks like the beginning of such a code is `%25`. No name is in it twice; names that differ in case
/// only are two.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveEntries {
    /// 1 to [`MAX_BATCH`] absolute paths. No two have the same name, and `/` is alone.
    #[schema(min_items = 1, max_items = 1000)]
    paths: Vec<String>,
}

/// Sends an entry, in general a folder, with everything below it.
#[utoipa::path(
    method(get, head),
    path = "/api/v1/archive/{path}",
    tag = "archive",
    operation_id = "archive_entry",
    security(("login" = []), ("token" = ["full", "read"]), ("basic" = ["full", "read"])),
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are")),
    responses((status = 200, description = "The archive", body = Binary, content_type = "application/zip")),
    extensions(("x-problems" = json!(["not-found", "not-a-folder", "blob-missing", "limit-reached"]))),
)]
pub(crate) async fn read(
    State(app): State<App>,
    reader: Reader,
    method: Method,
    EntryPath(path): EntryPath,
) -> Result<Response> {
    answer(&app, reader.account_id, vec![path], &method).await
}

/// Sends several entries with everything below them.
#[utoipa::path(
    post,
    path = "/api/v1/archive",
    tag = "archive",
    operation_id = "archive_entries",
    security(("login" = []), ("token" = ["full", "read"]), ("basic" = ["full", "read"])),
    request_body = ArchiveEntries,
    responses((status = 200, description = "The archive", body = Binary, content_type = "application/zip")),
    extensions(("x-problems" = json!(["not-found", "not-a-folder", "blob-missing", "invalid-path", "limit-reached"]))),
)]
pub(crate) async fn select(
    State(app): State<App>,
    reader: Reader,
    method: Method,
    Json(body): Json<ArchiveEntries>,
) -> Result<Response> {
    if body.paths.is_empty() || body.paths.len() > MAX_BATCH {
        let message = format!("must have 1 to {MAX_BATCH} elements");
        return Err(invalid_fields([("paths", message)]));
    }
    let paths = body.paths.iter().map(|path| path::normalize(path));
    let paths = paths.collect::<std::result::Result<_, _>>()?;
    answer(&app, reader.account_id, paths, &method).await
}

async fn answer(app: &App, owner: Uuid, paths: Vec<String>, method: &Method) -> Result<Response> {
    let room = Room::enter(app.reader.clone(), owner)?;
    let source = Source::Account(app.catalog.clone(), owner);
    let selection = Selection::find(&source, paths).await?;
    send(room, source, selection, method).await
}

/// Sends what a share shows at a path, in general a folder, with everything below it.
///
/// It counts as one download.
#[utoipa::path(
    method(get, head),
    path = "/api/v1/public/shares/{token}/archive/{path}",
    tag = "public shares",
    operation_id = "archive_shared_entry",
    security((), ("share_ticket" = []), ("share_cookie" = [])),
    params(("token" = String, Path, description = "The token of the share"), ("path" = String, Path, description = "Path of the entry; slashes may be as they are")),
    responses((status = 200, description = "The archive", body = Binary, content_type = "application/zip")),
    extensions(("x-problems" = json!(["password-required", "not-a-folder", "blob-missing", "limit-reached", "share-exhausted"]))),
)]
pub(crate) async fn shared(
    State(app): State<App>,
    client: ClientAddress,
    Token(token): Token,
    method: Method,
    headers: HeaderMap,
    EntryPath(path): EntryPath,
) -> Result<Response> {
    let (share, top) = shares::enter(&app, client, &token, &headers).await?;
    let room = Room::enter(app.reader.clone(), shares::visitors(&share)?)?;
    let source = Source::Share(app.shares.clone(), Arc::new(token));
    let name = convert::shared_name(&share, &top);
    let selection = Selection::shared(&source, path, name).await?;
    if method != Method::HEAD {
        app.shares.begin_archive(&share).await?;
    }
    send(room, source, selection, &method).await
}

async fn send(
    room: Room,
    source: Source,
    selection: Selection,
    method: &Method,
) -> Result<Response> {
    let disposition = disposition::header(Disposition::Attachment, ZIP, &selection.name());
    let disposition = HeaderValue::try_from(disposition).expect("the value is printable ASCII");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(ZIP)),
        (CONTENT_DISPOSITION, disposition),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // Made for this answer: there is nothing to ask about later.
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    if method == Method::HEAD {
        return Ok((headers, Body::empty()).into_response());
    }
    let mut archive = Archive::new(room, source, selection);
    // The most likely failures are known before the answer begins.
    let first = archive.next().await?;
    let first = stream::iter(first.map(Ok));
    Ok((headers, Body::from_stream(first.chain(rest(archive)))).into_response())
}

/// An error breaks the connection off, so nobody takes what came for a whole archive.
fn rest(archive: Archive) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    // The body is read when the handler has ended: what belongs to the request goes along.
    let (context, span) = (Context::current(), tracing::Span::current());
    let pieces = stream::try_unfold(archive, move |mut archive| {
        let (context, span) = (context.clone(), span.clone());
        let step = async move {
            let next = archive.next().await.map_err(|problem| {
                tracing::error!(%problem, "archive broken off");
                io::Error::other(problem.kind().slug())
            })?;
            Ok(next.map(|bytes| (bytes, archive)))
        };
        let step = step.instrument(span);
        async move {
            match context {
                Some(context) => context::scope(context, step).await,
                None => step.await,
            }
        }
    });
    pieces.inspect_ok(|piece| sent(piece.len()))
}
