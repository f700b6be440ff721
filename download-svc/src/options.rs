//! What operators can set for this service: flags, else environment, else the default.

use std::path::Path;

use clap::{Args, ValueEnum};
use cloudstore_service::trash::TrashOptions;
use serde::Serialize;

use crate::{CacheConfig, Config, Delivery};

/// Content below this is streamed even where the rest is redirected: another connection takes
/// longer than the bytes.
const REDIRECT_MIN_BYTES: u64 = 8 << 20;

/// How content leaves.
#[derive(Clone, Debug, Args, Serialize)]
#[group(id = "download_options")]
#[command(next_help_heading = "Downloads")]
pub struct Options {
    /// How stored content leaves
    #[arg(long, value_enum, default_value_t = Policy::Stream, env = "CLOUDSTORE_DOWNLOAD_DELIVERY")]
    pub delivery: Policy,
    /// Content below this many bytes is never redirected
    #[arg(long, value_name = "BYTES", default_value_t = REDIRECT_MIN_BYTES, env = "CLOUDSTORE_DOWNLOAD_REDIRECT_MIN_BYTES")]
    pub redirect_min_bytes: u64,
    /// Room for copies of hot content on this node's disk; 0: none
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        env = "CLOUDSTORE_DOWNLOAD_CACHE_BYTES"
    )]
    pub cache_bytes: u64,
    /// Lets the nginx in front send these copies: the location under which it serves the `cache`
    /// directory internally, as in `/_content/download-1/`
    #[arg(long, value_name = "PREFIX", env = "CLOUDSTORE_DOWNLOAD_ACCEL_PREFIX")]
    pub accel_prefix: Option<String>,
}

/// How stored content leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Through this service.
    Stream,
    /// By a redirect to a presigned URL of the object store.
    Redirect,
}

impl Options {
    /// The configuration of a node that keeps its data in this directory.
    #[must_use]
    pub fn config(&self, data: &Path, trash: &TrashOptions) -> Config {
        let cache = (self.cache_bytes > 0).then(|| CacheConfig {
            dir: data.join("cache"),
            bytes: self.cache_bytes,
        });
        let redirects = self.delivery == Policy::Redirect;
        Config {
            delivery: Delivery {
                redirect_from: redirects.then_some(self.redirect_min_bytes),
                accel_prefix: self.accel_prefix.clone(),
            },
            cache,
            trash: trash.retention(),
            ..Config::default()
        }
    }
}
