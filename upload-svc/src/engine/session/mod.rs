//! One unfinished upload on its staging node: what is kept, who is writing, and the chunk path.
//!
//! A chunk touches nothing but this node's files and memory. Its acknowledgement survives the
//! death of the process (the bytes are in the page cache); completion makes everything survive
//! loss of power.

mod append;
mod chunk;
mod concat;
mod files;
mod groups;
mod length;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use cloudstore_backends::staging::Layout;
use cloudstore_content::{
    GROUP_BYTES, GroupValue, Root,
    tree::{self, GroupHasher, group_count},
};
use cloudstore_service::clock;
use tokio::{sync::Notify, task::spawn_blocking};
use uuid::Uuid;

pub(crate) use self::{
    append::Limit,
    files::{Files, check_room, create_data, reserve},
    groups::Conflict,
};
use super::{
    Error, Result,
    body::Pulse,
    challenge::Pending,
    prefix::Prefix,
    sidecar::{self, ABSENT},
};

/// Digests the client declared; completion fails unless the content has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Declared {
    /// BLAKE3-256.
    pub blake3: Option<Root>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// SHA-1.
    pub sha1: Option<[u8; 20]>,
}

/// What was agreed when the upload was created.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The upload.
    pub id: Uuid,
    /// Its owner.
    pub account: Uuid,
    /// Path of the file to be.
    pub path: String,
    /// Length in bytes; `None` while nobody has told it.
    pub size: Option<u64>,
    /// Bytes of every chunk but the last: a multiple of the group size.
    pub chunk_size: u64,
    /// Unix milliseconds.
    pub expires_at_ms: i64,
    /// What to verify.
    pub declared: Declared,
    /// It is put together with others and never becomes a file itself.
    pub part: bool,
    /// What the dialect that made it wants to find again.
    pub note: String,
    /// Bytes of the quota that were reserved for it when this was read.
    pub reserved: u64,
}

impl Facts {
    /// Number of chunks; 0 for an empty file, and while the length is not known.
    #[must_use]
    pub fn chunk_count(&self) -> u64 {
        self.size.unwrap_or(0).div_ceil(self.chunk_size)
    }

    fn chunk_len(&self, index: u64) -> u64 {
        let size = self.size.unwrap_or(0);
        self.chunk_size.min(size - index * self.chunk_size)
    }

    fn groups_of_chunk(&self, index: u64) -> std::ops::Range<usize> {
        let first = index * self.chunk_size / GROUP_BYTES;
        let last = (index * self.chunk_size + self.chunk_len(index)).div_ceil(GROUP_BYTES);
        to_index(first)..to_index(last)
    }
}

fn to_index(group: u64) -> usize {
    usize::try_from(group).expect("invariant: group counts were allocated as vectors")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Chunks are welcome.
    Open,
    /// Cancelled, expired or completed: its files belong to somebody else or are gone.
    Closed,
}

#[derive(Debug)]
struct Map {
    /// Of every group; without a length, of those that came so far.
    values: Vec<GroupValue>,
    /// The first groups that are kept, as far as somebody has counted them.
    run: usize,
    /// The beginning of a group that is not kept as a whole.
    tail: Option<GroupHasher>,
    phase: Phase,
    /// Of chunks.
    writers: HashMap<u64, Arc<Pulse>>,
    /// Of whoever writes alone.
    sequential: Option<Arc<Pulse>>,
    /// Requests that wanted to write alone.
    tickets: u64,
    last_used_ms: i64,
}

/// An unfinished upload.
#[derive(Debug)]
pub struct Session {
    /// Replaced once, when the length is told.
    facts: Mutex<Arc<Facts>>,
    /// Bytes of the quota that are reserved while there is no length.
    pub(crate) reserved: AtomicU64,
    layout: Layout,
    files: Mutex<Option<Arc<Files>>>,
    map: Mutex<Map>,
    released: Notify,
    pub(crate) prefix: Arc<Mutex<Prefix>>,
    pub(crate) challenge: Mutex<Option<Pending>>,
    /// Held by the one request that puts it together of others.
    pub(crate) concatenation: tokio::sync::Mutex<()>,
    /// Held by the one request that completes the upload.
    pub(crate) completion: tokio::sync::Mutex<()>,
}

impl Session {
    /// A new upload; no file is created before the first chunk.
    pub(crate) fn new(facts: Facts, layout: Layout) -> Self {
        let values = vec![ABSENT; facts.size.map_or(0, |size| to_index(group_count(size)))];
        Self::with(facts, layout, values, None, None)
    }

    fn with(
        facts: Facts,
        layout: Layout,
        values: Vec<GroupValue>,
        tail: Option<GroupHasher>,
        files: Option<Arc<Files>>,
    ) -> Self {
        let prefix = Prefix::new(&facts.declared);
        let map = Map {
            values,
            run: 0,
            tail,
            phase: Phase::Open,
            writers: HashMap::new(),
            sequential: None,
            tickets: 0,
            last_used_ms: clock::now_ms(),
        };
        Self {
            reserved: AtomicU64::new(facts.reserved),
            facts: Mutex::new(Arc::new(facts)),
            layout,
            files: Mutex::new(files),
            map: Mutex::new(map),
            released: Notify::new(),
            prefix: Arc::new(Mutex::new(prefix)),
            challenge: Mutex::new(None),
            concatenation: tokio::sync::Mutex::new(()),
            completion: tokio::sync::Mutex::new(()),
        }
    }

    /// What was agreed.
    #[must_use]
    pub fn facts(&self) -> Arc<Facts> {
        self.facts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Every change of the map is a single assignment, so a panic elsewhere leaves it whole.
    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First and last index of each run of chunks that are not kept.
    #[must_use]
    pub fn missing(&self) -> Vec<[u64; 2]> {
        let (facts, map) = (self.facts(), self.map());
        let mut runs: Vec<[u64; 2]> = Vec::new();
        for index in (0..facts.chunk_count()).filter(|index| !kept(&facts, &map, *index)) {
            match runs.last_mut() {
                Some(run) if run[1] + 1 == index => run[1] = index,
                _ => runs.push([index, index]),
            }
        }
        runs
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn received(&self) -> u64 {
        let (facts, map) = (self.facts(), self.map());
        let size = facts.size.unwrap_or(u64::MAX);
        let whole = (0_u64..)
            .zip(&map.values)
            .filter(|(_, value)| **value != ABSENT)
            .map(|(index, _)| tree::group_len(size, index));
        whole.sum::<u64>() + map.tail.as_ref().map_or(0, GroupHasher::len)
    }

    /// Bytes from the start of the content that are kept without a gap.
    pub(crate) fn contiguous(&self) -> u64 {
        let size = self.facts().size.unwrap_or(u64::MAX);
        let mut map = self.map();
        let more = map.values[map.run..]
            .iter()
            .take_while(|value| **value != ABSENT);
        map.run += more.count();
        let groups = map.run as u64;
        let tail = map.tail.as_ref().filter(|tail| tail.index() == groups);
        let tail = tail.map_or(0, GroupHasher::len);
        (groups * GROUP_BYTES + tail).min(size)
    }

    /// Its time is over; the sweep will end it.
    pub(crate) fn is_expired(&self) -> bool {
        clock::now_ms() > self.facts().expires_at_ms
    }

    fn is_closed(&self) -> bool {
        self.map().phase == Phase::Closed
    }

    /// Nobody used it for this long.
    pub(crate) fn idle_ms(&self) -> i64 {
        let map = self.map();
        if map.writers.is_empty() && map.sequential.is_none() {
            clock::now_ms() - map.last_used_ms
        } else {
            0
        }
    }

    /// The files, created at their final length when they are first needed.
    pub(crate) async fn files(self: &Arc<Self>) -> Result<Arc<Files>> {
        if let Ok(files) = self.files.try_lock()
            && let Some(files) = &*files
        {
            return Ok(files.clone());
        }
        let session = self.clone();
        spawn_blocking(move || session.files_now())
            .await
            .map_err(io::Error::other)?
    }

    /// On a blocking thread under the lock, so that a request that is dropped meanwhile leaves
    /// either both files or none.
    fn files_now(&self) -> Result<Arc<Files>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &*files {
            return Ok(files.clone());
        }
        let facts = self.facts();
        let created = files::create_files(&self.layout, facts.id, facts.size);
        let created = Arc::new(created.inspect_err(|_| {
            // Without room for the data there is nothing worth keeping.
            let _ = self.layout.remove(facts.id);
        })?);
        *files = Some(created.clone());
        Ok(created)
    }

    /// Makes groups count as kept. The sidecar has them already.
    fn record(&self, first_group: usize, values: &[GroupValue]) -> Result<()> {
        let mut map = self.map();
        if map.phase == Phase::Closed {
            return Err(Error::Gone);
        }
        let end = first_group + values.len();
        if map.values.len() < end {
            map.values.resize(end, ABSENT);
        }
        map.values[first_group..end].copy_from_slice(values);
        let tail = map.tail.take();
        map.tail = tail.filter(|tail| !(first_group..end).contains(&to_index(tail.index())));
        map.last_used_ms = clock::now_ms();
        Ok(())
    }

    /// All group values, once every group is kept.
    pub(crate) fn complete_values(&self) -> Result<Vec<GroupValue>> {
        let facts = self.facts();
        if facts.part {
            return Err(Error::Part);
        }
        let size = facts.size.ok_or(Error::LengthUnknown)?;
        let missing = self.missing();
        if !missing.is_empty() {
            return Err(Error::Incomplete(missing));
        }
        if size == 0 {
            return Ok(vec![tree::group_value(0, 0, &[])]);
        }
        Ok(self.map().values.clone())
    }

    /// Forgets everything that was received: after a failed flush nobody knows what is on disk.
    pub(crate) fn forget_all(&self) {
        *self.prefix.lock().unwrap_or_else(PoisonError::into_inner) =
            Prefix::new(&self.facts().declared);
        let mut map = self.map();
        map.values.fill(ABSENT);
        (map.run, map.tail) = (0, None);
        let files = self
            .files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(files) = files
            && let Err(error) = sidecar::write(&files.side, 0, &map.values)
        {
            // The groups are verified against the data before they count again.
            tracing::warn!(upload = %self.facts().id, %error, "cannot clear a sidecar");
        }
    }

    /// Takes no more chunks and makes those under way give up. False: it was closed before.
    pub(crate) fn close(&self) -> bool {
        let mut map = self.map();
        for writer in map.writers.values().chain(&map.sequential) {
            writer.cancel();
        }
        std::mem::replace(&mut map.phase, Phase::Closed) == Phase::Open
    }
}

fn kept(facts: &Facts, map: &Map, index: u64) -> bool {
    map.values[facts.groups_of_chunk(index)]
        .iter()
        .all(|value| *value != ABSENT)
}

#[cfg(test)]
mod tests;
