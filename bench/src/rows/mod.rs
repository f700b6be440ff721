//! What is measured, one row of the table in each file.

mod chunks;
mod completion;
mod direct_put;
mod get;
mod memory;
mod small_files;
mod to_storage;
mod tus;

use std::path::PathBuf;

use clap::ValueEnum;
use cloudstore_proto::http::{Completed, CreateUpload, Created, File, OnConflict, Upload};
use hyper::{Method, Request};

use crate::{
    client::{Connection, Payload},
    content::{Content, Source},
    error::{Context as _, Error, Result},
    place::{Place, Places},
    report::Line,
    series::Series,
    servers::{Target, cloudstore::Cloudstore, nginx::Nginx, rustus::Rustus, tus_node::TusNode},
};

/// The rows, in the order in which they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// One PUT of a large file.
    DirectPut,
    /// Parallel chunks of a large file.
    Chunks,
    /// One GET of a large file.
    Get,
    /// Many small files, durable.
    SmallFiles,
    /// Completion of a very large file that came out of order.
    Completion,
    /// A large file from staging to object storage.
    ToStorage,
    /// A tus upload in requests of 8 MiB.
    Tus,
    /// A tus upload in requests of 64 MiB.
    TusLarge,
    /// Parallel tus uploads in requests of 8 MiB.
    TusStreams,
    /// A tus upload in requests of 256 KiB.
    TusSmall,
    /// Peak memory during parallel uploads.
    Memory,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    /// Runs that count; one before them does not.
    pub(crate) runs: usize,
    /// Bytes of the file that is put, sent in chunks and got.
    pub(crate) large: u64,
    /// Number of small files.
    pub(crate) files: usize,
    /// Bytes of the file that comes out of order.
    pub(crate) out_of_order: u64,
    /// Bytes of each of the parallel uploads.
    pub(crate) stream: u64,
    /// Bytes of a tus upload in large requests; parallel ones have half of it each.
    pub(crate) tus: u64,
    /// Bytes of a tus upload in small requests.
    pub(crate) tus_small: u64,
}

/// What the rows work with.
pub(crate) struct Bench {
    /// How much.
    pub(crate) sizes: Sizes,
    /// Of what.
    pub(crate) source: Source,
    /// Where.
    pub(crate) places: Places,
    /// The program `cloudstore`.
    pub(crate) cloudstore: PathBuf,
    /// The program `nginx`.
    pub(crate) nginx: PathBuf,
}

impl Bench {
    async fn start_cloudstore<'a>(&'a self, place: &'a Place) -> Result<Cloudstore<'a>> {
        self.start_cloudstore_with(place, &[]).await
    }

    async fn start_cloudstore_with<'a>(
        &'a self,
        place: &'a Place,
        settings: &[(&str, &str)],
    ) -> Result<Cloudstore<'a>> {
        Cloudstore::start(&self.cloudstore, &self.places, place, settings).await
    }

    async fn start_nginx(&self, place: &Place) -> Result<Nginx> {
        Nginx::start(&self.nginx, &self.places, place).await
    }

    async fn start_rustus(&self, place: &Place) -> Result<Rustus> {
        Rustus::start(&self.places, place).await
    }

    async fn start_tus_node(&self, place: &Place) -> Result<TusNode> {
        TusNode::start(&self.places, place).await
    }
}

/// The lines of one row, and remarks on how they came about.
pub(crate) struct Row {
    /// Lines of the table.
    pub(crate) lines: Vec<Line>,
    /// What else there is to know.
    pub(crate) notes: Vec<String>,
}

impl Name {
    /// As on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::DirectPut => "direct-put",
            Self::Chunks => "chunks",
            Self::Get => "get",
            Self::SmallFiles => "small-files",
            Self::Completion => "completion",
            Self::ToStorage => "to-storage",
            Self::Tus => "tus",
            Self::TusLarge => "tus-large",
            Self::TusStreams => "tus-streams",
            Self::TusSmall => "tus-small",
            Self::Memory => "memory",
        }
    }

    /// Measures the row.
    pub(crate) async fn measure(self, bench: &Bench) -> Result<Row> {
        match self {
            Self::DirectPut => direct_put::measure(bench).await,
            Self::Chunks => chunks::measure(bench).await,
            Self::Get => get::measure(bench).await,
            Self::SmallFiles => small_files::measure(bench).await,
            Self::Completion => completion::measure(bench).await,
            Self::ToStorage => to_storage::measure(bench).await,
            Self::Tus | Self::TusLarge | Self::TusStreams | Self::TusSmall => {
                tus::measure(bench, self).await
            }
            Self::Memory => memory::measure(bench).await,
        }
    }
}

/// Adds the number of a run, unless it is the first, and shows it to whoever is watching.
fn record(series: &mut Series, name: Name, run: usize, sample: f64) {
    let (row, label, unit) = (name.as_str(), series.label, series.unit.symbol());
    if run == 0 {
        eprintln!("{row}, warm-up: {label} {sample:.1} {unit}");
    } else {
        eprintln!("{row}, run {run}: {label} {sample:.1} {unit}");
        series.push(sample);
    }
}

/// Begins an upload in chunks.
async fn create_upload(
    connection: &mut Connection,
    target: &Target,
    path: &str,
    size: u64,
) -> Result<Upload> {
    let path = path.to_owned();
    let body = CreateUpload {
        path,
        size,
        digests: None,
        mtime: None,
        on_conflict: OnConflict::Fail,
    };
    let created = connection
        .call(target.json("/api/v1/uploads", &body))
        .await?;
    match created.json().context("creating an upload")? {
        Created::Uploading { upload } => Ok(upload),
        _ => Err(Error::new(
            "an upload was created in another state than uploading",
        )),
    }
}

/// The request that sends chunk `index`.
fn chunk(target: &Target, upload: &Upload, content: &Content, index: u64) -> Request<Payload> {
    let start = index * upload.chunk_size;
    let end = (start + upload.chunk_size).min(content.size());
    let url = format!("{}/chunks/{index}", upload.location);
    target.request(Method::PUT, &url, Payload::new(content.parts(start..end)))
}

/// Completes an upload in chunks.
async fn complete(connection: &mut Connection, target: &Target, upload: &Upload) -> Result<File> {
    let url = format!("{}/complete", upload.location);
    let answer = connection
        .call(target.request(Method::POST, &url, Payload::empty()))
        .await?;
    Ok(answer
        .json::<Completed>()
        .context("completing an upload")?
        .file)
}

/// `1 GiB`, `64 MiB`, `256 KiB`: sizes here are whole numbers of one of them.
fn binary_size(bytes: u64) -> String {
    match bytes {
        gib if gib % (1 << 30) == 0 => format!("{} GiB", gib >> 30),
        mib if mib % (1 << 20) == 0 => format!("{} MiB", mib >> 20),
        _ => format!("{} KiB", bytes >> 10),
    }
}
