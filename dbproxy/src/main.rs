//! The process of dbproxy.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use clap::Parser;
use cloudstore_dbproxy::{
    Store, SystemClock,
    cache::{CachedStore, RedisConfig},
    mysql::{MySqlConfig, MySqlStore},
};
use cloudstore_node::{Node, Serving, StartError};
use cloudstore_service::{config::Secret, trust};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

/// Services that may call. Nobody else knows the database.
const CALLERS: &[&str] = &[
    "account-svc",
    "upload-svc",
    "download-svc",
    "transfer-worker",
];

/// Metadata: the only service that speaks SQL and Redis
///
/// The addresses of the databases hold passwords, so they are no flags: CLOUDSTORE_MYSQL_PRIMARIES,
/// CLOUDSTORE_MYSQL_REPLICAS (each one or several `mysql://user:password@host:port`, separated by
/// commas) and CLOUDSTORE_REDIS_URL; each also as ..._FILE, the name of a file.
#[derive(Parser, Serialize)]
#[command(name = "dbproxy", version)]
struct Args {
    #[command(flatten)]
    node: cloudstore_node::Config,
    /// Address and port for gRPC; the other services reach this instance here
    #[arg(long, value_name = "ADDR", env = "CLOUDSTORE_GRPC_LISTEN")]
    grpc_listen: SocketAddr,
    /// Name of the database
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cloudstore",
        env = "CLOUDSTORE_MYSQL_DATABASE"
    )]
    mysql_database: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cloudstore_node::run("dbproxy", args.node.clone(), &args, async |node| {
        let store = store(&args).await?;
        let socket = TcpListener::bind(args.grpc_listen).await?;
        let address = socket.local_addr()?;
        add_check(&node, store.clone());
        let mut serving = Serving::new(axum::Router::new());
        serving.address = Some(address);
        let require = trust::require(node.trusted.clone(), "dbproxy", CALLERS);
        let shutdown = node.shutdown.clone();
        serving.work.spawn(async move {
            let incoming = TcpListenerStream::new(socket);
            let served =
                cloudstore_dbproxy::serve_trusted(store.clone(), incoming, require, shutdown);
            if let Err(error) = served.await {
                tracing::error!(%error, "gRPC ended");
            }
            store.close().await;
        });
        Ok(serving)
    })
}

/// MySQL, behind Redis if there is one.
async fn store(args: &Args) -> Result<Arc<dyn Store>, StartError> {
    let primaries = list("CLOUDSTORE_MYSQL_PRIMARIES")?;
    if primaries.is_empty() {
        let missing = "CLOUDSTORE_MYSQL_PRIMARIES is not set";
        return Err(StartError::Config(missing.to_owned()));
    }
    let replicas = list("CLOUDSTORE_MYSQL_REPLICAS")?;
    let config = MySqlConfig::new(primaries, replicas, &args.mysql_database);
    let store = MySqlStore::open(config, Arc::new(SystemClock)).await;
    let store = store.map_err(StartError::service)?;
    let Some(url) = Secret::from_env_or_file("CLOUDSTORE_REDIS_URL")? else {
        return Ok(store);
    };
    CachedStore::new(store, RedisConfig::new(url.expose())).map_err(StartError::service)
}

fn list(name: &str) -> Result<Vec<String>, StartError> {
    let secret = Secret::from_env_or_file(name)?;
    let list = secret.as_ref().map_or("", Secret::expose).split(',');
    let urls = list.map(str::trim).filter(|url| !url.is_empty());
    Ok(urls.map(str::to_owned).collect())
}

fn add_check(node: &Node, store: Arc<dyn Store>) {
    node.health.add("database", move || {
        let store = store.clone();
        async move { store.check().await.map_err(|error| error.to_string()) }
    });
}
