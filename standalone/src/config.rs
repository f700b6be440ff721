//! What an operator can set: flags, else environment, else the default.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use cloudstore_node::{BlobBackend, StorageConfig};
use cloudstore_service::{listener, telemetry::LogFormat, trash::TrashOptions};
use serde::Serialize;

use crate::StartError;

/// `cloudstore serve`
#[derive(Clone, Debug, Args, Serialize)]
#[group(id = "serve_config")]
pub struct Config {
    /// Directory for everything that is kept; created when missing
    #[arg(long = "data", value_name = "DIR", env = "CLOUDSTORE_DATA_DIR")]
    pub data: PathBuf,
    /// Address and port to listen on; port 0 picks a free one
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        env = "CLOUDSTORE_HTTP_LISTEN"
    )]
    pub listen: SocketAddr,
    /// Open connections of one client address; raise it behind a gateway
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = listener::Limits::default().max_connections_per_address,
        env = "CLOUDSTORE_HTTP_CONNECTIONS_PER_ADDRESS"
    )]
    pub connections_per_address: usize,
    /// Where finished content is stored
    #[arg(long, value_enum, default_value_t = BlobBackend::Fs, env = "CLOUDSTORE_BLOBS_BACKEND")]
    pub blobs: BlobBackend,
    /// Form of the logs on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Pretty, env = "CLOUDSTORE_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Which logs, as in `info` or `warn,cloudstore_upload=debug`
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "warn",
        env = "CLOUDSTORE_LOG_FILTER"
    )]
    pub log_filter: String,
    /// Print the configuration in force, secrets redacted, and exit
    #[arg(long)]
    pub print_config: bool,
    /// Limits of uploads.
    #[command(flatten)]
    pub upload: cloudstore_upload::Options,
    /// The trash.
    #[command(flatten)]
    pub trash: TrashOptions,
    /// Graces of the worker.
    #[command(flatten)]
    pub transfer: cloudstore_transfer::Options,
    /// The bucket, if content goes there.
    #[command(flatten)]
    pub storage: StorageConfig,
    /// Accounts and sessions.
    #[command(flatten)]
    pub account: cloudstore_account::Config,
}

impl Config {
    /// The defaults for a data directory, on a free port of the loopback address.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            connections_per_address: listener::Limits::default().max_connections_per_address,
            blobs: BlobBackend::Fs,
            log_format: LogFormat::Pretty,
            log_filter: "warn".into(),
            print_config: false,
            upload: cloudstore_upload::Options::default(),
            trash: TrashOptions::default(),
            transfer: cloudstore_transfer::Options::default(),
            storage: StorageConfig::default(),
            account: cloudstore_account::Config::default(),
        }
    }

    /// Reads what never comes from the command line.
    ///
    /// # Errors
    /// When a secret is given twice or its file cannot be read.
    pub(crate) fn with_secrets(mut self) -> Result<Self, StartError> {
        self.storage = self.storage.with_secrets()?;
        Ok(self)
    }
}
