//! The chunk path: claim the place, receive, verify, record.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use cloudstore_content::{GroupValue, digest, tree::GroupHasher};
use cloudstore_service::clock;
use futures::Stream;
use tokio::{task::spawn_blocking, time};

use super::{Phase, Session, files::Files, groups::GroupWriter, kept, to_index};
use crate::engine::{
    Error, Result,
    body::{self, BodyError, End, Pulse, Sink},
    sidecar,
};

/// A writer that has been silent for this long gives way to a new request for the same chunk.
/// Shorter than the 5 s within which a client may expect a dead connection's place to be free.
pub(super) const STALL: Duration = Duration::from_secs(3);
/// How often a waiting writer looks whether the one before it has stalled.
pub(super) const STALL_CHECK: Duration = Duration::from_millis(500);
/// A writer waits no longer than this for one that makes progress.
pub(super) const CLAIM_PATIENCE: Duration = Duration::from_secs(30);

/// The right to write one chunk; dropped when the last write has ended.
struct Lease {
    session: Arc<Session>,
    index: u64,
    pulse: Arc<Pulse>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.map().writers.remove(&self.index);
        self.session.released.notify_waiters();
    }
}

enum Place {
    Free(Lease),
    /// The chunk is kept; a repetition must carry the same bytes.
    Kept,
}

impl Session {
    /// Receives one chunk. When it returns `Ok` the chunk survives the death of this process.
    /// Repeating a chunk with the same bytes is fine.
    ///
    /// # Errors
    /// Nothing of a failed chunk counts as kept: [`Error::ChunkRange`], [`Error::Length`],
    /// [`Error::DigestMismatch`] (`check` is the SHA-256 of the chunk), [`Error::ChunkConflict`]
    /// (other bytes are kept already), [`Error::Preempted`], [`Error::Busy`], [`Error::Body`],
    /// [`Error::NoSpace`], [`Error::Gone`].
    pub async fn put_chunk(
        self: &Arc<Self>,
        index: u64,
        content_length: Option<u64>,
        check: Option<[u8; 32]>,
        body: impl Stream<Item = std::result::Result<Bytes, BodyError>> + Unpin,
    ) -> Result<()> {
        let facts = self.facts();
        if facts.size.is_none() {
            return Err(Error::LengthUnknown);
        }
        let count = facts.chunk_count();
        if index >= count {
            return Err(Error::ChunkRange { index, count });
        }
        let expected = facts.chunk_len(index);
        let wrong_length = |found| Error::Length { expected, found };
        if let Some(found) = content_length.filter(|found| *found != expected) {
            return Err(wrong_length(Some(found)));
        }
        let place = self.claim(index).await?;
        let files = self.files().await?;
        let sink = ChunkSink::new(self, index, files, place, check.is_some());
        let pulse = sink
            .lease
            .as_ref()
            .map_or_else(Default::default, |lease| lease.pulse.clone());
        let pumped = body::pump(body, expected, Some(expected), sink, &pulse).await?;
        match pumped.end {
            End::Complete if pumped.len == expected => {}
            End::Complete => return Err(wrong_length(Some(pumped.len))),
            End::TooLong => return Err(wrong_length(None)),
            End::Broken(error) => return Err(Error::Body(error)),
            End::Preempted if self.is_closed() => return Err(Error::Gone),
            End::Preempted => return Err(Error::Preempted),
        }
        let finish = spawn_blocking(move || pumped.sink.finish(&pumped.tail, check));
        finish.await.map_err(io::Error::other)?
    }

    /// Waits for the place of a chunk. One writer at a time: a second one waits for the first,
    /// unless that has stalled; then the first gives up.
    async fn claim(self: &Arc<Self>, index: u64) -> Result<Place> {
        let deadline = time::Instant::now() + CLAIM_PATIENCE;
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if let Some(place) = self.try_claim(index)? {
                return Ok(place);
            }
            if time::Instant::now() >= deadline {
                return Err(Error::Busy);
            }
            // Either somebody released a place, or it is time to look for a stall again.
            let _ = time::timeout(STALL_CHECK, released).await;
        }
    }

    fn try_claim(self: &Arc<Self>, index: u64) -> Result<Option<Place>> {
        let (facts, mut map) = (self.facts(), self.map());
        if map.phase == Phase::Closed {
            return Err(Error::Gone);
        }
        map.last_used_ms = clock::now_ms();
        if kept(&facts, &map, index) {
            return Ok(Some(Place::Kept));
        }
        if let Some(writer) = map.writers.get(&index) {
            if writer.is_silent(STALL) {
                writer.cancel();
            }
            return Ok(None);
        }
        if let Some(writer) = &map.sequential {
            if writer.is_silent(STALL) {
                writer.cancel();
            }
            return Ok(None);
        }
        let pulse = Arc::new(Pulse::new());
        map.writers.insert(index, pulse.clone());
        Ok(Some(Place::Free(Lease {
            session: self.clone(),
            index,
            pulse,
        })))
    }
}

/// Writes and hashes one chunk. Owns the lease, so that no second writer starts while a write of
/// an abandoned request is still under way.
struct ChunkSink {
    session: Arc<Session>,
    files: Arc<Files>,
    lease: Option<Lease>,
    end: u64,
    groups: Target,
    first_group: u64,
    values: Vec<GroupValue>,
    sha256: Option<digest::Hasher>,
}

/// What is done with the bytes of a chunk.
enum Target {
    Write(GroupWriter),
    /// The chunk is kept: it is compared by its values.
    Compare {
        hasher: GroupHasher,
        offset: u64,
        size: u64,
    },
}

impl ChunkSink {
    fn new(
        session: &Arc<Session>,
        index: u64,
        files: Arc<Files>,
        place: Place,
        check: bool,
    ) -> Self {
        let facts = session.facts();
        let groups = facts.groups_of_chunk(index);
        let first_group = groups.start as u64;
        let start = index * facts.chunk_size;
        let (lease, target) = match place {
            Place::Free(lease) => {
                let writer = GroupWriter::at_group(session, files.clone(), first_group);
                (Some(lease), Target::Write(writer))
            }
            Place::Kept => {
                let compare = Target::Compare {
                    hasher: GroupHasher::new(first_group),
                    offset: start,
                    size: facts.size.unwrap_or(0),
                };
                (None, compare)
            }
        };
        Self {
            session: session.clone(),
            files,
            lease,
            end: start + facts.chunk_len(index),
            groups: target,
            first_group,
            values: Vec::with_capacity(groups.len()),
            sha256: check.then(|| digest::Hasher::new(false, true)),
        }
    }

    fn offset(&self) -> u64 {
        match &self.groups {
            Target::Write(groups) => groups.offset(),
            Target::Compare { offset, .. } => *offset,
        }
    }

    fn finish(mut self, tail: &[u8], check: Option<[u8; 32]>) -> Result<()> {
        self.write(tail)?;
        body::check_whole(self.end, self.offset())?;
        let found = self.sha256.take().and_then(|hasher| hasher.finish().sha256);
        if check.is_some() && found != check {
            return Err(Error::DigestMismatch("sha-256 of the chunk"));
        }
        let first = to_index(self.first_group);
        if self.lease.is_none() {
            let map = self.session.map();
            let kept = &map.values[first..first + self.values.len()];
            return if kept == self.values {
                Ok(())
            } else {
                Err(Error::ChunkConflict)
            };
        }
        sidecar::write(&self.files.side, self.first_group, &self.values)?;
        self.session.record(first, &self.values)
    }
}

impl Sink for ChunkSink {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        let values = &mut self.values;
        match &mut self.groups {
            Target::Write(groups) => groups.write(&self.session, bytes, |_, value| {
                values.push(value);
                Ok(())
            }),
            Target::Compare {
                hasher,
                offset,
                size,
            } => {
                while !bytes.is_empty() {
                    let room = to_index(hasher.room().min(self.end - *offset));
                    let (now, later) = bytes.split_at(room.min(bytes.len()));
                    hasher.update(now);
                    *offset += now.len() as u64;
                    if hasher.room() == 0 || *offset == self.end {
                        values.push(hasher.finish(*size));
                        *hasher = GroupHasher::new(hasher.index() + 1);
                    }
                    bytes = later;
                }
                Ok(())
            }
        }
    }
}
