//! One file: what is here already, the pieces that are missing, and the check of the whole.

use std::{fs, io, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use bytes::Bytes;
use cloudstore_content::{
    GROUP_BYTES, GroupValue, Root,
    tree::{GroupHasher, group_count, merge},
};
use indicatif::ProgressBar;
use reqwest::{Response, StatusCode};
use tokio::task::{JoinSet, spawn_blocking};

use super::{
    Engine, Job,
    conflict::{self, Place},
    damaged,
    part::{Part, Piece, pieces},
};
use crate::{
    args::Conflict,
    client::{wire::Trouble, within},
    error::{Error, Exit, Result},
};

/// Pieces of one file in flight.
const PARALLEL_PIECES: usize = 4;
/// What has arrived is written and hashed in steps of this size.
const STEP: usize = 1 << 20;
/// 16 TiB, as much as common file systems can hold in a file. Bounds what is kept in memory of a
/// file, 32 bytes for each MiB, before a server can make that up.
const MAX_FILE_BYTES: u64 = 1 << 44;

impl Engine {
    /// The verified content beside its final place, which the job gets to know; `None` if it is in
    /// its place already.
    pub(super) async fn fetch(self: &Arc<Self>, job: &mut Job) -> Result<Option<Arc<Part>>> {
        let mut root: Root = [0; 32];
        hex::decode_to_slice(&job.file.blake3, &mut root)
            .map_err(|_| Error::new(Exit::Failed, "the server does not tell the file's digest"))?;
        if job.file.size > MAX_FILE_BYTES {
            return Err(too_large(job.file.size));
        }
        let Some(part) = self.open(job, root).await? else {
            return Ok(None);
        };
        let part = Arc::new(part);
        let resumed = rehash(&part, job.file.size).await?;
        let reused = !resumed.is_empty();
        let mut complete = self.fetch_missing(job, &part, resumed).await? == root;
        if !complete && reused {
            // An earlier run's pieces may be what is wrong: without them, then.
            blocking(&part, Part::restart).await?;
            complete = self.fetch_missing(job, &part, Vec::new()).await? == root;
        }
        if !complete {
            blocking(&part, Part::discard).await?;
            return Err(damaged());
        }
        Ok(Some(part))
    }

    /// The partial file, unless the content is in its place already.
    async fn open(&self, job: &mut Job, root: Root) -> Result<Option<Part>> {
        let (hashes, local, file) = (self.hashes.clone(), job.local.clone(), job.file.clone());
        let policy = self.on_conflict;
        let opened = spawn_blocking(move || {
            Ok(
                match conflict::place(&hashes, policy, &local, file.size, &root)? {
                    Place::Same(local) => (local, None),
                    Place::Open(local) => {
                        let part = Part::open(&local, &file, matches!(policy, Conflict::Replace));
                        let part = part.map_err(|error| local_error(&error, &local))?;
                        (local, Some(part))
                    }
                },
            )
        });
        let opened = opened.await.map_err(|error| Error::io(&error.into()));
        let (local, part) = opened.flatten()?;
        job.local = local;
        Ok(part)
    }

    /// Fetches all pieces but the `known` ones; returns the root of the whole.
    async fn fetch_missing(
        self: &Arc<Self>,
        job: &Job,
        part: &Arc<Part>,
        known: Vec<(Piece, Vec<GroupValue>)>,
    ) -> Result<Root> {
        let size = job.file.size;
        let groups = usize::try_from(group_count(size)).map_err(|_| too_large(size))?;
        let mut values: Vec<GroupValue> = vec![[0; 32]; groups];
        let mut have = vec![false; pieces(size).count()];
        let bar = self.progress.file_bar(&job.file.path, size);
        for (piece, piece_values) in known {
            bar.inc(piece.len);
            enter(&mut values, &mut have, piece, &piece_values)?;
        }
        let missing = have.iter().map(|have| !have).collect::<Vec<_>>();
        let mut waiting = pieces(size)
            .zip(missing)
            .filter_map(|(piece, go)| go.then_some(piece));
        let mut running = JoinSet::new();
        loop {
            while running.len() < PARALLEL_PIECES
                && let Some(piece) = waiting.next()
            {
                let fetch = Fetch {
                    engine: self.clone(),
                    part: part.clone(),
                    path: job.file.path.clone(),
                    blake3: job.file.blake3.clone(),
                    size,
                    piece,
                    bar: bar.clone(),
                };
                running.spawn(fetch.run());
            }
            match running.join_next().await {
                Some(Ok(fetched)) => {
                    let (piece, piece_values) = fetched?;
                    enter(&mut values, &mut have, piece, &piece_values)?;
                }
                Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
                None => return Ok(merge(size, &values)),
            }
        }
    }
}

/// Puts a piece's values in their place.
fn enter(
    values: &mut [GroupValue],
    have: &mut [bool],
    piece: Piece,
    piece_values: &[GroupValue],
) -> Result<()> {
    let too_large = |_| too_large(piece.offset + piece.len);
    let first = usize::try_from(piece.offset / GROUP_BYTES).map_err(too_large)?;
    values[first..first + piece_values.len()].copy_from_slice(piece_values);
    have[usize::try_from(piece.index).map_err(too_large)?] = true;
    Ok(())
}

fn too_large(size: u64) -> Error {
    let why = format!("the server says that it has {size} bytes, which is too large for a file");
    Error::new(Exit::Failed, why)
}

/// A failure of the disk about the file at `local`, or beside it.
pub(super) fn local_error(error: &io::Error, local: &Path) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => conflict::taken(local),
        io::ErrorKind::PermissionDenied => Error::at(error, local.parent().unwrap_or(local)),
        io::ErrorKind::WouldBlock => Error::new(
            Exit::Failed,
            "another download to the same place is running",
        ),
        _ => Error::new(Exit::Failed, error.to_string()),
    }
}

/// The group values of the pieces that an earlier run left, as they are on the disk now.
async fn rehash(part: &Arc<Part>, size: u64) -> Result<Vec<(Piece, Vec<GroupValue>)>> {
    let place = part.path().to_owned();
    let part = part.clone();
    let hashing = spawn_blocking(move || {
        let mut buffer = vec![0; STEP];
        let mut known = Vec::new();
        for piece in part.finished() {
            let mut sink = Sink::new(part.file().clone(), size, piece);
            while sink.left() > 0 {
                let step = usize::try_from(sink.left()).map_or(STEP, |left| left.min(STEP));
                part.file().read_exact_at(&mut buffer[..step], sink.at)?;
                sink.hash(&buffer[..step]);
            }
            known.push((piece, sink.values));
        }
        Ok(known)
    });
    hashing
        .await
        .map_err(io::Error::from)
        .flatten()
        .map_err(|error| local_error(&error, &place))
}

async fn blocking(part: &Arc<Part>, act: fn(&Part) -> io::Result<()>) -> Result<()> {
    let place = part.path().to_owned();
    let part = part.clone();
    let acted = spawn_blocking(move || act(&part)).await;
    acted
        .map_err(io::Error::from)
        .flatten()
        .map_err(|error| local_error(&error, &place))
}

/// Fetches one piece.
struct Fetch {
    engine: Arc<Engine>,
    part: Arc<Part>,
    path: String,
    blake3: String,
    size: u64,
    piece: Piece,
    bar: ProgressBar,
}

impl Fetch {
    /// Goes on after a broken connection where it broke, as long as that brings it forward.
    async fn run(self) -> Result<(Piece, Vec<GroupValue>)> {
        let _permit = self.engine.streams.acquire().await;
        let mut sink = Some(Sink::new(self.part.file().clone(), self.size, self.piece));
        let mut backoff = self.engine.client.backoff();
        while let Some(left) = sink.as_ref().map(Sink::left).filter(|&left| left > 0) {
            let trouble = match self.receive(&mut sink).await {
                Ok(()) => continue,
                Err(trouble) => trouble,
            };
            if !matches!(trouble, Trouble::Broken { .. }) {
                return Err(self.engine.client.error(trouble));
            }
            if sink.as_ref().is_some_and(|sink| sink.left() < left) {
                backoff.reset();
            }
            match backoff.next(None) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(self.engine.client.error(trouble)),
            }
        }
        let sink = sink.expect("invariant: put back after each step");
        let index = self.piece.index;
        let part = self.part.clone();
        let noted = spawn_blocking(move || part.finish_piece(index)).await;
        noted
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| local_error(&error, self.part.path()))?;
        Ok((self.piece, sink.values))
    }

    /// One request, until its end or its break.
    async fn receive(&self, place: &mut Option<Sink>) -> Result<(), Trouble> {
        let mut response = self.request(place).await?;
        let mut frames: Vec<Bytes> = Vec::new();
        let mut waiting = 0;
        let ended = loop {
            let frame = match within(response.chunk()).await {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                // What has arrived is kept.
                Err(trouble) => break Err(trouble),
            };
            if let Some(throttle) = &self.engine.throttle {
                throttle.take(frame.len()).await;
            }
            waiting += frame.len();
            self.engine.progress.moved(frame.len() as u64);
            self.bar.inc(frame.len() as u64);
            frames.push(frame);
            if waiting >= STEP {
                self.write(place, std::mem::take(&mut frames)).await?;
                waiting = 0;
            }
        };
        self.write(place, frames).await?;
        match place {
            Some(sink) if ended.is_ok() && sink.left() > 0 => Err(Trouble::Broken {
                why: "the content ended early".into(),
                sent: true,
            }),
            _ => ended,
        }
    }

    async fn request(&self, place: &Option<Sink>) -> Result<Response, Trouble> {
        let (at, end) = place.as_ref().map_or((0, 0), |sink| (sink.at, sink.end));
        let whole = at == 0 && end == self.size;
        let range = (!whole).then(|| format!("{at}-{}", end - 1));
        let content = self
            .engine
            .client
            .content(&self.path, range.as_deref(), Some(&self.blake3));
        let response = content.await.map_err(|error| {
            Trouble::Local(match error.slug() {
                Some("precondition-failed") => {
                    Error::new(Exit::Failed, "the file changed on the server meanwhile")
                        .advise("run the same command again")
                }
                _ => error,
            })
        })?;
        let expected = if whole {
            StatusCode::OK
        } else {
            StatusCode::PARTIAL_CONTENT
        };
        if response.status() == expected {
            return Ok(response);
        }
        let why = format!("it answered {} instead of {expected}", response.status());
        Err(Trouble::Garbled(why))
    }

    async fn write(&self, place: &mut Option<Sink>, frames: Vec<Bytes>) -> Result<(), Trouble> {
        let mut sink = place.take().expect("invariant: put back after each step");
        let written = spawn_blocking(move || {
            let written = frames.iter().try_for_each(|frame| sink.write(frame));
            (sink, written)
        });
        let (sink, written) = written
            .await
            .map_err(|error| Trouble::Local(Error::io(&error.into())))?;
        *place = Some(sink);
        written.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Trouble::Garbled(error.to_string()),
            _ => Trouble::Local(local_error(&error, self.part.path())),
        })
    }
}

/// Where a piece's bytes go: to their place in the file and into the hash of their group.
struct Sink {
    file: Arc<fs::File>,
    size: u64,
    at: u64,
    end: u64,
    hasher: GroupHasher,
    values: Vec<GroupValue>,
}

impl Sink {
    fn new(file: Arc<fs::File>, size: u64, piece: Piece) -> Self {
        let hasher = GroupHasher::new(piece.offset / GROUP_BYTES);
        let (at, end) = (piece.offset, piece.offset + piece.len);
        let mut sink = Self {
            file,
            size,
            at,
            end,
            hasher,
            values: Vec::new(),
        };
        if size == 0 {
            sink.values.push(sink.hasher.finish(0));
        }
        sink
    }

    fn left(&self) -> u64 {
        self.end - self.at
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        if data.len() as u64 > self.left() {
            let why = "it sent more content than it was asked for";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.file.write_all_at(data, self.at)?;
        self.hash(data);
        Ok(())
    }

    fn hash(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = usize::try_from(self.hasher.room()).unwrap_or(usize::MAX);
            let (now, later) = data.split_at(data.len().min(room));
            self.hasher.update(now);
            self.at += now.len() as u64;
            if self.hasher.room() == 0 || self.at == self.size {
                self.values.push(self.hasher.finish(self.size));
                self.hasher = GroupHasher::new(self.at / GROUP_BYTES);
            }
            data = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_written_in_any_order_give_the_root() {
        let size = 3 * GROUP_BYTES + 17;
        let len = usize::try_from(size).unwrap();
        let content = (0..len)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect::<Vec<_>>();
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut values = vec![[0; 32]; 4];
        let mut have = vec![false; 2];
        for (index, offset, len) in [
            (1, 2 * GROUP_BYTES, GROUP_BYTES + 17),
            (0, 0, 2 * GROUP_BYTES),
        ] {
            let piece = Piece { index, offset, len };
            let mut sink = Sink::new(file.clone(), size, piece);
            let range = usize::try_from(offset).unwrap()..usize::try_from(offset + len).unwrap();
            for frame in content[range].chunks(100_003) {
                sink.write(frame).unwrap();
            }
            assert_eq!(sink.left(), 0);
            assert!(sink.write(b"more").is_err());
            enter(&mut values, &mut have, piece, &sink.values).unwrap();
        }
        assert_eq!(merge(size, &values), *blake3::hash(&content).as_bytes());
        let mut written = vec![0; len];
        file.read_exact_at(&mut written, 0).unwrap();
        assert!(written == content);
    }

    #[test]
    fn an_empty_file_has_a_root() {
        let piece = Piece {
            index: 0,
            offset: 0,
            len: 0,
        };
        let sink = Sink::new(Arc::new(tempfile::tempfile().unwrap()), 0, piece);
        assert_eq!(merge(0, &sink.values), *blake3::hash(b"").as_bytes());
    }
}
