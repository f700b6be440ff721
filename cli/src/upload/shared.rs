//! What all transfers of one command share, wherever they go.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use indicatif::ProgressBar;
use tokio::task::spawn_blocking;

use super::walk::{Found, LocalFile};
use crate::{
    args::UploadArgs,
    client::{
        body::{OnBytes, RangeBody, Source},
        throttle::Throttle,
    },
    error::{Error, Exit, Result},
    output::Out,
    progress::{Direction, Progress},
    state::{self, HashCache, Unfinished, has_changed},
};

pub(super) struct Shared {
    pub(super) progress: Arc<Progress>,
    pub(super) hashes: Arc<HashCache>,
    pub(super) unfinished: Unfinished,
    pub(super) throttle: Option<Arc<Throttle>>,
    /// Requests with content at a time.
    pub(super) transfers: usize,
}

/// Something to bring to the server.
pub(super) enum Item {
    File(LocalFile),
    EmptyFolder { path: PathBuf, remote: String },
}

impl Shared {
    /// `each`: tell people every file, not only the failed ones.
    pub(super) fn new(args: &UploadArgs, out: &Out, each: bool) -> Result<Self> {
        let dir: PathBuf = state::dir()?;
        Ok(Self {
            progress: Arc::new(Progress::new(out, Direction::Upload, each)),
            hashes: Arc::new(HashCache::open(&dir)),
            unfinished: Unfinished::open(&dir).map_err(|error| state::unusable(&error, &dir))?,
            throttle: throttle(args),
            transfers: usize::from(args.pace.transfers),
        })
    }

    /// Tells what is not going to be sent; passes on the rest, counted.
    pub(super) fn sift(&self, found: Found) -> Result<Option<Item>> {
        match found {
            Found::File(file) => {
                self.progress.found(file.stamp.size);
                Ok(Some(Item::File(file)))
            }
            Found::EmptyFolder { path, remote } => Ok(Some(Item::EmptyFolder { path, remote })),
            Found::Skipped { path, why } => {
                self.progress.skipped(&path.display().to_string(), why);
                Ok(None)
            }
            Found::Failed {
                path,
                remote,
                error,
            } => {
                let local = path.display().to_string();
                let error = error.during(format!("cannot upload {local}"));
                self.progress.failed(&local, &remote, error)?;
                Ok(None)
            }
        }
    }

    /// A file could not be sent; an error ends the run.
    pub(super) fn failed(&self, local: &LocalFile, error: Error) -> Result<()> {
        let error = error.during(format!("cannot upload {}", local.path.display()));
        self.progress.failed(&local.name(), &local.remote, error)
    }

    /// Part of a file as a body that counts what is sent.
    pub(super) fn body(
        &self,
        source: Source,
        offset: u64,
        len: u64,
        bar: &ProgressBar,
    ) -> RangeBody {
        let (progress, bar) = (self.progress.clone(), bar.clone());
        let on_bytes: OnBytes = Arc::new(move |bytes| {
            progress.moved(bytes);
            bar.inc(bytes);
        });
        RangeBody {
            source,
            offset,
            len,
            throttle: self.throttle.clone(),
            on_bytes,
            on_read: None,
        }
    }

    /// The file is not what it was when it was found. What was remembered of it is wrong.
    pub(super) fn changed(&self, file: &LocalFile) -> Error {
        self.hashes.forget(&file.path, &file.stamp);
        Error::new(Exit::Failed, "the file changed while it was being uploaded")
            .advise("run the same command again when it is no longer written to")
    }
}

/// `--bwlimit`
pub(super) fn throttle(args: &UploadArgs) -> Option<Arc<Throttle>> {
    args.pace.bwlimit.map(|rate| Arc::new(Throttle::new(rate)))
}

/// Opens a file that was found a moment ago and has not changed since.
pub(super) async fn open(file: &LocalFile) -> Result<Arc<fs::File>> {
    let path = file.path.clone();
    let stamp = file.stamp;
    let opened = spawn_blocking(move || {
        let file = fs::File::open(path)?;
        if has_changed(&file, &stamp)? {
            let why = "the file changed while it was being uploaded";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Arc::new(file))
    });
    opened
        .await
        .map_err(io::Error::from)
        .flatten()
        .map_err(|error| unreadable(&error, &file.path))
}

/// A file that was found a moment ago cannot be read, or is not what it was.
pub(super) fn unreadable(error: &io::Error, path: &Path) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            Error::io(error).advise("run the same command again when it is no longer written to")
        }
        _ => Error::at(error, path),
    }
}
