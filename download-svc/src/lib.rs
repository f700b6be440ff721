//! Every way bytes go out: content with ranges and conditions, and the files and folders that
//! lead to it.
//!
//! A request for content runs through these modules: [`conditional`] and [`range`] decide what is
//! to be sent, [`content`] finds a copy, [`reader`] reads and verifies it group by group. `archive`
//! puts whole folders together. `http` is all there is of HTTP.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::FromRef,
    routing::{delete, get, post},
};
use cloudstore_backends::{blob::BlobStore, staging::StagedBlobs};
use cloudstore_service::{auth::Verifier, openapi::also_at, rpc::Channel, trash::TRASH_RETENTION};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

mod archive;
mod cache;
pub mod catalog;
pub mod conditional;
pub mod content;
pub mod disposition;
mod http;
mod options;
pub mod range;
pub mod reader;
mod shares;

pub use options::{Options, Policy};

use cache::{DiskCache, Ranking};
use catalog::Catalog;
use http::{
    archive as archive_api, content as content_api, dav as dav_api, docs, files as files_api,
    search as search_api, shares as shares_api, trash as trash_api, web,
};
use reader::Reader;
use shares::Shares;

/// Bounds of the service, and how content is delivered.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of decoded outboards kept in memory. A blob needs 32 for each MiB.
    pub outboard_cache_bytes: u64,
    /// Downloads at a time; each holds up to 2 MiB. Beyond that the answer is 503 `overloaded`.
    pub max_streams: usize,
    /// Of these, downloads of one account at a time.
    pub max_streams_per_account: usize,
    /// How content leaves.
    pub delivery: Delivery,
    /// Copies of hot blobs on this node's disk.
    pub cache: Option<CacheConfig>,
    /// How long what is deleted can be restored; zero: not at all.
    pub trash: Duration,
}

/// How content leaves.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Stored content from this many bytes on is answered by a redirect to the object store, for
    /// clients that do not ask for a stream. `None`: never.
    pub redirect_from: Option<u64>,
    /// Prefix of `X-Accel-Redirect` for what is in the disk cache, when an nginx in front serves
    /// the cache's directory under it.
    pub accel_prefix: Option<String>,
}

/// The disk cache.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// Its directory, for nothing else.
    pub dir: PathBuf,
    /// Bytes of the copies. What has to go stays for some seconds more.
    pub bytes: u64,
}

impl Default for Config {
    /// 8 MiB of outboards (256 GiB of content), 1,024 downloads, everything streamed.
    fn default() -> Self {
        Self {
            outboard_cache_bytes: 8 << 20,
            max_streams: 1_024,
            max_streams_per_account: 256,
            delivery: Delivery::default(),
            cache: None,
            trash: TRASH_RETENTION,
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
struct App {
    catalog: Catalog,
    shares: Shares,
    reader: Arc<Reader>,
    delivery: Arc<Delivery>,
    trash: Duration,
    searches: Arc<Semaphore>,
    verifier: Verifier,
}

impl App {
    /// How long something that is deleted can be restored.
    fn kept(&self, permanent: bool) -> Duration {
        if permanent {
            Duration::ZERO
        } else {
            self.trash
        }
    }
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

/// A route below that of a share.
fn shared(rest: &str) -> String {
    format!("/api/v1/public/shares/{{token}}{rest}")
}

/// The description of the routes of [`router`]: every handler is named here.
#[derive(OpenApi)]
#[openapi(paths(
    content_api::read,
    archive_api::read,
    archive_api::select,
    archive_api::shared,
    dav_api::read,
    files_api::read,
    files_api::rename,
    files_api::delete,
    files_api::create_folder,
    files_api::copy,
    files_api::change,
    search_api::search,
    trash_api::list,
    trash_api::empty,
    trash_api::delete,
    trash_api::restore,
    shares_api::read,
    shares_api::content,
    docs::document,
    docs::page,
    docs::style,
))]
struct Description;

/// The description of the routes of [`router`], but not of those of the web app.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Description::openapi();
    let also_at = |document: &mut _, from: &str, to: &str| also_at(document, from, to, &[]);
    also_at(&mut document, "/api/v1/files/{path}", "/api/v1/files");
    also_at(&mut document, "/api/v1/archive/{path}", "/api/v1/archive");
    also_at(&mut document, "/dav/{path}", "/dav");
    let share = "/api/v1/public/shares/{token}";
    for (below, to) in [
        ("files", share),
        ("files", "/s/{token}"),
        ("archive", &shared("/archive")),
        ("content", &shared("/content")),
    ] {
        also_at(&mut document, &format!("{share}/{below}/{{path}}"), to);
    }
    document
}

/// The service's routes. With a disk cache, the ranking of what is hot is exchanged with dbproxy
/// until `shutdown`.
///
/// # Errors
/// When the directory of the cache cannot be used.
pub fn router(
    config: Config,
    channel: Channel,
    verifier: Verifier,
    blobs: Arc<dyn BlobStore>,
    staged: Arc<dyn StagedBlobs>,
    shutdown: CancellationToken,
) -> io::Result<Router> {
    let catalog = Catalog::new(channel.clone());
    let mut reader = Reader::new(&config, blobs.clone(), staged);
    if let Some(CacheConfig { dir, bytes }) = &config.cache {
        let (cache, ranking) = (
            DiskCache::open(dir, *bytes, blobs)?,
            Arc::<Ranking>::default(),
        );
        reader = reader.with_cache(cache.clone(), ranking.clone());
        let exchange = ranking.keep(catalog.clone(), cache);
        tokio::spawn(async move { shutdown.run_until_cancelled(exchange).await });
    }
    let entry = || {
        get(files_api::read)
            .patch(files_api::rename)
            .delete(files_api::delete)
    };
    let archive = || get(archive_api::read).post(archive_api::select);
    let app = App {
        catalog,
        shares: Shares::new(channel),
        reader: Arc::new(reader),
        delivery: Arc::new(config.delivery),
        trash: config.trash,
        searches: Arc::new(Semaphore::new(search_api::MAX_SEARCHES)),
        verifier,
    };
    Ok(Router::new()
        // Content. axum sends HEAD to the GET handler.
        .route("/api/v1/content/{*path}", get(content_api::read))
        // Folders and selections as one zip archive.
        .route("/api/v1/archive", archive())
        .route("/api/v1/archive/", archive())
        .route("/api/v1/archive/{*path}", get(archive_api::read))
        // WebDAV; its other methods are upload-svc's.
        .route("/dav", get(dav_api::read))
        .route("/dav/", get(dav_api::read))
        .route("/dav/{*path}", get(dav_api::read))
        // Metadata, listings, changes.
        .route("/api/v1/files", entry())
        .route("/api/v1/files/", entry())
        .route("/api/v1/files/{*path}", entry())
        .route("/api/v1/folders", post(files_api::create_folder))
        .route("/api/v1/copies", post(files_api::copy))
        .route("/api/v1/changes", post(files_api::change))
        .route("/api/v1/search", get(search_api::search))
        .route(
            "/api/v1/trash",
            get(trash_api::list).delete(trash_api::empty),
        )
        .route("/api/v1/trash/{id}", delete(trash_api::delete))
        .route("/api/v1/trash/{id}/restore", post(trash_api::restore))
        // Shares, for everybody; they are made and unlocked at account-svc. The first is the address that
        // is given away.
        .route("/s/{token}", get(shares_api::visit))
        .route("/api/v1/public/shares/{token}", get(shares_api::read))
        .route(&shared("/files/{*path}"), get(shares_api::read))
        .route(&shared("/archive"), get(archive_api::shared))
        .route(&shared("/archive/{*path}"), get(archive_api::shared))
        .route(&shared("/content"), get(shares_api::content))
        .route(&shared("/content/{*path}"), get(shares_api::content))
        .with_state(app)
        // What all of this is.
        .merge(docs::routes())
        // The web app, for people.
        .merge(web::routes()))
}
