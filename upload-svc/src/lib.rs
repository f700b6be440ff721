//! upload-svc: every way bytes come in.
//!
//! [`engine`] receives, verifies and keeps content and knows no HTTP; [`dialect`] translates the
//! HTTP interfaces to it. A chunk touches only this node's staging directory; creation and
//! completion are one transaction each in dbproxy. An upload belongs to the node that created it:
//! [`forward`] streams what others are asked for through to it.

mod dialect;
mod drop_box;
pub mod engine;
mod forward;
mod limit;
mod links;
mod options;
mod peers;
mod routes;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use cloudstore_backends::staging::Layout;
pub use cloudstore_proto::upload::InstantPolicy;
use cloudstore_service::auth::Verifier;
use tokio_util::sync::CancellationToken;

pub use self::{
    drop_box::Config as DropBoxConfig,
    engine::{Engine, Ports},
    options::{Instant, Options},
    peers::Peers,
};
use self::{
    drop_box::{Admission, DropBox},
    engine::Settings,
    forward::Forward,
    links::Links,
    peers::Directory,
    routes::App,
};

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
    /// Who may upload instantly, unless the live settings say otherwise.
    pub instant: InstantPolicy,
    /// After this time out of the list of peers a node counts as gone for good, with the
    /// unfinished uploads on it. Counted from when this process first missed it.
    pub lost_after: Duration,
    /// How long what WebDAV clients delete can be restored; zero: not at all.
    pub trash: Duration,
    /// Origins of web pages whose scripts may upload here, exactly as browsers send them.
    pub origins: Vec<String>,
    /// Where everybody may send files without credentials; `None`: nowhere.
    pub drop_box: Option<DropBoxConfig>,
}

/// Default of [`Config::lost_after`]: longer than the restart of a machine takes.
pub const LOST_AFTER: Duration = Duration::from_secs(15 * 60);

/// Files up to one default chunk are sent in one request when they come in a batch.
const DIRECT_LIMIT: u64 = cloudstore_proto::http::DEFAULT_CHUNK_SIZE;

/// What a started upload-svc offers.
pub struct Upload {
    /// The HTTP interface.
    pub router: Router,
    /// The interface for other services, on paths below `/internal/`; every call needs a service
    /// token. Without peers nobody has one.
    pub internal: Router,
    /// For readiness ([`Engine::check`]).
    pub engine: Arc<Engine>,
}

/// The description of the routes of [`start`].
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes::openapi()
}

/// Cleans up after the last run and starts serving. The sweep runs until `shutdown`.
///
/// # Errors
/// When the staging directory cannot be used, dbproxy does not answer, or the account of the drop
/// box does not exist.
pub async fn start(
    config: Config,
    mut ports: Ports,
    verifier: Verifier,
    shutdown: CancellationToken,
) -> Result<Upload, engine::Error> {
    let origins = dialect::tus::Origins::new(&config.origins);
    let drop_box = match &config.drop_box {
        Some(config) => Some(
            DropBox::open(config, ports.channel.clone())
                .await
                .map_err(engine::Error::Metadata)?,
        ),
        None => None,
    };
    let settings = Settings {
        node: config.node,
        max_size: config.max_size,
        lifetime: config.lifetime,
        trash: config.trash,
        instant: config.instant,
        drop_box,
        direct_limit: DIRECT_LIMIT,
    };
    // Without peers, another node in a row is one that this node replaced.
    let alone = ports.peers.is_none();
    let lost_after = if alone {
        Duration::ZERO
    } else {
        config.lost_after
    };
    let peers = ports.peers.take();
    let peers = peers.unwrap_or_else(|| Peers::none(&settings.node));
    let engine = Engine::open(settings, Layout::new(config.staging), ports)?;
    engine.recover().await?;
    let directory = Arc::new(Directory::new(peers.instances, lost_after));
    let nodes = directory.clone();
    tokio::spawn(engine.clone().sweep(move || nodes.lost(), shutdown.clone()));
    let followed = directory.clone();
    tokio::spawn(async move { followed.follow(shutdown).await });
    let admission = Admission {
        verifier: verifier.clone(),
        drop_box,
        links: Links::new(engine.channel()),
    };
    let forward = Forward::new(
        engine.clone(),
        admission.clone(),
        directory,
        peers.trusted.clone(),
        peers.tokens,
    );
    Ok(Upload {
        router: routes::routes(App {
            engine: engine.clone(),
            verifier,
            admission,
            forward: Arc::new(forward),
            origins,
        }),
        internal: routes::internal(engine.clone(), peers.trusted),
        engine,
    })
}
