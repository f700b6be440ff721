//! Handler of `/api/v1/search`.

use axum::extract::State;
use cloudstore_proto::{convert, http::Found, path};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::Reader,
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
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchQuery {
    q: String,
    path: Option<String>,
    limit: Option<u32>,
}

/// Entries anywhere below a folder whose names contain a text.
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
    let Ok(_place) = app.searches.try_acquire() else {
        let detail = "too many searches at the moment";
        return Err(Problem::new(Kind::Overloaded, detail));
    };
    let found = app
        .catalog
        .search(reader.account_id, path, query.q, limit)
        .await?;
    Ok(Json(Found {
        entries: found.entries.iter().map(convert::entry).collect(),
        more: found.more,
    }))
}
