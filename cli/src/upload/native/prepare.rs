//! From found files to work: hash in parallel, ask the server in batches.

use std::{io, sync::Arc, thread::available_parallelism, time::Duration};

use cloudstore_content::Root;
use cloudstore_proto::{
    convert::rfc3339,
    http::{CreateUpload, CreateUploads, DEFAULT_CHUNK_SIZE, Digests, MAX_BATCH},
};
use futures::{StreamExt as _, stream};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use super::{Native, send::Start};
use crate::{
    error::{Error, Exit, Result},
    upload::{
        pipeline::finished,
        shared::{Item, unreadable},
        walk::{Found, LocalFile},
    },
};

/// Batches asked about at the same time.
const PROBES: usize = 2;
/// Stays below the request size that servers accept (1 MiB).
const MAX_BATCH_BYTES: usize = 768 << 10;
/// What one entry takes besides its path.
const ENTRY_BYTES: usize = 256;
/// When nothing more was found for so long, what there is is asked about.
const PAUSE: Duration = Duration::from_millis(50);
/// Larger files need several requests anyway; asking for each alone when its turn has come keeps
/// the number of uploads open at the same time small.
const BATCHED_BELOW: u64 = DEFAULT_CHUNK_SIZE;

/// A file and its content's identity.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) file: LocalFile,
    pub(super) root: Root,
}

impl Hashed {
    /// As the API wants it.
    pub(super) fn entry(&self, engine: &Native) -> CreateUpload {
        let blake3 = Some(hex::encode(self.root));
        CreateUpload {
            path: self.file.remote.clone(),
            size: self.file.stamp.size,
            digests: Some(Digests {
                blake3,
                ..Digests::default()
            }),
            mtime: Some(rfc3339(self.file.stamp.mtime_ms())),
            on_conflict: engine.on_conflict,
        }
    }
}

/// Something to do for a transfer slot.
pub(super) enum Work {
    File(Hashed, Start),
    Folder { local: String, remote: String },
}

/// Hashes what was found and asks about it.
pub(super) async fn prepare(
    engine: Arc<Native>,
    mut findings: mpsc::Receiver<Found>,
    work: mpsc::Sender<Work>,
) -> Result<()> {
    let hashers = available_parallelism().map_or(2, usize::from);
    let found = stream::poll_fn(|context| findings.poll_recv(context));
    let mut ready = found
        .map(|item| look_at(&engine, item))
        .buffer_unordered(2 * hashers);
    let mut prober = Prober::new(engine.clone(), work.clone());
    loop {
        // Files wait for others to fill the batch, but not for long.
        let next = if prober.files.is_empty() {
            ready.next().await
        } else {
            match timeout(PAUSE, ready.next()).await {
                Ok(next) => next,
                Err(_) => {
                    prober.flush().await?;
                    continue;
                }
            }
        };
        match next {
            Some(Ok(Some(Work::File(hashed, Start::Probe)))) => prober.push(hashed).await?,
            Some(Ok(Some(item))) => {
                if work.send(item).await.is_err() {
                    return Ok(());
                }
            }
            Some(Ok(None)) => {}
            Some(Err(error)) => return Err(error),
            None => return prober.finish().await,
        }
    }
}

/// Collects files until a batch is full, and asks about a few batches at a time.
struct Prober {
    engine: Arc<Native>,
    work: mpsc::Sender<Work>,
    files: Vec<Hashed>,
    bytes: usize,
    asking: JoinSet<Result<()>>,
}

impl Prober {
    fn new(engine: Arc<Native>, work: mpsc::Sender<Work>) -> Self {
        Self {
            engine,
            work,
            files: Vec::new(),
            bytes: 0,
            asking: JoinSet::new(),
        }
    }

    async fn push(&mut self, hashed: Hashed) -> Result<()> {
        self.bytes += hashed.file.remote.len() + ENTRY_BYTES;
        self.files.push(hashed);
        if self.files.len() >= MAX_BATCH || self.bytes >= MAX_BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        while self.asking.len() >= PROBES
            && let Some(done) = self.asking.join_next().await
        {
            finished(done)?;
        }
        self.bytes = 0;
        let files = std::mem::take(&mut self.files);
        self.asking
            .spawn(probe(self.engine.clone(), files, self.work.clone()));
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        if !self.files.is_empty() {
            self.flush().await?;
        }
        while let Some(done) = self.asking.join_next().await {
            finished(done)?;
        }
        Ok(())
    }
}

/// Decides how a found file is going to be sent; `None` if there is nothing to send.
async fn look_at(engine: &Arc<Native>, item: Found) -> Result<Option<Work>> {
    let file = match engine.shared.sift(item)? {
        Some(Item::File(file)) => file,
        Some(Item::EmptyFolder { path, remote }) => {
            return Ok(Some(Work::Folder {
                local: path.display().to_string(),
                remote,
            }));
        }
        None => return Ok(None),
    };
    let hashes = engine.shared.hashes.clone();
    let hashing = spawn_blocking(move || {
        let root = hashes.root_of(&file.path, &file.stamp);
        (file, root)
    });
    let (file, root) = hashing
        .await
        .map_err(|error| Error::io(&io::Error::from(error)))?;
    let root = match root {
        Ok(root) => root,
        Err(error) => {
            engine
                .shared
                .failed(&file, unreadable(&error, &file.path))?;
            return Ok(None);
        }
    };
    let start = match engine.shared.unfinished.find(&engine.key(&file)) {
        Some(id) => Start::Resume(id),
        None if file.stamp.size >= BATCHED_BELOW => Start::Create,
        None => Start::Probe,
    };
    Ok(Some(Work::File(Hashed { file, root }, start)))
}

/// Asks about a batch and passes the answers on.
async fn probe(engine: Arc<Native>, files: Vec<Hashed>, work: mpsc::Sender<Work>) -> Result<()> {
    let entries = files.iter().map(|hashed| hashed.entry(&engine)).collect();
    let answer = engine
        .client
        .create_uploads(&CreateUploads { entries })
        .await?;
    if answer.results.len() != files.len() {
        let why = "the server answered a batch with the wrong number of results";
        return Err(Error::new(Exit::Failed, why));
    }
    for (hashed, created) in files.into_iter().zip(answer.results) {
        // Sessions must be known even if the command ends before their turn.
        engine.remember(&hashed, &created);
        if work
            .send(Work::File(hashed, Start::Answered(Box::new(created))))
            .await
            .is_err()
        {
            break;
        }
    }
    Ok(())
}
