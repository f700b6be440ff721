//! The clients' log: what was acknowledged, and what was asked for without an answer so far.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard},
};

use crate::{
    client::{Broken, Kind},
    random::Random,
};

/// Broken requests that are kept for messages; of the others only the number.
const BROKEN_KEPT: usize = 20;

/// Content that follows from a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub(crate) seed: u64,
    /// Its length in bytes.
    pub size: u64,
    pub(crate) blake3: [u8; 32],
}

impl Content {
    /// So many bytes that follow from the seed.
    #[must_use]
    pub fn new(seed: u64, size: u64) -> Self {
        let bytes = generate(seed, size);
        Self {
            seed,
            size,
            blake3: *blake3::hash(&bytes).as_bytes(),
        }
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        generate(self.seed, self.size)
    }

    /// Its identity.
    #[must_use]
    pub fn hex(&self) -> String {
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
pub type Key = (usize, String);

/// What is known of a path.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// What was acknowledged last; `None`: no file.
    pub settled: Option<Content>,
    /// What was asked for since then and may have happened.
    pub pending: Option<Option<Content>>,
}

impl Slot {
    /// May the path hold this now?
    pub fn allows(&self, found: Option<[u8; 32]>) -> bool {
        let hash = |content: Option<Content>| content.map(|content| content.blake3);
        hash(self.settled) == found || self.pending.is_some_and(|pending| hash(pending) == found)
    }
}

/// An upload that was begun and has not ended.
#[derive(Clone, Debug)]
pub struct OpenUpload {
    pub(crate) account: usize,
    pub(crate) path: String,
    pub(crate) content: Content,
    /// Acknowledged chunks.
    pub chunks: BTreeSet<u64>,
    /// Completion or cancellation was asked for and may have happened.
    pub ending: bool,
}

#[derive(Debug, Default)]
struct Inner {
    slots: BTreeMap<Key, Slot>,
    uploads: BTreeMap<String, OpenUpload>,
    /// Changed since they were last checked.
    recent: BTreeSet<Key>,
    counts: BTreeMap<&'static str, u64>,
    /// Everything that anybody asked the server to keep.
    contents: BTreeMap<String, Content>,
    broken: BTreeMap<Kind, u64>,
    broken_kept: Vec<Broken>,
}

impl Inner {
    fn knows(&mut self, content: Content) {
        self.contents.entry(content.hex()).or_insert(content);
    }
}

/// Shared by all clients.
#[derive(Debug, Default)]
pub struct Log(Mutex<Inner>);

/// The whole log at a moment in which no request is under way.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) slots: BTreeMap<Key, Slot>,
    pub(crate) uploads: BTreeMap<String, OpenUpload>,
    /// By identity: whatever the clients had to do with.
    pub(crate) contents: BTreeMap<String, Content>,
}

impl Snapshot {
    /// Every path that holds a file, and the file.
    pub fn files(&self) -> impl Iterator<Item = (&Key, Content)> {
        let files = self.slots.iter();
        files.filter_map(|(key, slot)| Some((key, slot.settled?)))
    }
}

impl Log {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Counts something for the summary.
    pub fn count(&self, what: &'static str) {
        *self.inner().counts.entry(what).or_default() += 1;
    }

    /// A request that is about to be sent may change the path to this.
    pub fn ask(&self, key: &Key, wanted: Option<Content>) {
        let mut inner = self.inner();
        if let Some(content) = wanted {
            inner.knows(content);
        }
        inner.slots.entry(key.clone()).or_default().pending = Some(wanted);
        inner.recent.insert(key.clone());
    }

    /// The path is known to be so.
    pub fn settle(&self, key: &Key, content: Option<Content>) {
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
        let mut inner = self.inner();
        inner.knows(upload.content);
        inner.uploads.insert(id.to_owned(), upload);
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
    pub fn any_content(&self, random: &mut Random) -> Option<Content> {
        let inner = self.inner();
        let held: Vec<_> = inner
            .slots
            .values()
            .filter_map(|slot| slot.settled)
            .collect();
        random.pick(&held).copied()
    }

    /// Everything; best while no request is under way.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        Snapshot {
            slots: inner.slots.clone(),
            uploads: inner.uploads.clone(),
            contents: inner.contents.clone(),
        }
    }

    /// A request broke; whoever sent it tries again.
    pub fn note(&self, broken: &Broken) {
        let mut inner = self.inner();
        *inner.counts.entry("broken").or_default() += 1;
        *inner.broken.entry(broken.kind).or_default() += 1;
        if inner.broken_kept.len() < BROKEN_KEPT || !broken.well_formed {
            inner.broken_kept.push(broken.clone());
        }
    }

    /// So many requests of the kind broke.
    pub fn broken(&self, kind: Kind) -> u64 {
        self.inner().broken.get(&kind).copied().unwrap_or(0)
    }

    /// The first requests that broke, and those that were not refused as they should be.
    pub fn broken_ones(&self) -> Vec<Broken> {
        self.inner().broken_kept.clone()
    }

    /// So many changes were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        const ACKNOWLEDGED: [&str; 6] = [
            "puts",
            "large puts",
            "completed",
            "deleted",
            "cancelled",
            "instant",
        ];
        let inner = self.inner();
        let counts = ACKNOWLEDGED
            .iter()
            .filter_map(|what| inner.counts.get(what));
        counts.sum()
    }

    /// Paths that changed since the last call.
    pub fn take_recent(&self) -> BTreeSet<Key> {
        std::mem::take(&mut self.inner().recent)
    }

    /// What was counted, as text.
    pub fn summary(&self) -> String {
        let inner = self.inner();
        let counts = inner
            .counts
            .iter()
            .map(|(what, count)| format!("{count} {what}"));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// Was there a mixed load, and did the kills hit requests?
    pub fn is_worth_something(&self, kills: u64) -> bool {
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
