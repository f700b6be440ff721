//! Handler of `/api/v1/search`.

use axum::extract::State;
use cloudstore_proto::{convert, http::Found, path};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::Reader,
    context,
    json::{Json, invalid_fields},
    query::Query,
};
use serde::Deserialize;

use super::files::{MAX_SEARCH_BYTES, page_limit};
use crate::App;

/// Searches at a time, of everybody: each reads all the names below a folder, and shares the database
/// with uploads and downloads, which must not wait.
pub(crate) const MAX_SEARCHES: usize = 8;
/// Entries that are told when nobody says how many.
const DEFAULT_LIMIT: u32 = 100;

/// What is wanted, and where.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchQuery {
    /// A part of the name; upper and lower case are the same. 255 bytes at most.
    #[param(min_length = 1, max_length = 255)]
    q: String,
    /// Path of the folder to look in; the root folder when absent.
    path: Option<String>,
    /// Entries that are told at most; 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Finds entries anywhere below a folder whose names contain a text.
#[utoipa::path(
    get,
    path = "/api/v1/search",
    tag = "files",
    security(("login" = []), ("token" = ["full", "read"]), ("basic" = ["full", "read"])),
    params(SearchQuery),
    responses((status = 200, description = "What was found", body = Found)),
    extensions(("x-problems" = json!(["not-found", "not-a-folder", "invalid-path", "invalid-fields", "limit-reached", "overloaded"]))),
)]
pub(crate) async fn search(
    State(app): State<App>,
    reader: Reader,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Found>> {
    if query.q.is_empty() || query.q.len() > MAX_SEARCH_BYTES {
        let message = format!("must have 1 to {MAX_SEARCH_BYTES} bytes");
        return Err(invalid_fields([("q", message)]));
    }
    let limit = page_limit(query.limit.or(Some(DEFAULT_LIMIT)))?;
    let path = path::normalize(query.path.as_deref().unwrap_or("/"))?;
    let Ok(place) = app.searches.clone().try_acquire_owned() else {
        let detail = "too many searches at the moment";
        return Err(Problem::new(Kind::Overloaded, detail));
    };
    // The database goes on when the client has left: so does the place.
    let search = context::spawn(async move {
        let found = app.catalog.search(reader.account_id, path, query.q, limit);
        let found = found.await;
        drop(place);
        found
    });
    let found = search.await.map_err(Problem::internal)??;
    Ok(Json(Found {
        entries: found.entries.iter().map(convert::entry).collect(),
        more: found.more,
    }))
}
