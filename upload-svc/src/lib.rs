//! upload-svc: every way bytes come in.
//!
//! [`engine`] receives, verifies and keeps content and knows no HTTP; [`dialect`] translates the
//! HTTP interfaces to it. A chunk touches only this node's staging directory; creation and
//! completion are one transaction each in dbproxy.

mod dialect;
pub mod engine;
mod limit;
mod routes;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use cloudstore_backends::staging::Layout;
pub use cloudstore_proto::upload::InstantPolicy;
use cloudstore_service::auth::Verifier;
use tokio_util::sync::CancellationToken;

use self::engine::Settings;
pub use self::engine::{Engine, Ports};

/// How upload-svc behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's name. Sessions belong to it, so it must stay the same over restarts.
    pub node: String,
    /// Where unfinished and not yet transferred content is kept.
    pub staging: PathBuf,
    /// Longest content, bytes.
    pub max_size: u64,
    /// How long an unfinished upload is kept.
    pub lifetime: Duration,
    /// Who may upload instantly.
    pub instant: InstantPolicy,
}

/// Files up to one default chunk are sent in one request when they come in a batch.
const DIRECT_LIMIT: u64 = cloudstore_proto::http::DEFAULT_CHUNK_SIZE;

/// What a started upload-svc offers.
pub struct Upload {
    /// The HTTP interface.
    pub router: Router,
    /// For readiness ([`Engine::check`]).
    pub engine: Arc<Engine>,
}

/// Cleans up after the last run and starts serving. The sweep runs until `shutdown`.
///
/// # Errors
/// When the staging directory cannot be used or dbproxy does not answer.
pub async fn start(
    config: Config,
    ports: Ports,
    verifier: Verifier,
    shutdown: CancellationToken,
) -> Result<Upload, engine::Error> {
    let settings = Settings {
        node: config.node,
        max_size: config.max_size,
        lifetime: config.lifetime,
        instant: config.instant,
        direct_limit: DIRECT_LIMIT,
    };
    let engine = Engine::open(settings, Layout::new(config.staging), ports)?;
    engine.recover().await?;
    tokio::spawn(engine.clone().sweep(shutdown));
    Ok(Upload {
        router: routes::routes(engine.clone(), verifier),
        engine,
    })
}
