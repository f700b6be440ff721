//! The clients' log: what was acknowledged, and what was asked for without an answer so far.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard},
};

use crate::random::Random;

/// Content that follows from a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    pub(crate) size: u64,
    pub(crate) blake3: [u8; 32],
}

impl Content {
    pub(crate) fn new(seed: u64, size: u64) -> Self {
        let bytes = generate(seed, size);
        Self {
            seed,
            size,
            blake3: *blake3::hash(&bytes).as_bytes(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        generate(self.seed, self.size)
    }

    pub(crate) fn hex(&self) -> String {
        hex::encode(self.blake3)
    }
}

fn generate(seed: u64, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A path of an account, by the account's number.
pub(crate) type Key = (usize, String);

/// What is known of a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// What was acknowledged last; `None`: no file.
    pub(crate) settled: Option<Content>,
    /// What was asked for since then and may have happened.
    pub(crate) pending: Option<Option<Content>>,
}

impl Slot {
    /// May the path hold this now?
    pub(crate) fn allows(&self, found: Option<[u8; 32]>) -> bool {
        let hash = |content: Option<Content>| content.map(|content| content.blake3);
        hash(self.settled) == found || self.pending.is_some_and(|pending| hash(pending) == found)
    }
}

/// An upload that was begun and has not ended.
#[derive(Clone, Debug)]
pub(crate) struct OpenUpload {
    pub(crate) account: usize,
    pub(crate) path: String,
    pub(crate) content: Content,
    /// Acknowledged chunks.
    pub(crate) chunks: BTreeSet<u64>,
    /// Completion or cancellation was asked for and may have happened.
    pub(crate) ending: bool,
}

#[derive(Debug, Default)]
struct Inner {
    slots: BTreeMap<Key, Slot>,
    uploads: BTreeMap<String, OpenUpload>,
    /// Changed since they were last checked.
    recent: BTreeSet<Key>,
    counts: BTreeMap<&'static str, u64>,
}

/// Shared by all clients.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Inner>);

/// The whole log at a moment in which no request is under way.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) slots: BTreeMap<Key, Slot>,
    pub(crate) uploads: BTreeMap<String, OpenUpload>,
}

impl Log {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Counts something for the summary.
    pub(crate) fn count(&self, what: &'static str) {
        *self.inner().counts.entry(what).or_default() += 1;
    }

    /// A request that is about to be sent may change the path to this.
    pub(crate) fn ask(&self, key: &Key, wanted: Option<Content>) {
        let mut inner = self.inner();
        inner.slots.entry(key.clone()).or_default().pending = Some(wanted);
        inner.recent.insert(key.clone());
    }

    /// The path is known to be so.
    pub(crate) fn settle(&self, key: &Key, content: Option<Content>) {
        let mut inner = self.inner();
        inner.slots.insert(
            key.clone(),
            Slot {
                settled: content,
                pending: None,
            },
        );
        inner.recent.insert(key.clone());
    }

    pub(crate) fn slot(&self, key: &Key) -> Slot {
        self.inner().slots.get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn begin(&self, id: &str, upload: OpenUpload) {
        self.inner().uploads.insert(id.to_owned(), upload);
    }

    pub(crate) fn chunk(&self, id: &str, index: u64) {
        let mut inner = self.inner();
        *inner.counts.entry("chunks").or_default() += 1;
        if let Some(upload) = inner.uploads.get_mut(id) {
            upload.chunks.insert(index);
        }
    }

    pub(crate) fn ending(&self, id: &str) {
        if let Some(upload) = self.inner().uploads.get_mut(id) {
            upload.ending = true;
        }
    }

    pub(crate) fn end(&self, id: &str) {
        self.inner().uploads.remove(id);
    }

    /// Any content that some path holds, anybody's.
    pub(crate) fn any_content(&self, random: &mut Random) -> Option<Content> {
        let inner = self.inner();
        let held: Vec<_> = inner
            .slots
            .values()
            .filter_map(|slot| slot.settled)
            .collect();
        random.pick(&held).copied()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        Snapshot {
            slots: inner.slots.clone(),
            uploads: inner.uploads.clone(),
        }
    }

    /// Paths that changed since the last call.
    pub(crate) fn take_recent(&self) -> BTreeSet<Key> {
        std::mem::take(&mut self.inner().recent)
    }

    pub(crate) fn summary(&self) -> String {
        let inner = self.inner();
        let counts = inner
            .counts
            .iter()
            .map(|(what, count)| format!("{count} {what}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// Was there a mixed load, and did the kills hit requests?
    pub(crate) fn is_worth_something(&self, kills: u64) -> bool {
        const NEEDED: [&str; 8] = [
            "chunks",
            "completed",
            "puts",
            "large puts",
            "deleted",
            "cancelled",
            "instant",
            "broken",
        ];
        let inner = self.inner();
        let counts: HashMap<_, _> = inner
            .counts
            .iter()
            .map(|(what, count)| (*what, *count))
            .collect();
        NEEDED
            .iter()
            .all(|what| counts.get(what).copied().unwrap_or(0) >= kills / 10)
    }
}
