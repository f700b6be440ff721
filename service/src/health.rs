//! What operators and load balancers ask: alive, ready, how much, which version.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::get};
use futures::future::join_all;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Kind, Problem, Result, json::Json, telemetry};

/// A dependency that takes longer to answer is not usable.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

type Check =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The state of a service. Clones share it.
#[derive(Clone)]
pub struct Health(Arc<Shared>);

struct Shared {
    service: &'static str,
    version: &'static str,
    checks: Mutex<Vec<(&'static str, Check)>>,
    draining: AtomicBool,
}

/// The description of [`Health::router`].
#[derive(utoipa::OpenApi)]
#[openapi(paths(healthz, readyz, metrics, version))]
pub struct Description;

#[derive(Serialize, ToSchema)]
struct Version {
    service: &'static str,
    version: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Status {
    status: &'static str,
}

impl Health {
    /// A service that is ready and depends on nothing yet.
    #[must_use]
    pub fn new(service: &'static str, version: &'static str) -> Self {
        Self(Arc::new(Shared {
            service,
            version,
            checks: Mutex::default(),
            draining: AtomicBool::new(false),
        }))
    }

    /// Adds a dependency: the service is ready while `check` succeeds within two seconds. The
    /// error is logged; the outside only learns the name.
    pub fn add<F, Fut>(&self, name: &'static str, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        self.0
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name, check));
    }

    /// From now on the service is not ready, for good: it is shutting down.
    pub fn set_not_ready(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Names of what fails; empty when the service is ready.
    pub async fn failing(&self) -> Vec<&'static str> {
        let checks = self
            .0
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let results = join_all(checks.into_iter().map(async |(name, check)| {
            let result = tokio::time::timeout(CHECK_TIMEOUT, check()).await;
            let error = match result {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => error,
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(dependency = name, error, "dependency is not usable");
            Some(name)
        }))
        .await;
        results.into_iter().flatten().collect()
    }

    /// `/healthz`, `/readyz`, `/metrics` and `/version`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/version", get(version))
            .with_state(self.clone())
    }
}

/// The process runs.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "It does", body = Status)),
)]
async fn healthz() -> Json<Status> {
    Json(Status { status: "ok" })
}

/// The service is ready for requests, and so is what it depends on.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses((status = 200, description = "It is", body = Status)),
    extensions(("x-problems" = json!(["unavailable"]))),
)]
async fn readyz(State(health): State<Health>) -> Result<Json<Status>> {
    if health.0.draining.load(Ordering::Relaxed) {
        return Err(Problem::new(
            Kind::Unavailable,
            "the service is shutting down",
        ));
    }
    let failing = health.failing().await;
    if failing.is_empty() {
        return Ok(Json(Status { status: "ready" }));
    }
    let detail = format!("not usable: {}", failing.join(", "));
    Err(Problem::new(Kind::Unavailable, detail).with("failing", failing))
}

/// Figures about the service, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((
        status = 200,
        description = "In the text format of Prometheus",
        body = String,
        content_type = "text/plain",
    )),
)]
async fn metrics() -> String {
    telemetry::metrics().render()
}

/// Which service this is, and which version.
#[utoipa::path(
    get,
    path = "/version",
    tag = "operation",
    responses((status = 200, description = "Name and version", body = Version)),
)]
async fn version(State(health): State<Health>) -> Json<Version> {
    Json(Version {
        service: health.0.service,
        version: health.0.version,
    })
}
