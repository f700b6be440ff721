//! Every route of this service on one screen.

use std::sync::Arc;

use axum::{
    Router,
    extract::FromRef,
    routing::{get, post, put},
};
use cloudstore_service::auth::Verifier;

use crate::{
    dialect::{direct, native},
    engine::Engine,
};

#[derive(Clone, FromRef)]
struct App {
    engine: Arc<Engine>,
    verifier: Verifier,
}

pub(crate) fn routes(engine: Arc<Engine>, verifier: Verifier) -> Router {
    Router::new()
        .route("/api/v1/uploads", post(native::create).get(native::list))
        .route(
            "/api/v1/uploads/batch",
            post(native::create_batch).layer(batch_limit()),
        )
        .route(
            "/api/v1/uploads/{id}",
            get(native::status).delete(native::cancel),
        )
        .route("/api/v1/uploads/{id}/proof", post(native::prove))
        .route(
            "/api/v1/uploads/{id}/chunks/{index}",
            put(native::put_chunk),
        )
        .route("/api/v1/uploads/{id}/complete", post(native::complete))
        .route("/api/v1/content/{*path}", put(direct::put_content))
        .with_state(App { engine, verifier })
}

/// A batch of 1,000 entries whose paths have the greatest length, JSON-escaped.
fn batch_limit() -> axum::extract::DefaultBodyLimit {
    axum::extract::DefaultBodyLimit::max(10 << 20)
}
