//! Where an upload goes on, its end by the client's will, and what this server takes.

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use cloudstore_service::{Result, path::Path};
use std::sync::Arc;
use uuid::Uuid;

use super::{
    ALLOWED, UPLOAD_COMPLETE, UPLOAD_INCOMPLETE, UPLOAD_LENGTH, UPLOAD_LIMIT, UPLOAD_OFFSET,
    fields, problem, settled, version::Version,
};
use crate::{
    dialect::malformed,
    drop_box::Depositor,
    engine::{Engine, Error, Found, session::Session},
    routes::App,
};

/// `HEAD /files/{id}`
pub(super) async fn offset(
    State(engine): State<Arc<Engine>>,
    user: Depositor,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Response {
    let version = Version::of(&headers);
    settled(version, find(&engine, user, id, version, &headers).await)
}

/// State of an upload as clients are told it.
struct Progress {
    offset: u64,
    length: Option<u64>,
    complete: bool,
    expires_at_ms: i64,
}

async fn find(
    engine: &Arc<Engine>,
    user: Depositor,
    id: Uuid,
    version: Version,
    headers: &HeaderMap,
) -> Result<Response> {
    refuse_state(version, headers)?;
    let state = match engine
        .find(user.account_id, id)
        .await
        .map_err(problem::of)?
    {
        Found::Done(done) => Progress {
            offset: done.size,
            length: Some(done.size),
            complete: true,
            expires_at_ms: done.expires_at_ms,
        },
        Found::Open(session) => unfinished(engine, user, &session).await?,
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    let answer = response.headers_mut();
    answer.insert(UPLOAD_OFFSET, state.offset.into());
    version.tell_complete(answer, state.complete);
    if let Some(length) = state.length {
        answer.insert(UPLOAD_LENGTH, length.into());
    }
    let age = fields::age(state.expires_at_ms);
    if let Some(limit) = fields::limit(version, engine.settings().max_size, age) {
        answer.insert(UPLOAD_LIMIT, limit);
    }
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn unfinished(engine: &Engine, user: Depositor, session: &Session) -> Result<Progress> {
    match session.offset().await {
        Ok(offset) => {
            let facts = session.facts();
            Ok(Progress {
                offset,
                length: facts.size,
                complete: false,
                expires_at_ms: facts.expires_at_ms,
            })
        }
        // It may have been completed meanwhile.
        Err(Error::Gone) => {
            let found = engine.find(user.account_id, session.facts().id).await;
            match found.map_err(problem::of)? {
                Found::Done(done) => Ok(Progress {
                    offset: done.size,
                    length: Some(done.size),
                    complete: true,
                    expires_at_ms: done.expires_at_ms,
                }),
                Found::Open(_) => Err(Error::Gone.into()),
            }
        }
        Err(error) => Err(problem::of(error)),
    }
}

/// `DELETE /files/{id}`
pub(super) async fn cancel(
    State(engine): State<Arc<Engine>>,
    user: Depositor,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Response {
    let version = Version::of(&headers);
    let cancelled = match refuse_state(version, &headers) {
        Ok(()) => end(&engine, user, id).await,
        Err(problem) => Err(problem),
    };
    settled(version, cancelled)
}

async fn end(engine: &Arc<Engine>, user: Depositor, id: Uuid) -> Result<Response> {
    let cancelled = engine.cancel(user.account_id, id).await;
    cancelled.map_err(problem::of)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Until -05 these requests must not say anything about the state of the upload.
fn refuse_state(version: Version, headers: &HeaderMap) -> Result<()> {
    let state = [UPLOAD_OFFSET, UPLOAD_COMPLETE, UPLOAD_INCOMPLETE];
    if version.rules.strict && state.iter().any(|name| headers.contains_key(name)) {
        return Err(malformed(
            "this request has no offset and completes nothing",
        ));
    }
    Ok(())
}

/// `OPTIONS`: adds what this server takes.
pub(super) async fn with_limits(app: &App, request: Request, next: Next) -> Response {
    let version = Version::of(request.headers());
    let mut response = next.run(request).await;
    let settings = app.engine.settings();
    let limit = fields::limit(version, settings.max_size, settings.lifetime.as_secs());
    if let Some(limit) = limit {
        response.headers_mut().insert(UPLOAD_LIMIT, limit);
    }
    response
}

/// `OPTIONS /api/v1/content/{path}`. Nobody has to log in for that.
#[utoipa::path(
    options,
    path = "/api/v1/content/{path}",
    tag = "content",
    operation_id = "content_options",
    params(("path" = String, Path, description = "Path of the entry; slashes may be as they are")),
    responses((status = 204, description = "The methods, and the limits of an upload")),
)]
pub(crate) async fn options() -> (StatusCode, [(HeaderName, HeaderValue); 1]) {
    (StatusCode::NO_CONTENT, [(header::ALLOW, ALLOWED)])
}
