//! The chunk path: claim the place, receive, verify, record.

use std::{io, os::unix::fs::FileExt as _, sync::Arc, time::Duration};

use bytes::Bytes;
use cloudstore_content::{GROUP_BYTES, GroupValue, digest, tree::GroupHasher};
use cloudstore_service::clock;
use futures::Stream;
use tokio::{task::spawn_blocking, time};

use super::{Facts, Phase, Session, files::Files, to_index};
use crate::engine::{
    Error, Result,
    body::{self, BodyError, End, Pulse, Sink},
    sidecar,
};

/// A writer that has been silent for this long gives way to a new request for the same chunk.
/// Shorter than the 5 s within which a client may expect a dead connection's place to be free.
const STALL: Duration = Duration::from_secs(3);
/// How often a waiting writer looks whether the one before it has stalled.
const STALL_CHECK: Duration = Duration::from_millis(500);
/// A writer waits no longer than this for one that makes progress.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);

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
        let count = self.facts.chunk_count();
        if index >= count {
            return Err(Error::ChunkRange { index, count });
        }
        let expected = self.facts.chunk_len(index);
        let wrong_length = |found| Error::Length { expected, found };
        if let Some(found) = content_length.filter(|found| *found != expected) {
            return Err(wrong_length(Some(found)));
        }
        let place = self.claim(index).await?;
        let files = self.files().await?;
        let sink = ChunkSink::new(&self.facts, index, files, place, check.is_some());
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
        let session = self.clone();
        let finish = spawn_blocking(move || pumped.sink.finish(&session, &pumped.tail, check));
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
        let mut map = self.map();
        if map.phase == Phase::Closed {
            return Err(Error::Gone);
        }
        map.last_used_ms = clock::now_ms();
        if self.kept(&map, index) {
            return Ok(Some(Place::Kept));
        }
        if let Some(writer) = map.writers.get(&index) {
            if u128::from(writer.silent_ms().unsigned_abs()) >= STALL.as_millis() {
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
    files: Arc<Files>,
    lease: Option<Lease>,
    size: u64,
    first_group: u64,
    offset: u64,
    end: u64,
    hasher: GroupHasher,
    values: Vec<GroupValue>,
    sha256: Option<digest::Hasher>,
}

impl ChunkSink {
    fn new(facts: &Facts, index: u64, files: Arc<Files>, place: Place, check: bool) -> Self {
        let groups = facts.groups_of_chunk(index);
        Self {
            files,
            lease: match place {
                Place::Free(lease) => Some(lease),
                Place::Kept => None,
            },
            size: facts.size,
            first_group: groups.start as u64,
            offset: index * facts.chunk_size,
            end: index * facts.chunk_size + facts.chunk_len(index),
            hasher: GroupHasher::new(groups.start as u64),
            values: Vec::with_capacity(groups.len()),
            sha256: check.then(|| digest::Hasher::new(false, true)),
        }
    }

    fn end_group(&mut self) {
        self.values.push(self.hasher.finish(self.size));
        self.hasher = GroupHasher::new(self.first_group + self.values.len() as u64);
    }

    fn finish(mut self, session: &Session, tail: &[u8], check: Option<[u8; 32]>) -> Result<()> {
        self.write(tail)?;
        body::check_whole(self.end, self.offset)?;
        if !self.hasher.is_empty() {
            self.end_group();
        }
        let found = self.sha256.take().and_then(|hasher| hasher.finish().sha256);
        if check.is_some() && found != check {
            return Err(Error::DigestMismatch("sha-256 of the chunk"));
        }
        let first = to_index(self.first_group);
        if self.lease.is_none() {
            let map = session.map();
            let kept = &map.values[first..first + self.values.len()];
            return if kept == self.values {
                Ok(())
            } else {
                Err(Error::ChunkConflict)
            };
        }
        sidecar::write(&self.files.side, self.first_group, &self.values)?;
        session.record(first, &self.values)
    }
}

impl Sink for ChunkSink {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.lease.is_some() {
            self.files.data.write_all_at(bytes, self.offset)?;
        }
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        while !bytes.is_empty() {
            let room = to_index(GROUP_BYTES - self.hasher.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.hasher.update(now);
            self.offset += room as u64;
            if self.hasher.len() == GROUP_BYTES {
                self.end_group();
            }
            bytes = later;
        }
        Ok(())
    }
}
