//! Handlers of `/api/v1/files`, `/api/v1/folders`, `/api/v1/copies` and `/api/v1/changes`.

use axum::{extract::State, http::StatusCode};
use bytes::Bytes;
use cloudstore_proto::{
    convert, file,
    http::{
        Change, Changed, Changes, CopyEntry, CreateFolder, Entry, Listing, MAX_BATCH, MoveEntry,
    },
    path::{self, InvalidPath},
};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::{Reader, Uploader, User},
    json::{Json, invalid_fields},
    precondition::Conditions,
    query::Query,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::path::EntryPath;
use crate::{
    App,
    catalog::{Page, millis},
};

/// Entries of a page at most, as dbproxy has it.
const MAX_LIMIT: u32 = 1_000;
/// Bytes of a search text: no name is longer.
pub(super) const MAX_SEARCH_BYTES: usize = path::MAX_SEGMENT_BYTES;

/// Which part of a folder is wanted. Anything else in the query string is refused.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: String,
    /// Entries of a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// What they are sorted by.
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// In which direction.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// Only entries with this in their name.
    #[serde(default)]
    #[param(max_length = 255)]
    search: String,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Sort {
    #[default]
    Name,
    Size,
    Modified,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Asc,
    Desc,
}

impl ListQuery {
    pub(super) fn page(self) -> Result<Page> {
        let limit = page_limit(self.limit)?;
        if self.search.len() > MAX_SEARCH_BYTES {
            let detail = format!("search must not be longer than {MAX_SEARCH_BYTES} bytes");
            return Err(Problem::new(Kind::MalformedRequest, detail));
        }
        let sort = match self.sort {
            Sort::Name => file::SortKey::Name,
            Sort::Size => file::SortKey::Size,
            Sort::Modified => file::SortKey::Modified,
        };
        let descending = self.order == Order::Desc;
        Ok(Page {
            cursor: self.cursor,
            limit,
            sort,
            descending,
            search: self.search,
        })
    }
}

/// Entries of a page.
pub(super) fn page_limit(limit: Option<u32>) -> Result<u32> {
    let limit = limit.unwrap_or(MAX_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let detail = format!("limit must be between 1 and {MAX_LIMIT}");
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    Ok(limit)
}

/// A file's metadata, or a folder with a page of its entries.
#[utoipa::path(
    get,
    path = "/api/v1/files/{path}",
    tag = "files",
    operation_id = "list_folder",
    security(("login" = []), ("token" = ["full", "read"]), ("basic" = ["full", "read"])),
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are"), ListQuery),
    responses((status = 200, description = "The entry", body = Listing)),
    extensions(("x-problems" = json!(["not-found", "not-a-folder"]))),
)]
pub(crate) async fn read(
    State(app): State<App>,
    reader: Reader,
    EntryPath(path): EntryPath,
    Query(query): Query<ListQuery>,
) -> Result<Json<Listing>> {
    let page = query.page()?;
    let listed = match app.catalog.list(reader.account_id, &path, page).await {
        Err(problem) if problem.kind() == Kind::NotAFolder => None,
        listed => Some(listed?),
    };
    let Some(file::ListResponse {
        folder: Some(folder),
        entries,
        next_cursor,
    }) = listed
    else {
        let entry = app.catalog.stat(reader.account_id, &path).await?;
        let entry = convert::entry(&entry);
        return Ok(Json(Listing {
            entry,
            entries: None,
            next_cursor: None,
        }));
    };
    Ok(Json(Listing {
        entry: convert::entry(&folder),
        entries: Some(entries.iter().map(convert::entry).collect()),
        next_cursor: (!next_cursor.is_empty()).then_some(next_cursor),
    }))
}

/// Renames or moves an entry.
#[utoipa::path(
    patch,
    path = "/api/v1/files/{path}",
    tag = "files",
    operation_id = "move_entry",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are"), ("If-Match" = Option<String>, Header, description = "Entity tags of which the entry has to have one"), ("If-None-Match" = Option<String>, Header, description = "Entity tags of which the entry must have none")),
    request_body = MoveEntry,
    responses((status = 200, description = "The entry in its new place", body = Entry)),
    extensions(("x-problems" = json!(["invalid-path", "not-found", "name-conflict", "not-a-folder", "precondition-failed", "locked"]))),
)]
pub(crate) async fn rename(
    State(app): State<App>,
    user: User,
    EntryPath(from): EntryPath,
    Conditions(precondition): Conditions,
    Json(body): Json<MoveEntry>,
) -> Result<Json<Entry>> {
    let (from, to) = (below_root(from)?, path::normalize_new(&body.path)?);
    let entry = app
        .catalog
        .rename(user.account_id, from, to, precondition)
        .await?;
    Ok(Json(convert::entry(&entry)))
}

/// Copies an entry with everything below it.
#[utoipa::path(
    post,
    path = "/api/v1/copies",
    tag = "files",
    operation_id = "copy_entry",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(("If-Match" = Option<String>, Header, description = "Entity tags of which the entry has to have one"), ("If-None-Match" = Option<String>, Header, description = "Entity tags of which the entry must have none")),
    request_body = CopyEntry,
    responses((status = 201, description = "The copy", body = Entry)),
    extensions(("x-problems" = json!(["not-found", "name-conflict", "not-a-folder", "is-a-folder", "precondition-failed", "invalid-path", "quota-exceeded", "locked", "limit-reached"]))),
)]
pub(crate) async fn copy(
    State(app): State<App>,
    user: User,
    Conditions(precondition): Conditions,
    Json(body): Json<CopyEntry>,
) -> Result<(StatusCode, Json<Entry>)> {
    let copy = CopyEntry {
        from: below_root(path::normalize(&body.from)?)?,
        to: path::normalize_new(&body.to)?,
        on_conflict: body.on_conflict,
    };
    let entry = app
        .catalog
        .copy(user.account_id, copy, precondition)
        .await?;
    Ok((StatusCode::CREATED, Json(convert::entry(&entry))))
}

/// How something is deleted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    /// For good, not into the trash.
    #[serde(default)]
    permanent: bool,
}

/// Deletes an entry and everything below it.
#[utoipa::path(
    delete,
    path = "/api/v1/files/{path}",
    tag = "files",
    operation_id = "delete_entry",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are"), DeleteQuery, ("If-Match" = Option<String>, Header, description = "Entity tags of which the entry has to have one"), ("If-None-Match" = Option<String>, Header, description = "Entity tags of which the entry must have none")),
    responses((status = 204, description = "It is deleted")),
    extensions(("x-problems" = json!(["invalid-path", "not-found", "not-a-folder", "precondition-failed", "locked"]))),
)]
pub(crate) async fn delete(
    State(app): State<App>,
    user: User,
    EntryPath(path): EntryPath,
    Query(query): Query<DeleteQuery>,
    Conditions(precondition): Conditions,
) -> Result<StatusCode> {
    let keep = app.kept(query.permanent);
    app.catalog
        .delete(user.account_id, below_root(path)?, keep, precondition)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates a folder.
#[utoipa::path(
    post,
    path = "/api/v1/folders",
    tag = "files",
    security(("login" = []), ("token" = ["full", "upload"]), ("basic" = ["full", "upload"])),
    request_body = CreateFolder,
    responses((status = 201, description = "The folder", body = Entry)),
    extensions(("x-problems" = json!(["not-found", "name-conflict", "not-a-folder", "invalid-path", "locked"]))),
)]
pub(crate) async fn create_folder(
    State(app): State<App>,
    uploader: Uploader,
    Json(body): Json<CreateFolder>,
) -> Result<(StatusCode, Json<Entry>)> {
    let path = path::normalize_new(&body.path)?;
    let entry = app
        .catalog
        .create_folder(uploader.account_id, path, body.parents)
        .await?;
    Ok((StatusCode::CREATED, Json(convert::entry(&entry))))
}

/// Makes several changes, all or none.
#[utoipa::path(
    post,
    path = "/api/v1/changes",
    tag = "files",
    operation_id = "change_entries",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    request_body = Changes,
    responses((status = 200, description = "The entries as they are now", body = Changed)),
    extensions(("x-problems" = json!(["not-found", "name-conflict", "not-a-folder", "invalid-path", "locked"]))),
)]
pub(crate) async fn change(
    State(app): State<App>,
    user: User,
    Json(body): Json<Changes>,
) -> Result<Json<Changed>> {
    if body.changes.is_empty() || body.changes.len() > MAX_BATCH {
        let message = format!("must have 1 to {MAX_BATCH} elements");
        return Err(invalid_fields([("changes", message)]));
    }
    let owner = Bytes::copy_from_slice(user.account_id.as_bytes());
    let requests = body.changes.into_iter().enumerate().map(|(index, change)| {
        request(&app, &owner, change).map_err(|problem| {
            let detail = format!("change {index}: {}", problem.detail());
            Problem::new(problem.kind(), detail).with("change", index)
        })
    });
    let requests = requests.collect::<Result<Vec<_>>>()?;
    let entries = app.catalog.apply(user.account_id, requests).await?;
    let entries = entries
        .iter()
        .map(|entry| (!entry.id.is_empty()).then(|| convert::entry(entry)));
    Ok(Json(Changed {
        entries: entries.collect(),
    }))
}

/// What dbproxy is asked for a change.
fn request(app: &App, owner: &Bytes, change: Change) -> Result<file::change::Change> {
    let owner = owner.clone();
    Ok(match change {
        Change::CreateFolder { path, parents } => {
            file::change::Change::CreateFolder(file::CreateFolderRequest {
                owner,
                path: path::normalize_new(&path)?,
                parents,
                precondition: None,
            })
        }
        Change::Move { from, to } => file::change::Change::Move(file::MoveRequest {
            owner,
            from: below_root(path::normalize(&from)?)?,
            to: path::normalize_new(&to)?,
            precondition: None,
            replace: false,
        }),
        Change::Delete { path, permanent } => file::change::Change::Delete(file::DeleteRequest {
            owner,
            path: below_root(path::normalize(&path)?)?,
            precondition: None,
            keep_ms: millis(app.kept(permanent)),
        }),
    })
}

/// The root folder can be neither moved, copied nor deleted.
fn below_root(path: String) -> Result<String> {
    if path == "/" {
        Err(InvalidPath::Root.into())
    } else {
        Ok(path)
    }
}
