//! What operators can set for this service: flags, else environment, else the default.

use std::time::Duration;

use clap::{Args, ValueEnum};
use cloudstore_proto::upload::InstantPolicy;
use cloudstore_service::trash::TrashOptions;
use serde::Serialize;

/// Longest content by default: what object stores take in one object (5 TiB).
const MAX_SIZE: u64 = 5 << 40;
/// An unfinished upload is kept for a week by default: long enough for a holiday.
const LIFETIME_S: u64 = 7 * 24 * 3_600;

/// An unfinished upload to the drop box is kept for a day by default: nobody can look for it, and it
/// takes room from others.
const DROP_BOX_LIFETIME_S: u64 = 24 * 3_600;

/// Limits of uploads.
#[derive(Clone, Debug, Args, Serialize)]
// Several services have options; flattened into one command line they need group names.
#[group(id = "upload_options")]
#[command(next_help_heading = "Uploads")]
pub struct Options {
    /// Longest content that is accepted, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = MAX_SIZE, env = "CLOUDSTORE_UPLOAD_MAX_SIZE")]
    pub max_size: u64,
    /// How long an unfinished upload is kept, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = LIFETIME_S, env = "CLOUDSTORE_UPLOAD_LIFETIME")]
    pub upload_lifetime: u64,
    /// Who may upload known content without sending it
    #[arg(long, value_enum, default_value_t = Instant::Everyone, env = "CLOUDSTORE_UPLOAD_INSTANT")]
    pub instant: Instant,
    /// How long another node may be away before its unfinished uploads count as lost, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = crate::LOST_AFTER.as_secs(), env = "CLOUDSTORE_UPLOAD_LOST_AFTER")]
    pub lost_after: u64,
    /// A web page's origin that may upload from browsers by tus, such as `https://app.example`; may be
    /// given several times
    #[arg(
        long = "upload-origin",
        value_name = "ORIGIN",
        value_delimiter = ',',
        env = "CLOUDSTORE_UPLOAD_ORIGINS"
    )]
    pub upload_origins: Vec<String>,
    /// Account that takes what anybody sends to /files/ without credentials; it must exist, and its
    /// quota bounds it [default: nobody can]
    #[arg(
        long,
        value_name = "USERNAME",
        env = "CLOUDSTORE_UPLOAD_DROP_BOX_ACCOUNT"
    )]
    pub drop_box_account: Option<String>,
    /// How long an unfinished upload of that account is kept, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DROP_BOX_LIFETIME_S, env = "CLOUDSTORE_UPLOAD_DROP_BOX_LIFETIME")]
    pub drop_box_lifetime: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_size: MAX_SIZE,
            upload_lifetime: LIFETIME_S,
            instant: Instant::Everyone,
            lost_after: crate::LOST_AFTER.as_secs(),
            upload_origins: Vec::new(),
            drop_box_account: None,
            drop_box_lifetime: DROP_BOX_LIFETIME_S,
        }
    }
}

impl Options {
    /// The configuration of a node with this name and staging directory.
    #[must_use]
    pub fn config(
        &self,
        node: impl Into<String>,
        staging: impl Into<std::path::PathBuf>,
        trash: &TrashOptions,
    ) -> crate::Config {
        crate::Config {
            node: node.into(),
            staging: staging.into(),
            max_size: self.max_size,
            lifetime: Duration::from_secs(self.upload_lifetime),
            instant: self.instant.into(),
            lost_after: Duration::from_secs(self.lost_after),
            trash: trash.retention(),
            origins: self.upload_origins.clone(),
            drop_box: self
                .drop_box_account
                .clone()
                .map(|account| crate::DropBoxConfig {
                    account,
                    lifetime: Duration::from_secs(self.drop_box_lifetime),
                }),
        }
    }
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
