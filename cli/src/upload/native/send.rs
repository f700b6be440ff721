//! One file on its way: direct, by proof, or in chunks that resume where an earlier run stopped.

use std::{fs, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use cloudstore_content::{Root, proof::Prover};
use cloudstore_proto::{
    convert::rfc3339,
    http::{Challenge, Created, File, Upload, UploadState},
};
use indicatif::ProgressBar;
use tokio::task::{JoinSet, spawn_blocking};

use super::{Native, prepare::Hashed};
use crate::{
    client::{Content, body::Source},
    error::{Error, Exit, Result},
    state::has_changed,
    upload::shared::open,
};

/// Chunks of one file in flight.
const PARALLEL_CHUNKS: usize = 4;
/// Longer direct uploads are streamed instead of read into memory.
const IN_MEMORY: u64 = 256 << 10;
/// How often one file starts over when its upload is gone on the server.
const STARTS: usize = 3;
/// How often the server may ask for chunks again, which it does after a damage of its own.
const ROUNDS: usize = 4;
/// A window of a challenge is 4 KiB; more is not a challenge.
const MAX_WINDOW: u64 = 1 << 20;
/// A challenge has 64 windows; many more are not a challenge.
const MAX_WINDOWS: usize = 1_024;

/// How to begin.
#[derive(Debug)]
pub(super) enum Start {
    /// Ask together with others.
    Probe,
    /// Ask for this one.
    Create,
    /// The server has said what to do.
    Answered(Box<Created>),
    /// An earlier run began under this id.
    Resume(String),
}

impl Native {
    /// Brings a file to the server, however many attempts that takes.
    pub(super) async fn deliver(self: &Arc<Self>, hashed: &Hashed, start: Start) -> Result<File> {
        let mut start = start;
        for _ in 1..STARTS {
            match self.attempt(hashed, start).await {
                Err(error) if starts_over(&error) => {
                    self.shared.unfinished.remove(&self.key(&hashed.file));
                    start = Start::Create;
                }
                result => return result,
            }
        }
        self.attempt(hashed, Start::Create).await
    }

    async fn attempt(self: &Arc<Self>, hashed: &Hashed, start: Start) -> Result<File> {
        match start {
            Start::Probe | Start::Create => self.create(hashed).await,
            Start::Answered(created) => match *created {
                // Not a verdict on the file: there were too many at the same time.
                Created::Problem { problem } if matches!(problem.status, 429 | 503) => {
                    self.create(hashed).await
                }
                created => self.follow(hashed, created).await,
            },
            Start::Resume(id) => match self.client.upload(&id).await? {
                UploadState::Uploading { upload } => self.send_chunks(hashed, &upload).await,
                UploadState::Completed { file } => {
                    self.shared.unfinished.remove(&self.key(&hashed.file));
                    if is_same(hashed, &file) {
                        Ok(file)
                    } else {
                        // It was about content that this file had before.
                        self.create(hashed).await
                    }
                }
            },
        }
    }

    async fn create(self: &Arc<Self>, hashed: &Hashed) -> Result<File> {
        let created = self.client.create_upload(&hashed.entry(self)).await?;
        self.remember(hashed, &created);
        self.follow(hashed, created).await
    }

    async fn follow(self: &Arc<Self>, hashed: &Hashed, created: Created) -> Result<File> {
        match created {
            Created::Instant { file } => self.instant(hashed, file),
            Created::Direct => self.send_whole(hashed).await,
            Created::Uploading { upload } => self.send_chunks(hashed, &upload).await,
            Created::Challenge { challenge, upload } => {
                if let Some(file) = self.prove(hashed, &challenge, &upload.id).await? {
                    self.shared.unfinished.remove(&self.key(&hashed.file));
                    return self.instant(hashed, file);
                }
                self.send_chunks(hashed, &upload).await
            }
            Created::Problem { problem } => Err(Error::problem(problem)),
        }
    }

    /// Lets a later run go on with this upload.
    pub(super) fn remember(&self, hashed: &Hashed, created: &Created) {
        if let Created::Uploading { upload } | Created::Challenge { upload, .. } = created {
            let key = self.key(&hashed.file);
            self.shared
                .unfinished
                .put(&key, &upload.id, &upload.expires_at, &hashed.file.remote);
        }
    }

    /// The file, or `None` if the server does not accept the proof: then the content is sent.
    async fn prove(
        &self,
        hashed: &Hashed,
        challenge: &Challenge,
        id: &str,
    ) -> Result<Option<File>> {
        let path = hashed.file.path.clone();
        let challenge = challenge.clone();
        let proof = spawn_blocking(move || proof(&path, &challenge)).await;
        let proof = proof
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| Error::io(&error))?;
        match self.client.prove(id, &proof).await {
            Ok(completed) => Ok(Some(completed.file)),
            Err(error) if error.ends_the_run() || starts_over(&error) => Err(error),
            Err(error) if error.slug() == Some("name-conflict") => {
                self.give_up(hashed, id).await;
                Err(error)
            }
            Err(_) => Ok(None),
        }
    }

    /// `PUT /api/v1/content/{path}`
    async fn send_whole(&self, hashed: &Hashed) -> Result<File> {
        let file = open(&hashed.file).await?;
        let stamp = hashed.file.stamp;
        let permit = self.streams.acquire().await;
        let small = stamp.size <= IN_MEMORY;
        let content = if small {
            let (bytes, root) = read(file.clone(), stamp.size).await?;
            if root != hashed.root {
                return Err(self.shared.changed(&hashed.file));
            }
            if let Some(throttle) = &self.shared.throttle {
                throttle.take(bytes.len()).await;
            }
            Content::Bytes(bytes)
        } else {
            Content::File({
                let source = Source::File(file.clone());
                let hidden = ProgressBar::hidden();
                self.shared.body(source, 0, stamp.size, &hidden)
            })
        };
        let mtime = rfc3339(stamp.mtime_ms());
        let path = &hashed.file.remote;
        let sent = self
            .client
            .put_content(path, content, self.on_conflict, Some(&mtime))
            .await;
        drop(permit);
        let stored = sent?;
        if small {
            self.shared.progress.moved(stamp.size);
        }
        self.check(hashed, &file, stored)
    }

    /// Sends what is missing of an upload and completes it.
    async fn send_chunks(self: &Arc<Self>, hashed: &Hashed, upload: &Upload) -> Result<File> {
        let file = open(&hashed.file).await?;
        if upload.size != hashed.file.stamp.size {
            self.give_up(hashed, &upload.id).await;
            return Err(self.shared.changed(&hashed.file));
        }
        let bar = self
            .shared
            .progress
            .file_bar(&hashed.file.remote, upload.size);
        bar.set_position(upload.received);
        let mut missing = upload.missing.clone();
        for _ in 0..ROUNDS {
            self.send_missing(hashed, &file, upload, &missing, &bar)
                .await?;
            if has_changed(&file, &hashed.file.stamp).map_err(|error| Error::io(&error))? {
                self.give_up(hashed, &upload.id).await;
                return Err(self.shared.changed(&hashed.file));
            }
            let error = match self.client.complete(&upload.id).await {
                Ok(completed) => {
                    self.shared.unfinished.remove(&self.key(&hashed.file));
                    return self.check(hashed, &file, completed.file);
                }
                Err(error) => error,
            };
            match error.slug() {
                Some("incomplete") => missing = self.still_missing(&upload.id).await?,
                Some("digest-mismatch" | "name-conflict" | "not-a-folder" | "is-a-folder") => {
                    self.shared
                        .hashes
                        .forget(&hashed.file.path, &hashed.file.stamp);
                    self.give_up(hashed, &upload.id).await;
                    return Err(error);
                }
                _ => return Err(error),
            }
        }
        Err(Error::new(
            Exit::Network,
            "the server keeps asking for the same content",
        )
        .advise("run the same command again"))
    }

    async fn still_missing(&self, id: &str) -> Result<Vec<[u64; 2]>> {
        match self.client.upload(id).await? {
            UploadState::Uploading { upload } => Ok(upload.missing),
            UploadState::Completed { .. } => Ok(Vec::new()),
        }
    }

    async fn send_missing(
        self: &Arc<Self>,
        hashed: &Hashed,
        file: &Arc<fs::File>,
        upload: &Upload,
        missing: &[[u64; 2]],
        bar: &ProgressBar,
    ) -> Result<()> {
        let chunks = upload.size.div_ceil(upload.chunk_size.max(1));
        if missing
            .iter()
            .any(|&[first, last]| first > last || last >= chunks)
        {
            return Err(Error::new(
                Exit::Failed,
                "the server asks for chunks that do not exist",
            ));
        }
        let mut indices = missing.iter().flat_map(|&[first, last]| first..=last);
        let mut sending = JoinSet::new();
        loop {
            while sending.len() < PARALLEL_CHUNKS
                && let Some(index) = indices.next()
            {
                let offset = index * upload.chunk_size;
                let len = upload.chunk_size.min(upload.size - offset);
                let source = Source::File(file.clone());
                let chunk = self.shared.body(source, offset, len, bar);
                let (engine, id) = (self.clone(), upload.id.clone());
                sending.spawn(async move {
                    let _permit = engine.streams.acquire().await;
                    engine.client.put_chunk(&id, index, chunk).await
                });
            }
            match sending.join_next().await {
                Some(Ok(sent)) => self.chunk_sent(hashed, file, &upload.id, sent).await?,
                Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
                None => return Ok(()),
            }
        }
    }

    /// A chunk that cannot be sent because the local file changed is told as such.
    async fn chunk_sent(
        &self,
        hashed: &Hashed,
        file: &fs::File,
        id: &str,
        sent: Result<()>,
    ) -> Result<()> {
        let Err(error) = sent else { return Ok(()) };
        if has_changed(file, &hashed.file.stamp).unwrap_or(true) {
            self.give_up(hashed, id).await;
            return Err(self.shared.changed(&hashed.file));
        }
        if error.slug() == Some("chunk-conflict") {
            // The server has other content under this index: the upload is not what it seemed.
            self.give_up(hashed, id).await;
        }
        Err(error)
    }

    /// No content was sent, so the server's word is compared with what was hashed.
    fn instant(&self, hashed: &Hashed, file: File) -> Result<File> {
        if !is_same(hashed, &file) {
            return Err(self.differs(hashed));
        }
        Ok(File {
            instant: true,
            ..file
        })
    }

    /// Compares what the server stored with what was hashed.
    fn check(&self, hashed: &Hashed, file: &fs::File, stored: File) -> Result<File> {
        if is_same(hashed, &stored) {
            return Ok(stored);
        }
        if has_changed(file, &hashed.file.stamp).unwrap_or(true) {
            return Err(self.shared.changed(&hashed.file));
        }
        Err(self.differs(hashed))
    }

    fn differs(&self, hashed: &Hashed) -> Error {
        self.shared
            .hashes
            .forget(&hashed.file.path, &hashed.file.stamp);
        Error::new(
            Exit::Checksum,
            "the server has other content than this machine",
        )
        .advise("run the same command again with --on-conflict replace")
    }

    /// Frees what the server keeps for an upload that will not be finished.
    async fn give_up(&self, hashed: &Hashed, id: &str) {
        self.shared.unfinished.remove(&self.key(&hashed.file));
        if let Err(error) = self.client.cancel(id).await {
            // It expires by itself.
            tracing::debug!(%error, id, "cannot cancel an upload");
        }
    }
}

/// The server's file has the size and the digest of the local one.
fn is_same(hashed: &Hashed, stored: &File) -> bool {
    stored.size == hashed.file.stamp.size && stored.blake3 == hex::encode(hashed.root)
}

/// The upload is not there any more, or not what it seemed; a new one may do.
fn starts_over(error: &Error) -> bool {
    matches!(
        error.slug(),
        Some("upload-gone" | "upload-lost" | "chunk-conflict" | "not-found")
    )
}

/// All of a small file, and its hash. The buffer comes from the thread that will free it, not from
/// the one that fills it: many threads with holes of every size would add up.
async fn read(file: Arc<fs::File>, size: u64) -> Result<(Bytes, Root)> {
    let len = usize::try_from(size).map_err(|error| Error::new(Exit::Failed, error.to_string()))?;
    let mut bytes = vec![0; len];
    let read = spawn_blocking(move || {
        file.read_exact_at(&mut bytes, 0)?;
        let root = *blake3::hash(&bytes).as_bytes();
        Ok((Bytes::from(bytes), root))
    });
    read.await
        .map_err(io::Error::from)
        .flatten()
        .map_err(|error| Error::io(&error))
}

/// The keyed hash of the windows. Blocks.
fn proof(path: &std::path::Path, challenge: &Challenge) -> io::Result<[u8; 32]> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut nonce = [0; 32];
    hex::decode_to_slice(&challenge.nonce, &mut nonce)
        .map_err(|_| invalid("the server's challenge makes no sense"))?;
    if challenge.windows.len() > MAX_WINDOWS {
        return Err(invalid("the server's challenge makes no sense"));
    }
    let file = fs::File::open(path)?;
    let mut prover = Prover::new(&nonce);
    for &[offset, len] in &challenge.windows {
        if len > MAX_WINDOW {
            return Err(invalid("the server's challenge makes no sense"));
        }
        let mut window = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut window, offset)?;
        prover.update(&window);
    }
    Ok(prover.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_that_makes_no_sense_reads_nothing() {
        let challenge = |nonce: &str, windows| Challenge {
            nonce: nonce.into(),
            windows,
            expires_at: String::new(),
        };
        let nonce = "00".repeat(32);
        for wrong in [
            challenge("not hexadecimal", vec![[0, 1]]),
            challenge(&nonce, vec![[0, MAX_WINDOW + 1]]),
            challenge(&nonce, vec![[0, 1]; MAX_WINDOWS + 1]),
        ] {
            let error = proof(std::path::Path::new("/dev/zero"), &wrong).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let good = challenge(&nonce, vec![[0, 1]; MAX_WINDOWS]);
        proof(std::path::Path::new("/dev/zero"), &good).unwrap();
    }
}
