//! The life of a process: start, registration, service, draining.

use std::{error::Error as _, io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use cloudstore_backends::{
    discovery::{self, Discovery, Instance, Instances, Registration},
    flush::create_dirs_durably,
};
use cloudstore_service::{
    config::{SecretError, print_effective},
    health::Health,
    http, listener,
    rpc::{self, Channel},
    settings::Settings,
    telemetry, tls,
    trust::{Identity, Trusted},
};
use futures::FutureExt as _;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{Config, adapters};

/// Pause before something that others must answer is tried again at the start.
const START_PAUSE: Duration = Duration::from_millis(250);
/// Of these tries one is logged.
const LOG_EVERY: u32 = 20;
/// The file in the data directory that the process holds a lock on.
const LOCK: &str = "lock";
/// How long background work may take to end after the listener has drained.
const END: Duration = Duration::from_secs(30);
/// How long leaving discovery may take; without it the instance is left out after its next check.
const DEREGISTER: Duration = Duration::from_secs(2);

/// Why a process did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file, directory or socket cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The configuration does not fit together.
    #[error("{0}")]
    Config(String),
    /// The service did not start.
    #[error(transparent)]
    Service(Box<dyn std::error::Error + Send + Sync>),
}

impl StartError {
    /// From whatever kept the service from starting.
    pub fn service(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Service(cause.into())
    }
}

/// What a service finds when it starts.
pub struct Node {
    /// Common configuration.
    pub config: Config,
    /// Where the others are.
    pub discovery: Arc<dyn Discovery>,
    /// Who this process is to the others.
    pub identity: Identity,
    /// Whose calls it accepts.
    pub trusted: Trusted,
    /// Limits that operators change at run time.
    pub settings: Settings,
    /// Readiness.
    pub health: Health,
    /// Cancelled when background work has to end: after the last request was answered.
    pub shutdown: CancellationToken,
}

/// What a service does once it has started.
pub struct Serving {
    /// Its HTTP interface.
    pub router: Router,
    /// Where others reach it, if that is not where HTTP is served.
    pub address: Option<SocketAddr>,
    /// Work beside the requests; it ends after [`Node::shutdown`]. Whatever ends before ends the
    /// process.
    pub work: JoinSet<()>,
}

impl Serving {
    /// A service that answers requests and has no other work.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            router,
            address: None,
            work: JoinSet::new(),
        }
    }
}

impl Node {
    /// The instances of a service, from now on.
    #[must_use]
    pub fn peers(&self, service: &str) -> watch::Receiver<Instances> {
        self.discovery.watch(service)
    }

    /// A channel to dbproxy, when it answers.
    ///
    /// # Errors
    /// When the process is told to stop before.
    pub async fn dbproxy(&self) -> Result<Channel, StartError> {
        let peers = addresses(self.peers("dbproxy"));
        let channel = rpc::connect(peers, self.identity.clone(), "dbproxy");
        self.eventually("dbproxy does not answer", || rpc::check(channel.clone()))
            .await?;
        let check = channel.clone();
        self.health
            .add("dbproxy", move || rpc::check(check.clone()));
        Ok(channel)
    }

    /// Repeats what depends on others until it works.
    async fn eventually<F, Fut, E>(&self, what: &str, mut work: F) -> Result<(), StartError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut tries = 0;
        loop {
            match work().await {
                Ok(()) => return Ok(()),
                Err(error) if tries % LOG_EVERY == 0 => tracing::warn!(%error, "{what}; waiting"),
                Err(_) => {}
            }
            tries += 1;
            let stopped = self.shutdown.run_until_cancelled(sleep(START_PAUSE)).await;
            if stopped.is_none() {
                return Err(StartError::Config("stopped before it was ready".into()));
            }
        }
    }
}

/// Addresses alone, for channels.
fn addresses(mut instances: watch::Receiver<Instances>) -> watch::Receiver<Vec<SocketAddr>> {
    let list = |instances: &Instances| instances.iter().map(|one| one.address).collect::<Vec<_>>();
    let (sender, receiver) = watch::channel(list(&instances.borrow_and_update()));
    tokio::spawn(async move {
        while instances.changed().await.is_ok() {
            sender.send_replace(list(&instances.borrow_and_update()));
            if sender.is_closed() {
                return;
            }
        }
        // Discovery has ended; the channel goes on with what it knows.
        sender.closed().await;
    });
    receiver
}

/// Runs a service until SIGTERM or SIGINT: starts it, announces it when it answers, drains it.
/// `effective` is the whole configuration, for the log and for `--print-config`.
pub fn run<F, Fut>(
    service: &'static str,
    config: Config,
    effective: &impl Serialize,
    start: F,
) -> ExitCode
where
    F: FnOnce(Arc<Node>) -> Fut,
    Fut: Future<Output = Result<Serving, StartError>>,
{
    let text = print_effective(effective).unwrap_or_default();
    if config.print_config {
        println!("{text}");
        return ExitCode::SUCCESS;
    }
    telemetry::init(config.log_format, &config.log_filter);
    tls::install_provider();
    tracing::info!(service, effective = text, "configuration");
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(service, &error.into()),
    };
    let ended = runtime.block_on(live(service, config, start));
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(service, &error),
    }
}

fn failed(service: &str, error: &StartError) -> ExitCode {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    tracing::error!(%error, ?causes, "the service failed");
    eprintln!("{service}: {error}");
    ExitCode::FAILURE
}

async fn live<F, Fut>(service: &'static str, config: Config, start: F) -> Result<(), StartError>
where
    F: FnOnce(Arc<Node>) -> Fut,
    Fut: Future<Output = Result<Serving, StartError>>,
{
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asked.cancel();
    });
    let node = Arc::new(node(service, config)?);
    let lock = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(node.config.data.join(LOCK))?;
    let began = async {
        // Two processes in one directory would take each other's files for waste. The one before
        // may be about to end.
        let lock = || std::future::ready(lock.try_lock());
        node.eventually("another process uses the data directory", lock)
            .await?;
        announce_key(&node).await?;
        start(node.clone()).await
    };
    let serving = tokio::select! {
        biased;
        began = began => began?,
        () = stop.cancelled() => return Ok(()),
    };
    serve(service, &node, serving, stop).await
}

fn node(service: &'static str, config: Config) -> Result<Node, StartError> {
    create_dirs_durably(&config.data)?;
    let discovery = adapters::discovery(&config)?;
    let identity = Identity::create_or_load(service, &config.data.join("identity.key"))?;
    let keys = discovery.clone();
    let refresh = move || {
        let keys = keys.clone();
        async move { keys.read_settings("keys/").await.ok() }.boxed()
    };
    Ok(Node {
        trusted: Trusted::watching(discovery.watch_settings("keys/"), Arc::new(refresh)),
        settings: Settings::watching(discovery.watch_settings("settings/")),
        health: Health::new(service, env!("CARGO_PKG_VERSION")),
        shutdown: CancellationToken::new(),
        config,
        discovery,
        identity,
    })
}

/// Before the first call to another service, which would not know the caller.
async fn announce_key(node: &Node) -> Result<(), StartError> {
    let (key, value) = node.identity.published();
    let publish = || node.discovery.publish(&key, &value);
    node.eventually("the public key of this process is not published", publish)
        .await
}

async fn serve(
    service: &'static str,
    node: &Node,
    mut serving: Serving,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let config = &node.config;
    let socket = TcpListener::bind(config.listen).await?;
    let http_address = socket.local_addr()?;
    let app = http::finish(serving.router.merge(node.health.router()));
    let limits = listener::Limits {
        max_connections_per_address: config.connections_per_address,
        trusted_proxies: config.trusted_proxies.clone(),
        ..Default::default()
    };
    let edge = CancellationToken::new();
    let mut listening = tokio::spawn(listener::serve(socket, app, limits, edge.clone()));
    let registration = Registration {
        service: service.to_owned(),
        instance: Instance {
            id: config.node.clone(),
            address: serving.address.unwrap_or(http_address),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        health: http_address,
    };
    let registered = async {
        let register = || node.discovery.register(&registration);
        let registered = node.eventually("not registered", register).await;
        if registered.is_ok() {
            tracing::info!(address = %registration.instance.address, "serving");
        }
        // Nothing but a signal or a failure ends the service.
        std::future::pending::<()>().await;
    };
    let mut early = None;
    tokio::select! {
        () = stop.cancelled() => {}
        () = registered => {}
        _ = &mut listening => early = Some(StartError::service("the listener has ended")),
        Some(_) = serving.work.join_next() => {
            early = Some(StartError::service("a part of the service has ended"));
        }
    }
    tracing::info!("shutting down");
    node.health.set_not_ready();
    leave(node, service).await;
    if early.is_none() {
        sleep(Duration::from_secs(config.drain_delay)).await;
    }
    edge.cancel();
    if !listening.is_finished() {
        let _ = listening.await;
    }
    node.shutdown.cancel();
    let ended = async { while serving.work.join_next().await.is_some() {} };
    if timeout(END, ended).await.is_err() {
        tracing::warn!("background work did not end in time");
    }
    early.map_or(Ok(()), Err)
}

async fn leave(node: &Node, service: &str) {
    let left = timeout(
        DEREGISTER,
        node.discovery.deregister(service, &node.config.node),
    );
    let problem: Option<String> = match left.await {
        Ok(Ok(())) => None,
        Ok(Err(error @ discovery::Error::Unavailable(_))) => Some(error.to_string()),
        Err(elapsed) => Some(elapsed.to_string()),
    };
    if let Some(error) = problem {
        tracing::warn!(error, "not withdrawn; the next check will notice");
    }
}
