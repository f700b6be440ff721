//! What this process knows by itself of recent writes: it needs no Redis for its own.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cloudstore_service::position::is_covered;

use super::subject::Subject;

/// Subjects with a position, at most: about 20 MB. The oldest are forgotten first, which costs
/// clients that send no position their guarantee, but only where Redis is away, too.
const MAX_POSITIONS: usize = 100_000;
/// Subjects whose write Redis does not know of, at most; beyond, all are taken for such.
const MAX_DIRTY: usize = 10_000;
/// Counters of writes; subjects share them, which only keeps some calls from sharing a load.
const COUNTERS: usize = 4_096;

/// The later of two positions; the second where that cannot be known.
pub(super) fn later(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) if is_covered(&second, &first) => Some(first),
        (first, None) => first,
        (_, second) => second,
    }
}

/// The positions of recent writes.
#[derive(Debug)]
pub(super) struct Positions {
    lifetime: Duration,
    state: Mutex<PositionsState>,
}

#[derive(Debug, Default)]
struct PositionsState {
    positions: HashMap<Subject, (Instant, String)>,
    /// In order of time; a subject that was written to again is here more than once.
    order: VecDeque<(Instant, Subject)>,
}

impl Positions {
    /// Each is kept for a lifetime.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            state: Mutex::default(),
        }
    }

    /// That of the subject's last write.
    pub(super) fn get(&self, subject: &Subject) -> Option<String> {
        let state = lock(&self.state);
        let (at, position) = state.positions.get(subject)?;
        (at.elapsed() < self.lifetime).then(|| position.clone())
    }

    /// A write reached a position. Answers of concurrent writes come in any order.
    pub(super) fn note(&self, subject: &Subject, position: &str) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let old = state.positions.remove(subject);
        let old = old.map(|(_, position)| position);
        let Some(position) = later(old, Some(position.to_owned())) else {
            return;
        };
        state.positions.insert(subject.clone(), (now, position));
        state.order.push_back((now, subject.clone()));
        state.forget(now, self.lifetime);
    }
}

impl PositionsState {
    fn forget(&mut self, now: Instant, lifetime: Duration) {
        while let Some((at, _)) = self.order.front() {
            if self.order.len() <= MAX_POSITIONS && now.duration_since(*at) < lifetime {
                break;
            }
            let Some((at, subject)) = self.order.pop_front() else {
                break;
            };
            if self
                .positions
                .get(&subject)
                .is_some_and(|last| last.0 == at)
            {
                self.positions.remove(&subject);
            }
        }
    }
}

/// Counts writes, so that a read does not join a load that began before the write before it.
#[derive(Debug)]
pub(super) struct Writes {
    hasher: RandomState,
    counters: Box<[AtomicU64]>,
}

impl Default for Writes {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Writes {
    /// Changes with every write to the subject, and with some others.
    pub(super) fn count(&self, subject: &Subject) -> u64 {
        self.counter(subject).load(Ordering::SeqCst)
    }

    /// After a write, before its answer.
    pub(super) fn add(&self, subject: &Subject) {
        self.counter(subject).fetch_add(1, Ordering::SeqCst);
    }

    fn counter(&self, subject: &Subject) -> &AtomicU64 {
        let hash = self.hasher.hash_one(subject);
        let at = usize::try_from(hash % COUNTERS as u64).unwrap_or_default();
        &self.counters[at]
    }
}

/// Subjects whose last write Redis does not know of. This process asks no cache about them.
#[derive(Debug)]
pub(super) struct Dirty {
    /// How long an entry may live that such a write should have ended.
    entries_live: Duration,
    state: Mutex<DirtyState>,
}

#[derive(Debug, Default)]
struct DirtyState {
    subjects: HashMap<Subject, u64>,
    last: u64,
    /// Until then every subject is dirty: there were too many to remember.
    all_until: Option<Instant>,
    telling: bool,
}

impl Dirty {
    pub(super) fn new(entries_live: Duration) -> Self {
        Self {
            entries_live,
            state: Mutex::default(),
        }
    }

    pub(super) fn contains(&self, subject: &Subject) -> bool {
        let mut state = lock(&self.state);
        if state.all_until.is_some_and(|until| until <= Instant::now()) {
            state.all_until = None;
        }
        state.all_until.is_some() || state.subjects.contains_key(subject)
    }

    /// Redis could not be told of a write. True when the caller has to start telling it again.
    pub(super) fn add(&self, subject: Subject) -> bool {
        let mut state = lock(&self.state);
        state.last += 1;
        let number = state.last;
        if state.subjects.len() < MAX_DIRTY || state.subjects.contains_key(&subject) {
            state.subjects.insert(subject, number);
        } else {
            state.all_until = Some(Instant::now() + self.entries_live);
        }
        !std::mem::replace(&mut state.telling, true)
    }

    /// What has been added so far, to be passed to [`Dirty::told`].
    pub(super) fn mark(&self) -> u64 {
        lock(&self.state).last
    }

    /// Redis has been told after the mark, so of everything that was added before it.
    pub(super) fn told(&self, subject: &Subject, mark: u64) {
        let mut state = lock(&self.state);
        if state
            .subjects
            .get(subject)
            .is_some_and(|&added| added <= mark)
        {
            state.subjects.remove(subject);
        }
    }

    /// Whom to tell of; `None` when that is done, until something is added again.
    pub(super) fn pending(&self) -> Option<HashSet<Subject>> {
        let mut state = lock(&self.state);
        if state.subjects.is_empty() {
            state.telling = false;
            return None;
        }
        Some(state.subjects.keys().cloned().collect())
    }
}

/// Every update here is complete before anything could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(number: usize) -> Subject {
        Subject::username(&number.to_string())
    }

    #[test]
    fn the_later_position_stays() {
        let positions = Positions::new(Duration::from_secs(60));
        for (noted, kept) in [
            ("0-1-5", "0-1-5"),
            ("0-1-9", "0-1-9"),
            ("0-1-7", "0-1-9"),
            ("other", "other"),
        ] {
            positions.note(&subject(1), noted);
            assert_eq!(positions.get(&subject(1)).as_deref(), Some(kept));
        }
        assert_eq!(positions.get(&subject(2)), None);
        assert_eq!(
            later(Some("0-1-5".to_owned()), None).as_deref(),
            Some("0-1-5")
        );
        let none = Positions::new(Duration::ZERO);
        none.note(&subject(1), "0-1-5");
        assert_eq!(none.get(&subject(1)), None);
        none.note(&subject(2), "0-1-5");
        assert!(lock(&none.state).order.len() <= 1);
    }

    #[test]
    fn positions_are_bounded() {
        let positions = Positions::new(Duration::from_secs(60));
        for number in 0..MAX_POSITIONS + 10 {
            positions.note(&subject(number), "0-1-5");
        }
        assert_eq!(lock(&positions.state).positions.len(), MAX_POSITIONS);
        assert_eq!(positions.get(&subject(0)), None);
        assert!(positions.get(&subject(MAX_POSITIONS)).is_some());
    }

    #[test]
    fn what_was_added_after_the_mark_stays() {
        let dirty = Dirty::new(Duration::from_secs(60));
        assert!(dirty.add(subject(1)));
        let mark = dirty.mark();
        assert!(!dirty.add(subject(2)), "somebody tells already");
        dirty.told(&subject(1), mark);
        dirty.told(&subject(2), mark);
        assert!(!dirty.contains(&subject(1)));
        assert!(dirty.contains(&subject(2)));
        assert_eq!(dirty.pending().map(|all| all.len()), Some(1));
        dirty.told(&subject(2), dirty.mark());
        assert_eq!(dirty.pending(), None);
        assert!(dirty.add(subject(3)), "it has to be started again");
    }

    #[test]
    fn too_many_are_all() {
        let dirty = Dirty::new(Duration::ZERO);
        for number in 0..=MAX_DIRTY {
            dirty.add(subject(number));
        }
        lock(&dirty.state).all_until = Some(Instant::now() + Duration::from_secs(60));
        assert!(dirty.contains(&subject(MAX_DIRTY + 5)));
        lock(&dirty.state).all_until = Some(Instant::now());
        assert!(!dirty.contains(&subject(MAX_DIRTY + 5)));
        assert!(dirty.contains(&subject(0)));
    }
}
