//! What every service's command line and environment have in common.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use cloudstore_service::{
    config::{Secret, SecretError},
    listener,
    telemetry::LogFormat,
};
use ipnet::IpNet;
use serde::Serialize;
use url::Url;

/// Settings of a process, whichever service it runs.
#[derive(Clone, Debug, Args, Serialize)]
#[group(id = "node_config")]
pub struct Config {
    /// Unique name of this instance; for upload-svc the name of the staging node, which must stay
    /// the same over restarts
    #[arg(long, value_name = "NAME", env = "CLOUDSTORE_NODE")]
    pub node: String,
    /// Address and port for HTTP; others reach this instance here
    #[arg(long, value_name = "ADDR", env = "CLOUDSTORE_HTTP_LISTEN")]
    pub listen: SocketAddr,
    /// Directory of this instance: its key and whatever the service keeps; created when missing
    #[arg(long = "data", value_name = "DIR", env = "CLOUDSTORE_DATA_DIR")]
    pub data: PathBuf,
    /// Consul's HTTP interface
    #[arg(
        long,
        value_name = "URL",
        env = "CLOUDSTORE_CONSUL_URL",
        required_unless_present = "peers"
    )]
    pub consul_url: Option<Url>,
    /// Prefix of everything in Consul's key-value store
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "cloudstore/",
        env = "CLOUDSTORE_CONSUL_PREFIX"
    )]
    pub consul_prefix: String,
    /// Without Consul: the instances of every service, as in
    /// `dbproxy=dbproxy-1@10.0.0.5:7051,upload-svc=upload-1@10.0.0.7:7020`
    #[arg(
        long,
        value_name = "LIST",
        env = "CLOUDSTORE_PEERS",
        conflicts_with = "consul_url"
    )]
    pub peers: Option<String>,
    /// Without Consul: a file of `key=value` lines: the public keys of all services as
    /// `keys/<service>/<kid>=<hex>`, limits as `settings/upload.instant=off`
    #[arg(long, value_name = "FILE", env = "CLOUDSTORE_SETTINGS_FILE")]
    pub settings_file: Option<PathBuf>,
    /// Gateways whose X-Forwarded-For is believed, as in `10.0.0.0/24`; several with commas
    #[arg(
        long,
        value_name = "NET",
        value_delimiter = ',',
        env = "CLOUDSTORE_HTTP_TRUSTED_PROXIES"
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// Open connections of one client address
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = listener::Limits::default().max_connections_per_address,
        env = "CLOUDSTORE_HTTP_CONNECTIONS_PER_ADDRESS"
    )]
    pub connections_per_address: usize,
    /// Seconds between leaving discovery and refusing connections: as long as gateways and peers
    /// take to notice
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3,
        env = "CLOUDSTORE_DRAIN_DELAY"
    )]
    pub drain_delay: u64,
    /// Form of the logs on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Json, env = "CLOUDSTORE_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Which logs, as in `info` or `warn,cloudstore_upload=debug`
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "info",
        env = "CLOUDSTORE_LOG_FILTER"
    )]
    pub log_filter: String,
    /// Print the configuration in force, secrets redacted, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// Where finished content is stored.
#[derive(Clone, Debug, Args, Serialize)]
#[group(id = "storage_config")]
#[command(next_help_heading = "Object storage")]
pub struct StorageConfig {
    /// Endpoint of the S3-compatible store
    #[arg(long, value_name = "URL", env = "CLOUDSTORE_S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,
    /// Region of the S3-compatible store
    #[arg(
        long,
        value_name = "NAME",
        default_value = "us-east-1",
        env = "CLOUDSTORE_S3_REGION"
    )]
    pub s3_region: String,
    /// Bucket for the blobs
    #[arg(long, value_name = "NAME", env = "CLOUDSTORE_S3_BUCKET")]
    pub s3_bucket: Option<String>,
    /// What every key begins with, for a bucket that others use, too; such as `cloudstore/`
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        env = "CLOUDSTORE_S3_PREFIX"
    )]
    pub s3_prefix: String,
    /// Access key (the secret comes from CLOUDSTORE_S3_SECRET_KEY or ..._SECRET_KEY_FILE)
    #[arg(long, value_name = "KEY", env = "CLOUDSTORE_S3_ACCESS_KEY")]
    pub s3_access_key: Option<String>,
    /// Secret key; never a flag, because command lines are public on a machine.
    #[arg(skip)]
    pub s3_secret_key: Option<Secret>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            s3_endpoint: None,
            s3_region: "us-east-1".into(),
            s3_bucket: None,
            s3_prefix: String::new(),
            s3_access_key: None,
            s3_secret_key: None,
        }
    }
}

impl StorageConfig {
    /// Reads what never comes from the command line.
    ///
    /// # Errors
    /// When the secret is given twice or its file cannot be read.
    pub fn with_secrets(mut self) -> Result<Self, SecretError> {
        if self.s3_secret_key.is_none() {
            self.s3_secret_key = Secret::from_env_or_file("CLOUDSTORE_S3_SECRET_KEY")?;
        }
        Ok(self)
    }
}

/// Kinds of durable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobBackend {
    /// A directory beside the staging area.
    Fs,
    /// S3-compatible object storage.
    S3,
}

/// Where wake-ups go. The address holds a password, so it is no flag: `CLOUDSTORE_RABBITMQ_URL` or
/// `CLOUDSTORE_RABBITMQ_URL_FILE`.
#[derive(Clone, Debug, Args, Serialize)]
#[group(id = "queue_config")]
#[command(next_help_heading = "RabbitMQ")]
pub struct QueueConfig {
    /// Name of the queue; what belongs to it is named after it
    #[arg(
        long,
        value_name = "NAME",
        default_value = "cloudstore.transfers",
        env = "CLOUDSTORE_RABBITMQ_QUEUE"
    )]
    pub rabbitmq_queue: String,
    /// Address of the broker, `amqp://user:password@host:port/vhost`.
    #[arg(skip)]
    pub rabbitmq_url: Option<Secret>,
}

impl QueueConfig {
    /// Reads what never comes from the command line.
    ///
    /// # Errors
    /// When the address is given twice or its file cannot be read.
    pub fn with_secrets(mut self) -> Result<Self, SecretError> {
        if self.rabbitmq_url.is_none() {
            self.rabbitmq_url = Secret::from_env_or_file("CLOUDSTORE_RABBITMQ_URL")?;
        }
        Ok(self)
    }
}
