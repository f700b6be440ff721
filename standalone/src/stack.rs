//! Starting and stopping the whole stack. The only place that knows which adapters are used.

use std::{
    fs::{File, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use cloudstore_backends::{
    blob::BlobStore,
    flush::{Flusher, create_dirs_durably},
    queue::Queue,
    staging::{Layout, LocalStaging, StagedBlobs},
};
use cloudstore_dbproxy::SqliteStore;
use cloudstore_node::adapters;
use cloudstore_service::{
    auth::Verifier,
    config::{SecretError, print_effective},
    health::Health,
    http, listener,
    rpc::{self, Channel},
    settings::Settings,
    trust::{Identity, Trusted},
};
use cloudstore_upload::{Engine, Ports};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::Config;

/// The one node of this stack. Its name is in the rows of its uploads, so it never changes.
const NODE: &str = "embedded";
/// Who operators are: whoever can read `admin.key` in the data directory.
const ADMIN: &str = "admin";

/// How soon removed files give their room back: before somebody wonders. Everything the worker
/// looks for is on this machine, so looking costs nothing.
const CLEAN_EVERY: Duration = Duration::from_secs(1);

/// Why the stack did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process serves this data directory.
    #[error("{0} is in use by another server")]
    InUse(String),
    /// A file, directory or socket cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An adapter cannot be had.
    #[error(transparent)]
    Node(#[from] cloudstore_node::StartError),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A service did not start.
    #[error("{service} did not start: {cause}")]
    Service {
        /// Its name.
        service: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    service: &'static str,
) -> impl FnOnce(E) -> StartError {
    move |cause| StartError::Service {
        service,
        cause: cause.into(),
    }
}

/// A running stack.
pub struct Stack {
    address: SocketAddr,
    health: Health,
    edge: CancellationToken,
    inner: CancellationToken,
    /// Ends dbproxy, which the others need until their own end.
    store: CancellationToken,
    listener: JoinHandle<io::Result<()>>,
    worker: JoinHandle<()>,
    dbproxy: JoinHandle<()>,
    /// Held until the stack ends: one server per data directory.
    _lock: File,
}

/// What the services share.
struct Shared {
    channel: Channel,
    verifier: Verifier,
    blobs: Arc<dyn BlobStore>,
    staged: Arc<dyn StagedBlobs>,
    queue: Arc<dyn Queue>,
    flusher: Flusher,
}

impl Stack {
    /// Starts everything; returns when requests are served.
    ///
    /// # Errors
    /// [`StartError`]; nothing keeps running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if let Ok(effective) = print_effective(&config) {
            tracing::info!(effective, "configuration");
        }
        create_data_dir(&config.data)?;
        let lock = lock(&config)?;
        let (edge, store) = (CancellationToken::new(), CancellationToken::new());
        let inner = store.child_token();
        // Whatever was started before a later step fails ends with this guard.
        let guard = store.clone().drop_guard();
        let (channel, dbproxy) = start_dbproxy(&config, store.clone()).await?;
        let shared = shared(&config, channel, &inner)?;
        let health = Health::new("standalone", env!("CARGO_PKG_VERSION"));
        let router = start_services(&config, &shared, &health, &inner).await?;
        let worker = start_worker(&config, &shared, inner.clone());
        let socket = TcpListener::bind(config.listen).await?;
        let address = socket.local_addr()?;
        let app = http::finish(router.merge(health.router()));
        let limits = listener::Limits {
            max_connections_per_address: config.connections_per_address,
            ..Default::default()
        };
        let listener = tokio::spawn(listener::serve(socket, app, limits, edge.clone()));
        guard.disarm();
        Ok(Self {
            address,
            health,
            edge,
            inner,
            store,
            listener,
            worker,
            dbproxy,
            _lock: lock,
        })
    }

    /// Where clients connect, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a part of the stack that ended although nobody stopped it.
    pub async fn failed(&self) {
        while !self.listener.is_finished()
            && !self.worker.is_finished()
            && !self.dbproxy.is_finished()
        {
            tokio::time::sleep(WATCH).await;
        }
        tracing::error!("a part of the stack has ended");
    }

    /// Drains: no longer ready, no new connections, requests end, then the worker, then dbproxy.
    ///
    /// # Errors
    /// When the listener had failed.
    pub async fn stop(self) -> Result<(), StartError> {
        self.health.set_not_ready();
        self.edge.cancel();
        let served = self.listener.await.map_err(io::Error::other)?;
        self.inner.cancel();
        self.worker.await.map_err(io::Error::other)?;
        self.store.cancel();
        self.dbproxy.await.map_err(io::Error::other)?;
        Ok(served?)
    }
}

/// How often [`Stack::failed`] looks.
const WATCH: Duration = Duration::from_secs(1);

/// Private: the database holds password hashes, the other files everybody's content.
fn create_data_dir(data: &Path) -> io::Result<()> {
    if data.is_dir() {
        return Ok(());
    }
    create_dirs_durably(data)?;
    std::fs::set_permissions(data, Permissions::from_mode(0o700))
}

fn lock(config: &Config) -> Result<File, StartError> {
    let path = config.data.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(StartError::InUse(config.data.display().to_string()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

async fn start_dbproxy(
    config: &Config,
    shutdown: CancellationToken,
) -> Result<(Channel, JoinHandle<()>), StartError> {
    let path = config.data.join("metadata.sqlite");
    let store = SqliteStore::open(&path).await.map_err(failed("dbproxy"))?;
    let (channel, incoming) = rpc::in_memory();
    let task = tokio::spawn(async move {
        if let Err(error) = cloudstore_dbproxy::serve(store, incoming, shutdown).await {
            tracing::error!(%error, "dbproxy ended");
        }
    });
    Ok((channel, task))
}

fn shared(
    config: &Config,
    channel: Channel,
    shutdown: &CancellationToken,
) -> Result<Shared, StartError> {
    let flusher = Flusher::new();
    let layout = Layout::new(config.data.join("staging"));
    let blobs = adapters::blobs(config.blobs, &config.storage, &config.data, flusher.clone())?;
    Ok(Shared {
        verifier: Verifier::new(channel.clone(), shutdown.clone()),
        channel,
        blobs,
        staged: Arc::new(LocalStaging::new(layout)),
        queue: adapters::memory_queue(),
        flusher,
    })
}

async fn start_services(
    config: &Config,
    shared: &Shared,
    health: &Health,
    shutdown: &CancellationToken,
) -> Result<Router, StartError> {
    let verifier = &shared.verifier;
    let account = cloudstore_account::router(
        config.account.clone(),
        shared.channel.clone(),
        verifier.clone(),
        Settings::fixed(),
        shutdown.clone(),
    );
    let account = account.await.map_err(failed("account-svc"))?;
    let upload = cloudstore_upload::start(
        config
            .upload
            .config(NODE, config.data.join("staging"), &config.trash),
        Ports {
            channel: shared.channel.clone(),
            blobs: shared.blobs.clone(),
            staged: shared.staged.clone(),
            queue: shared.queue.clone(),
            flusher: shared.flusher.clone(),
            live: Settings::fixed(),
            peers: None,
        },
        verifier.clone(),
        shutdown.clone(),
    );
    let upload = upload.await.map_err(failed("upload-svc"))?;
    let download = cloudstore_download::router(
        cloudstore_download::Config {
            trash: config.trash.retention(),
            ..cloudstore_download::Config::default()
        },
        shared.channel.clone(),
        verifier.clone(),
        shared.blobs.clone(),
        shared.staged.clone(),
        shutdown.clone(),
    )?;
    add_checks(health, shared, upload.engine);
    let admin = Identity::create_or_load(ADMIN, &config.data.join("admin.key"))?;
    let trusted = Trusted::fixed(vec![admin.published()]);
    let operators = cloudstore_transfer::router(shared.channel.clone(), trusted);
    Ok(account
        .merge(upload.router)
        .merge(download)
        .merge(operators))
}

/// All of the routes, of a stack that runs until the guard is dropped but is not listened to.
#[cfg(test)]
pub(crate) async fn router(
    config: &Config,
) -> Result<(Router, tokio_util::sync::DropGuard), StartError> {
    create_data_dir(&config.data)?;
    let shutdown = CancellationToken::new();
    let guard = shutdown.clone().drop_guard();
    let (channel, _) = start_dbproxy(config, shutdown.clone()).await?;
    let shared = shared(config, channel, &shutdown)?;
    let health = Health::new("standalone", env!("CARGO_PKG_VERSION"));
    let router = start_services(config, &shared, &health, &shutdown).await?;
    Ok((router.merge(health.router()), guard))
}

fn add_checks(health: &Health, shared: &Shared, engine: Arc<Engine>) {
    let blobs = shared.blobs.clone();
    health.add("blob-store", move || {
        let blobs = blobs.clone();
        async move { blobs.check().await.map_err(|error| error.to_string()) }
    });
    health.add("staging", move || {
        let engine = engine.clone();
        async move { engine.check() }
    });
    let channel = shared.channel.clone();
    health.add("dbproxy", move || rpc::check(channel.clone()));
}

fn start_worker(config: &Config, shared: &Shared, shutdown: CancellationToken) -> JoinHandle<()> {
    let worker = cloudstore_transfer::run(
        cloudstore_transfer::Config {
            clean_every: CLEAN_EVERY,
            ..config.transfer.config(NODE)
        },
        shared.channel.clone(),
        shared.blobs.clone(),
        shared.staged.clone(),
        shared.queue.clone(),
        shutdown,
    );
    tokio::spawn(async move {
        if let Err(error) = worker.await {
            tracing::error!(%error, "transfer-worker ended");
        }
    })
}
