//! Finished copies for the other services: `/internal/v1/staging/...`. No user ever comes here.

use std::{ops::Range, sync::Arc};

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use cloudstore_backends::staging::Content;
use cloudstore_proto::http;
use cloudstore_service::{
    Kind, Problem, Result,
    json::{Json, invalid_fields},
    path::Path,
    query::Query,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::engine::Engine;

/// Body of a removal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removal {
    /// Up to 1,000.
    ids: Vec<Uuid>,
}

/// `GET /internal/v1/staging/{id}`: the content, whole or one range of it.
pub(crate) async fn content(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response> {
    let copy = engine.staged(id).await?;
    answer(copy.content, copy.size, &headers).await
}

/// Query of a part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Owner {
    account: Uuid,
}

/// `GET /internal/v1/staging/{id}/part?account={id}`: an unfinished upload that is a part of others,
/// once all of it is there.
pub(crate) async fn part(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<Uuid>,
    Query(owner): Query<Owner>,
    headers: HeaderMap,
) -> Result<Response> {
    let part = engine.own_part(owner.account, id).await?;
    let incomplete = || Problem::new(Kind::Incomplete, "the part is not complete");
    let (content, size) = part.ok_or_else(incomplete)?;
    answer(content, size, &headers).await
}

async fn answer(content: Content, size: u64, headers: &HeaderMap) -> Result<Response> {
    let (status, range) = match asked_range(headers, size)? {
        None => (StatusCode::OK, 0..size),
        Some(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let (first, len) = (range.start, range.end - range.start);
    let body = if len == 0 {
        Body::empty()
    } else {
        let stream = content.read(range).await;
        Body::from_stream(stream.map_err(Problem::internal)?)
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, len.into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{size}", first + len - 1);
        headers.insert(header::CONTENT_RANGE, value(&range)?);
    }
    Ok(binary(response))
}

/// `GET /internal/v1/staging/{id}/outboard`: the group values, 32 bytes each.
pub(crate) async fn outboard(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<Uuid>,
) -> Result<Response> {
    let values = engine.staged_values(id).await?;
    Ok(binary(values.into_response()))
}

/// `POST /internal/v1/staging/remove`
pub(crate) async fn remove(
    State(engine): State<Arc<Engine>>,
    Json(removal): Json<Removal>,
) -> Result<StatusCode> {
    if removal.ids.len() > http::MAX_BATCH {
        let message = format!("must have at most {} elements", http::MAX_BATCH);
        return Err(invalid_fields([("ids", message)]));
    }
    engine.remove_staged(&removal.ids).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn binary(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One range of bytes (RFC 9110 section 14.1.2), which is all that our own services ask for.
/// Anything else is answered with the whole, as the RFC allows.
fn asked_range(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>> {
    let Some(asked) = headers.get(header::RANGE).and_then(parse) else {
        return Ok(None);
    };
    let (first, last) = asked;
    let end = last.map_or(size, |last| last.saturating_add(1).min(size));
    if first >= end {
        return Err(Problem::new(
            Kind::RangeNotSatisfiable,
            format!("the copy has {size} bytes"),
        ));
    }
    Ok(Some(first..end))
}

fn parse(range: &HeaderValue) -> Option<(u64, Option<u64>)> {
    let (first, last) = range
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let first = first.parse().ok()?;
    if last.is_empty() {
        return Some((first, None));
    }
    let last = last.parse().ok()?;
    (first <= last).then_some((first, Some(last)))
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let ask = |range: &str| {
            let range = (header::RANGE, range.parse().unwrap());
            asked_range(&HeaderMap::from_iter([range]), 10)
        };
        assert_eq!(ask("bytes=0-0").unwrap(), Some(0..1));
        assert_eq!(ask("bytes=3-99").unwrap(), Some(3..10));
        assert_eq!(ask("bytes=9-").unwrap(), Some(9..10));
        for whole in ["bytes=-3", "bytes=1-2,4-5", "bytes=5-4", "lines=1-2", "x"] {
            assert_eq!(ask(whole).unwrap(), None, "{whole}");
        }
        let outside = ask("bytes=10-").unwrap_err();
        assert_eq!(outside.kind(), Kind::RangeNotSatisfiable);
        assert!(asked_range(&HeaderMap::new(), 10).unwrap().is_none());
    }
}
