//! Which blobs stay when there is no room for all: recency in two segments, and frequency at the
//! door.
//!
//! What is filled begins on *probation*; a read there moves it to the *protected* segment, which has
//! most of the room and gives its oldest back to probation. Victims are the oldest on probation. A
//! newcomer gets in only if it was read more often lately than the victims it would replace, so
//! that one pass over many files does not empty the cache.

use std::collections::{BTreeMap, HashMap};

use cloudstore_content::Root;
use cloudstore_service::cache::Generations;

/// Of the room, in tenths, what the protected segment may have.
const PROTECTED_TENTHS: u64 = 8;
/// Reads after which a blob is worth a copy.
const WORTH: u32 = 2;
/// Blobs whose reads are counted, in each of two generations: what is not read for so many other
/// blobs is forgotten.
const COUNTED: usize = 65_536;
/// Counts stop here, so that what was read very often once can be overtaken.
const MAX_COUNT: u32 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Probation,
    Protected,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    size: u64,
    /// Distinguishes this copy's file from an earlier one's.
    number: u64,
    segment: Segment,
    /// Key in the segment's order.
    used: u64,
}

/// A copy: its blob and the number in its file's name.
pub(super) type Copy = (Root, u64);

/// What is held, and what was read lately.
pub(super) struct Policy {
    bound: u64,
    bytes: u64,
    protected_bytes: u64,
    held: HashMap<Root, Held>,
    /// Oldest use first.
    probation: BTreeMap<u64, Root>,
    protected: BTreeMap<u64, Root>,
    reads: Generations<Root, u32>,
    tick: u64,
}

impl Policy {
    pub(super) fn new(bound: u64) -> Self {
        Self {
            bound,
            bytes: 0,
            protected_bytes: 0,
            held: HashMap::new(),
            probation: BTreeMap::new(),
            protected: BTreeMap::new(),
            reads: Generations::new(COUNTED),
            tick: 0,
        }
    }

    /// Bytes of all copies.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts a read. The number of the copy if there is one.
    pub(super) fn read(&mut self, root: &Root) -> Option<u64> {
        let count = self.reads.get(root).unwrap_or(0);
        self.reads
            .insert(*root, count.saturating_add(1).min(MAX_COUNT));
        let held = *self.held.get(root)?;
        self.remove_order(&held);
        self.insert_order(root, held.size, held.number, Segment::Protected);
        self.shrink_protected();
        Some(held.number)
    }

    /// Is a blob that is not held worth a copy now?
    pub(super) fn is_worth(&mut self, root: &Root, size: u64) -> bool {
        let count = self.reads.get(root).unwrap_or(0);
        count >= WORTH && self.fits(root, size)
    }

    /// Is there room for a blob, if need be in place of others that are read less?
    pub(super) fn fits(&mut self, root: &Root, size: u64) -> bool {
        if size > self.bound || self.held.contains_key(root) {
            return false;
        }
        let count = self.reads.get(root).unwrap_or(0);
        let victims = self.victims(size);
        victims
            .iter()
            .all(|victim| self.reads.get(victim).unwrap_or(0) < count)
    }

    /// The blobs that would have to go for so many bytes.
    fn victims(&self, size: u64) -> Vec<Root> {
        let mut over = (self.bytes + size).saturating_sub(self.bound);
        let oldest = self.probation.values().chain(self.protected.values());
        let mut victims = Vec::new();
        for root in oldest {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(self.held[root].size);
            victims.push(*root);
        }
        victims
    }

    /// Adds a copy. The copies that have to go for it.
    pub(super) fn insert(&mut self, root: &Root, size: u64, number: u64) -> Vec<Copy> {
        let mut gone: Vec<Copy> = self.remove(root).into_iter().collect();
        for victim in self.victims(size) {
            gone.extend(self.remove(&victim));
        }
        self.bytes += size;
        self.insert_order(root, size, number, Segment::Probation);
        gone
    }

    /// Forgets a copy.
    pub(super) fn remove(&mut self, root: &Root) -> Option<Copy> {
        let held = self.held.remove(root)?;
        self.remove_order(&held);
        self.bytes -= held.size;
        Some((*root, held.number))
    }

    fn insert_order(&mut self, root: &Root, size: u64, number: u64, segment: Segment) {
        self.tick += 1;
        let used = self.tick;
        match segment {
            Segment::Probation => self.probation.insert(used, *root),
            Segment::Protected => {
                self.protected_bytes += size;
                self.protected.insert(used, *root)
            }
        };
        let held = Held {
            size,
            number,
            segment,
            used,
        };
        self.held.insert(*root, held);
    }

    fn remove_order(&mut self, held: &Held) {
        match held.segment {
            Segment::Probation => self.probation.remove(&held.used),
            Segment::Protected => {
                self.protected_bytes -= held.size;
                self.protected.remove(&held.used)
            }
        };
    }

    fn shrink_protected(&mut self) {
        let most = self.bound / 10 * PROTECTED_TENTHS;
        while self.protected_bytes > most {
            let Some((_, oldest)) = self.protected.pop_first() else {
                return;
            };
            let held = self.held[&oldest];
            self.protected_bytes -= held.size;
            self.insert_order(&oldest, held.size, held.number, Segment::Probation);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root(number: u8) -> Root {
        [number; 32]
    }

    fn policy() -> Policy {
        Policy::new(100)
    }

    #[test]
    fn the_second_read_is_worth_a_copy() {
        let mut policy = policy();
        policy.read(&root(1));
        assert!(!policy.is_worth(&root(1), 10));
        policy.read(&root(1));
        assert!(policy.is_worth(&root(1), 10));
        assert!(!policy.is_worth(&root(1), 101), "larger than the cache");
    }

    #[test]
    fn a_pass_over_many_files_does_not_empty_the_cache() {
        let mut policy = policy();
        for number in 0..10 {
            for _ in 0..5 {
                policy.read(&root(number));
            }
            policy.insert(&root(number), 10, 0);
        }
        for number in 100..200 {
            policy.read(&root(number));
            policy.read(&root(number));
            assert!(!policy.is_worth(&root(number), 10));
        }
        for _ in 0..6 {
            policy.read(&root(200));
        }
        assert!(policy.is_worth(&root(200), 10));
        assert_eq!(
            policy.insert(&root(200), 10, 0),
            [(root(0), 0)],
            "the oldest"
        );
    }

    #[test]
    fn what_is_read_again_is_protected() {
        let mut policy = policy();
        for number in 0..10 {
            policy.insert(&root(number), 10, 0);
        }
        assert_eq!(policy.read(&root(0)), Some(0));
        assert_eq!(policy.insert(&root(50), 10, 0), [(root(1), 0)]);
        // Protected blobs that were not read for long go back.
        for number in 2..10 {
            policy.read(&root(number));
        }
        policy.insert(&root(51), 10, 0);
        assert_eq!(policy.insert(&root(52), 10, 0), [(root(0), 0)]);
    }

    proptest! {
        #[test]
        fn never_more_than_the_bound(
            steps in prop::collection::vec((0_u8..30, 1_u64..60, 0_u8..3), 1..300)
        ) {
            let mut policy = policy();
            let mut model: HashMap<Root, u64> = HashMap::new();
            for (number, size, step) in steps {
                let root = root(number);
                match step {
                    0 => {
                        prop_assert_eq!(policy.read(&root).is_some(), model.contains_key(&root));
                    }
                    1 => {
                        for (gone, _) in policy.insert(&root, size, 0) {
                            model.remove(&gone);
                        }
                        model.insert(root, size);
                    }
                    _ => {
                        prop_assert_eq!(policy.remove(&root).is_some(), model.remove(&root).is_some());
                    }
                }
                prop_assert_eq!(policy.bytes(), model.values().sum::<u64>());
                prop_assert!(policy.bytes() <= 100);
                let protected: u64 = policy.protected.values().map(|root| policy.held[root].size).sum();
                prop_assert_eq!(protected, policy.protected_bytes);
                prop_assert_eq!(policy.probation.len() + policy.protected.len(), policy.held.len());
            }
        }
    }
}
