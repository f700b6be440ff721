//! Every way bytes go out: content with ranges and conditions, and the files and folders that
//! lead to it.
//!
//! A request for content runs through these modules: [`conditional`] and [`range`] decide what is
//! to be sent, [`content`] finds a copy, [`reader`] reads and verifies it group by group. `http`
//! is all there is of HTTP.

use std::sync::Arc;

use axum::{
    Router,
    extract::FromRef,
    routing::{get, post},
};
use cloudstore_backends::{blob::BlobStore, staging::StagedBlobs};
use cloudstore_service::{auth::Verifier, rpc::Channel};

pub mod catalog;
pub mod conditional;
pub mod content;
pub mod disposition;
mod http;
pub mod range;
pub mod reader;

use catalog::Catalog;
use http::{content as content_api, files as files_api};
use reader::Reader;

/// Bounds of the service.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of decoded outboards kept in memory. A blob needs 32 for each MiB.
    pub outboard_cache_bytes: u64,
    /// Downloads at a time; each holds up to 2 MiB. Beyond that the answer is 503 `overloaded`.
    pub max_streams: usize,
    /// Of these, downloads of one account at a time.
    pub max_streams_per_account: usize,
}

impl Default for Config {
    /// 8 MiB of outboards (256 GiB of content), 1,024 downloads.
    fn default() -> Self {
        Self {
            outboard_cache_bytes: 8 << 20,
            max_streams: 1_024,
            max_streams_per_account: 256,
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
struct App {
    catalog: Catalog,
    reader: Arc<Reader>,
    verifier: Verifier,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// The service's routes. Nothing runs in the background.
pub fn router(
    config: Config,
    channel: Channel,
    verifier: Verifier,
    blobs: Arc<dyn BlobStore>,
    staged: Arc<dyn StagedBlobs>,
) -> Router {
    let reader = Arc::new(Reader::new(config, blobs, staged));
    let entry = || {
        get(files_api::read)
            .patch(files_api::rename)
            .delete(files_api::delete)
    };
    let app = App {
        catalog: Catalog::new(channel),
        reader,
        verifier,
    };
    Router::new()
        // Content. axum sends HEAD to the GET handler.
        .route("/api/v1/content/{*path}", get(content_api::read))
        // Metadata, listings, changes.
        .route("/api/v1/files", entry())
        .route("/api/v1/files/", entry())
        .route("/api/v1/files/{*path}", entry())
        .route("/api/v1/folders", post(files_api::create_folder))
        .with_state(app)
}
