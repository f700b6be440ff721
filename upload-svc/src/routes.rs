//! Every route of this service on one screen.

use std::sync::Arc;

use axum::{
    Router,
    extract::FromRef,
    middleware::from_fn_with_state,
    routing::{any, get, post, put},
};
use cloudstore_service::{
    auth::Verifier,
    openapi::also_at,
    trust::{self, Trusted},
};
use utoipa::{OpenApi, openapi};

use crate::{
    dialect::{dav, direct, ietf, native, staging, tus},
    drop_box::Admission,
    engine::Engine,
    forward::{AUDIENCE, Forward, to_owner},
};

/// Who moves and reads finished copies.
const READERS: &[&str] = &["transfer-worker", "download-svc", "upload-svc"];

#[derive(Clone, FromRef)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) verifier: Verifier,
    pub(crate) admission: Admission,
    pub(crate) forward: Arc<Forward>,
    pub(crate) origins: tus::Origins,
}

/// The description of [`routes`]: every handler is named here, or in the description of its dialect.
#[derive(OpenApi)]
#[openapi(paths(
    native::create,
    native::list,
    native::create_batch,
    native::status,
    native::cancel,
    native::prove,
    native::put_chunk,
    native::complete,
    direct::put_content,
))]
struct Description;

pub(crate) fn openapi() -> openapi::OpenApi {
    let mut document = Description::openapi();
    document.merge(ietf::Description::openapi());
    document.merge(tus::Description::openapi());
    document.merge(dav::Description::openapi());
    also_at(&mut document, "/files/{id}", "/files/", &["options"]);
    also_at(&mut document, "/dav/{path}", "/dav", &[]);
    document
}

pub(crate) fn routes(app: App) -> Router {
    let owned = Router::new()
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
        .route_layer(from_fn_with_state(app.clone(), to_owner));
    let content = put(direct::put_content)
        .post(ietf::no_post)
        .options(ietf::options)
        .route_layer(from_fn_with_state(app.clone(), ietf::upgrade));
    Router::new()
        .route("/api/v1/uploads", post(native::create).get(native::list))
        .route(
            "/api/v1/uploads/batch",
            post(native::create_batch).layer(batch_limit()),
        )
        .route("/api/v1/content/{*path}", content)
        // Every method but those of download-svc, GET and HEAD.
        .route("/dav", any(dav::handle))
        .route("/dav/", any(dav::handle))
        .route("/dav/{*path}", any(dav::handle))
        .merge(owned)
        .merge(resumable(app.clone()))
        .with_state(app)
}

/// Resumable protocols of others.
fn resumable(app: App) -> Router<App> {
    let ietf = from_fn_with_state(app.clone(), ietf::answer);
    let collection = || {
        post(tus::create)
            .options(tus::options)
            .route_layer(ietf.clone())
    };
    let upload = get(tus::content)
        .head(tus::offset)
        .patch(tus::append)
        .delete(tus::terminate)
        .post(tus::overridden)
        .route_layer(ietf.clone())
        .route_layer(from_fn_with_state(app.clone(), to_owner));
    Router::new()
        .route("/files", collection())
        .route("/files/", collection())
        .route("/files/{id}", upload.options(tus::options))
        .route_layer(from_fn_with_state(app, tus::speak))
}

/// For services only; users have no business here.
pub(crate) fn internal(engine: Arc<Engine>, trusted: Trusted) -> Router {
    Router::new()
        .route("/internal/v1/staging/remove", post(staging::remove))
        .route("/internal/v1/staging/{id}", get(staging::content))
        .route("/internal/v1/staging/{id}/outboard", get(staging::outboard))
        .route("/internal/v1/staging/{id}/part", get(staging::part))
        .route_layer(trust::require(trusted, AUDIENCE, READERS))
        .with_state(engine)
}

/// A batch of 1,000 entries whose paths have the greatest length, JSON-escaped.
fn batch_limit() -> axum::extract::DefaultBodyLimit {
    axum::extract::DefaultBodyLimit::max(10 << 20)
}
