//! What an operator can set: flags, else environment, else the default.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use cloudstore_service::{config::Secret, listener, telemetry::LogFormat};
use cloudstore_upload::InstantPolicy;
use serde::Serialize;

use crate::StartError;

/// Longest content by default: what object stores take in one object (5 TiB).
const MAX_SIZE: u64 = 5 << 40;
/// An unfinished upload is kept for a week by default: long enough for a holiday.
const UPLOAD_LIFETIME_S: u64 = 7 * 24 * 3_600;
/// Staged copies are kept for a while after they were stored, for readers that opened them by
/// name a moment ago.
const STAGED_GRACE_S: u64 = 60;
/// Content without references is kept for an hour: moved or mistaken files often come back.
const GARBAGE_GRACE_S: u64 = 3_600;

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
    /// Longest content that is accepted, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = MAX_SIZE, env = "CLOUDSTORE_UPLOAD_MAX_SIZE")]
    pub max_size: u64,
    /// How long an unfinished upload is kept, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = UPLOAD_LIFETIME_S, env = "CLOUDSTORE_UPLOAD_LIFETIME")]
    pub upload_lifetime: u64,
    /// Who may upload known content without sending it
    #[arg(long, value_enum, default_value_t = Instant::Everyone, env = "CLOUDSTORE_UPLOAD_INSTANT")]
    pub instant: Instant,
    /// How long a staged copy stays after its content was stored, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = STAGED_GRACE_S, env = "CLOUDSTORE_TRANSFER_GRACE")]
    pub staged_grace: u64,
    /// How long content stays that no file refers to any more, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = GARBAGE_GRACE_S, env = "CLOUDSTORE_TRANSFER_GARBAGE_GRACE")]
    pub garbage_grace: u64,
    /// Where finished content is stored
    #[arg(long, value_enum, default_value_t = BlobBackend::Fs, env = "CLOUDSTORE_BLOBS_BACKEND")]
    pub blobs: BlobBackend,
    /// Endpoint of the S3-compatible store
    #[arg(
        long,
        value_name = "URL",
        env = "CLOUDSTORE_S3_ENDPOINT",
        required_if_eq("blobs", "s3")
    )]
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
    #[arg(
        long,
        value_name = "NAME",
        env = "CLOUDSTORE_S3_BUCKET",
        required_if_eq("blobs", "s3")
    )]
    pub s3_bucket: Option<String>,
    /// Access key (the secret comes from CLOUDSTORE_S3_SECRET_KEY or ..._SECRET_KEY_FILE)
    #[arg(
        long,
        value_name = "KEY",
        env = "CLOUDSTORE_S3_ACCESS_KEY",
        required_if_eq("blobs", "s3")
    )]
    pub s3_access_key: Option<String>,
    /// Secret key; never a flag, because command lines are public on a machine.
    #[arg(skip)]
    pub s3_secret_key: Option<Secret>,
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
    /// Accounts and sessions.
    #[command(flatten)]
    pub account: cloudstore_account::Config,
}

/// Who may upload known content without sending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Instant {
    /// Nobody.
    Off,
    /// Whoever holds it already.
    Account,
    /// Everyone who can prove possession.
    Everyone,
}

impl From<Instant> for InstantPolicy {
    fn from(policy: Instant) -> Self {
        match policy {
            Instant::Off => Self::Off,
            Instant::Account => Self::Account,
            Instant::Everyone => Self::Everyone,
        }
    }
}

/// Where finished content is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobBackend {
    /// A directory beside the staging area.
    Fs,
    /// S3-compatible object storage.
    S3,
}

impl Config {
    /// The defaults for a data directory, on a free port of the loopback address.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            connections_per_address: listener::Limits::default().max_connections_per_address,
            max_size: MAX_SIZE,
            upload_lifetime: UPLOAD_LIFETIME_S,
            instant: Instant::Everyone,
            staged_grace: STAGED_GRACE_S,
            garbage_grace: GARBAGE_GRACE_S,
            blobs: BlobBackend::Fs,
            s3_endpoint: None,
            s3_region: "us-east-1".into(),
            s3_bucket: None,
            s3_access_key: None,
            s3_secret_key: None,
            log_format: LogFormat::Pretty,
            log_filter: "warn".into(),
            print_config: false,
            account: cloudstore_account::Config::default(),
        }
    }

    /// Reads what never comes from the command line.
    ///
    /// # Errors
    /// When a secret is given twice or its file cannot be read.
    pub(crate) fn with_secrets(mut self) -> Result<Self, StartError> {
        if self.s3_secret_key.is_none() {
            self.s3_secret_key = Secret::from_env_or_file("CLOUDSTORE_S3_SECRET_KEY")
                .map_err(|error| StartError::Config(error.to_string()))?;
        }
        Ok(self)
    }
}
