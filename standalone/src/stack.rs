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
    blob::{
        BlobStore,
        fs::FsBlobStore,
        s3::{Checksums, DEFAULT_PART_BYTES, S3BlobStore, S3Config},
    },
    flush::{Flusher, create_dirs_durably},
    queue::{Queue, memory::MemoryQueue},
    staging::{Layout, LocalStaging, StagedBlobs},
};
use cloudstore_dbproxy::SqliteStore;
use cloudstore_service::{
    auth::Verifier,
    config::print_effective,
    health::Health,
    http, listener,
    rpc::{self, Channel},
};
use cloudstore_upload::{Engine, Ports};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{BlobBackend, Config};

/// The one node of this stack. Its name is in the rows of its uploads, so it never changes.
const NODE: &str = "embedded";
/// Wake-ups that may wait; what does not fit is found by the sweep.
const QUEUE_BOUND: usize = 10_000;

/// How soon removed files give their room back: before somebody wonders. Everything the worker
/// looks for is on this machine, so looking costs nothing.
const CLEAN_EVERY: Duration = Duration::from_secs(1);

/// How long the transfers of a killed process wait for the next one. The one worker of this data
/// directory renews its claims every third of it, so that only a dead one loses them.
const LEASE: Duration = Duration::from_secs(15);

/// Why the stack did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process serves this data directory.
    #[error("{0} is in use by another server")]
    InUse(String),
    /// A file, directory or socket cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The configuration does not fit together.
    #[error("{0}")]
    Config(String),
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
    let blobs: Arc<dyn BlobStore> = match config.blobs {
        BlobBackend::Fs => {
            // Keys begin with "blobs/", so the store's directory is the data directory itself.
            Arc::new(FsBlobStore::open(&config.data, flusher.clone())?)
        }
        BlobBackend::S3 => Arc::new(S3BlobStore::new(s3_config(config)?)),
    };
    Ok(Shared {
        verifier: Verifier::new(channel.clone(), shutdown.clone()),
        channel,
        blobs,
        staged: Arc::new(LocalStaging::new(layout)),
        queue: Arc::new(MemoryQueue::new(QUEUE_BOUND)),
        flusher,
    })
}

fn s3_config(config: &Config) -> Result<S3Config, StartError> {
    let missing = |what: &str| StartError::Config(format!("the S3 backend needs {what}"));
    let secret = config.s3_secret_key.as_ref();
    Ok(S3Config {
        endpoint: config.s3_endpoint.clone(),
        region: config.s3_region.clone(),
        bucket: config
            .s3_bucket
            .clone()
            .ok_or_else(|| missing("a bucket"))?,
        path_style: true,
        access_key: config
            .s3_access_key
            .clone()
            .ok_or_else(|| missing("an access key"))?,
        secret_key: secret
            .ok_or_else(|| missing("CLOUDSTORE_S3_SECRET_KEY"))?
            .expose()
            .to_owned(),
        checksums: Checksums::WhenRequired,
        part_bytes: DEFAULT_PART_BYTES,
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
        shutdown.clone(),
    );
    let account = account.await.map_err(failed("account-svc"))?;
    let upload = cloudstore_upload::start(
        cloudstore_upload::Config {
            node: NODE.into(),
            staging: config.data.join("staging"),
            max_size: config.max_size,
            lifetime: Duration::from_secs(config.upload_lifetime),
            instant: config.instant.into(),
        },
        Ports {
            channel: shared.channel.clone(),
            blobs: shared.blobs.clone(),
            staged: shared.staged.clone(),
            queue: shared.queue.clone(),
            flusher: shared.flusher.clone(),
        },
        verifier.clone(),
        shutdown.clone(),
    );
    let upload = upload.await.map_err(failed("upload-svc"))?;
    let download = cloudstore_download::router(
        cloudstore_download::Config::default(),
        shared.channel.clone(),
        verifier.clone(),
        shared.blobs.clone(),
        shared.staged.clone(),
    );
    add_checks(health, shared, upload.engine);
    Ok(account.merge(upload.router).merge(download))
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
            staged_grace: Duration::from_secs(config.staged_grace),
            clean_every: CLEAN_EVERY,
            lease: LEASE,
            garbage_grace: Duration::from_secs(config.garbage_grace),
            ..Default::default()
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
