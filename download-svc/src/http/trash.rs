//! Handlers of `/api/v1/trash`.

use axum::{extract::State, http::StatusCode};
use cloudstore_proto::{
    convert,
    http::{
        Entry, OnConflict,
        trash::{Restore, Trash},
    },
    path,
};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::{Reader, User},
    json::Json,
    path::Path,
    query::Query,
};
use serde::Deserialize;
use uuid::Uuid;

use super::files::page_limit;
use crate::App;

/// Which part of the trash is wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrashQuery {
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: String,
    /// Entries of a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What can be restored.
#[utoipa::path(
    get,
    path = "/api/v1/trash",
    tag = "trash",
    operation_id = "list_trash",
    security(("login" = []), ("token" = ["full", "read"]), ("basic" = ["full", "read"])),
    params(TrashQuery),
    responses((status = 200, description = "A page of it", body = Trash)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    reader: Reader,
    Query(query): Query<TrashQuery>,
) -> Result<Json<Trash>> {
    let limit = page_limit(query.limit)?;
    let page = app
        .catalog
        .trash(reader.account_id, query.cursor, limit)
        .await?;
    Ok(Json(convert::trash(&page)))
}

/// Puts something back.
#[utoipa::path(
    post,
    path = "/api/v1/trash/{id}/restore",
    tag = "trash",
    operation_id = "restore_entry",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = Restore,
    responses((status = 200, description = "The entry", body = Entry)),
    extensions(("x-problems" = json!(["name-conflict", "not-a-folder", "invalid-path", "locked"]))),
)]
pub(crate) async fn restore(
    State(app): State<App>,
    user: User,
    Path(id): Path<Uuid>,
    Json(body): Json<Restore>,
) -> Result<Json<Entry>> {
    let rename = match body.on_conflict {
        OnConflict::Fail => false,
        OnConflict::Rename => true,
        OnConflict::Replace => {
            let detail = "restoring replaces nothing: on_conflict is \"fail\" or \"rename\"";
            return Err(Problem::new(Kind::MalformedRequest, detail));
        }
    };
    let to = body.path.as_deref().map(path::normalize_new).transpose()?;
    let entry = app.catalog.restore(user.account_id, id, to, rename).await?;
    Ok(Json(convert::entry(&entry)))
}

/// Deletes something for good.
#[utoipa::path(
    delete,
    path = "/api/v1/trash/{id}",
    tag = "trash",
    operation_id = "delete_trashed",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(app): State<App>,
    user: User,
    Path(id): Path<Uuid>,
) -> Result<StatusCode> {
    app.catalog.empty_trash(user.account_id, Some(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes everything in it for good.
#[utoipa::path(
    delete,
    path = "/api/v1/trash",
    tag = "trash",
    operation_id = "empty_trash",
    security(("login" = []), ("token" = ["full"]), ("basic" = ["full"])),
    responses((status = 204, description = "All of it is gone")),
)]
pub(crate) async fn empty(State(app): State<App>, user: User) -> Result<StatusCode> {
    app.catalog.empty_trash(user.account_id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
