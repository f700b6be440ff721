//! What every request goes through, whichever service answers it: [`finish`].

mod challenge;
mod observe;
pub(crate) mod wire;

use std::any::Any;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::{IntoResponse as _, Response},
};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{Kind, Problem, context, json, telemetry};

/// The id of the request that the current task serves, also when `context::spawn` made the task;
/// empty outside a request.
#[must_use]
pub fn request_id() -> String {
    context::id().map(|id| id.to_string()).unwrap_or_default()
}

/// Completes the router that is to be listened on, once, after everything was merged into it.
///
/// Adds a request id (taken from `x-request-id` or new; in every response, problem body and log
/// line), one log line and metrics for each request, problems for panics and for unknown paths and
/// methods and for ambiguous requests, a limit for bodies read by extractors, and a time limit for
/// bodies that stop arriving.
pub fn finish(router: Router) -> Router {
    telemetry::metrics();
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn(observe::observe))
        .layer(middleware::from_fn(challenge::offer_basic))
        .layer(middleware::from_fn(wire::refuse))
        .layer(CatchPanicLayer::custom(from_panic))
        .layer(DefaultBodyLimit::max(json::DEFAULT_LIMIT));
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(layers)
}

async fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "there is nothing under this address")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Kind::MethodNotAllowed,
        "see the Allow header for the methods of this address",
    )
}

/// The panic itself was printed by the panic hook; its message is repeated with the request's id.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is tower-http's"
)]
fn from_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Problem::internal(format!("a handler panicked: {message}")).into_response()
}
