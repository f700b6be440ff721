//! BLAKE3 over groups that arrive in any order.
//!
//! BLAKE3 is a binary tree over chunks of 1 KiB whose left subtrees are always complete. A group
//! of 1 MiB is therefore a subtree, whatever comes after it, and its value depends on its bytes
//! and its place only. The single exception is a blob of one group, which is the whole tree: its
//! value is the root.

use std::{cmp::min, ops::Range};

use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::{GROUP_BYTES, GroupValue, Outboard, Root};

/// How many groups a blob of `size` bytes has. An empty blob has one, which is empty.
#[must_use]
pub const fn group_count(size: u64) -> u64 {
    match size.div_ceil(GROUP_BYTES) {
        0 => 1,
        count => count,
    }
}

/// Bytes of group `index`; 0 for the group of an empty blob and for those beyond the end.
#[must_use]
pub fn group_len(size: u64, index: u64) -> u64 {
    let start = index.saturating_mul(GROUP_BYTES);
    min(size.saturating_sub(start), GROUP_BYTES)
}

/// The groups that hold the bytes of `range`; none for an empty range.
#[must_use]
pub const fn groups_of(range: Range<u64>) -> Range<u64> {
    let first = range.start / GROUP_BYTES;
    if range.start >= range.end {
        return first..first;
    }
    first..range.end.div_ceil(GROUP_BYTES)
}

/// Value of a whole group in memory.
///
/// # Panics
/// When `data` is not as long as [`group_len`] says, or there is no such group.
#[must_use]
pub fn group_value(size: u64, index: u64, data: &[u8]) -> GroupValue {
    let mut hasher = GroupHasher::new(index);
    hasher.update(data);
    hasher.finish(size)
}

/// Hashes one group, piece by piece.
#[derive(Clone, Debug)]
pub struct GroupHasher {
    index: u64,
    hasher: blake3::Hasher,
}

impl GroupHasher {
    /// For the group that starts at byte `index *` [`GROUP_BYTES`] of the blob.
    ///
    /// # Panics
    /// When that offset does not fit 64 bits.
    #[must_use]
    pub fn new(index: u64) -> Self {
        let offset = index
            .checked_mul(GROUP_BYTES)
            .expect("invariant: offsets fit 64 bits");
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset);
        Self { index, hasher }
    }

    /// Which group this is.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Appends to the group.
    ///
    /// # Panics
    /// When the group would exceed [`GROUP_BYTES`].
    pub fn update(&mut self, data: &[u8]) {
        assert!(
            data.len() as u64 <= self.room(),
            "invariant: a group is at most GROUP_BYTES long"
        );
        self.hasher.update(data);
    }

    /// Bytes hashed so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.hasher.count()
    }

    /// Nothing hashed yet?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that still fit into the group.
    #[must_use]
    pub fn room(&self) -> u64 {
        GROUP_BYTES - self.len()
    }

    /// The group's value as one of several groups.
    ///
    /// # Panics
    /// When the group is empty: only an empty blob has an empty group, and that is a single one.
    #[must_use]
    pub fn value(&self) -> GroupValue {
        assert!(
            !self.is_empty(),
            "invariant: one of several groups is never empty"
        );
        self.hasher.finalize_non_root()
    }

    /// The blob's root, where this is its only group.
    ///
    /// # Panics
    /// When this is not group 0.
    #[must_use]
    pub fn root(&self) -> Root {
        assert_eq!(self.index, 0, "invariant: the only group is group 0");
        *self.hasher.finalize().as_bytes()
    }

    /// The group's value in a blob of `size` bytes: [`root`](Self::root) or
    /// [`value`](Self::value).
    ///
    /// # Panics
    /// When the group is not complete for that size.
    #[must_use]
    pub fn finish(&self, size: u64) -> GroupValue {
        let count = group_count(size);
        assert!(self.index < count, "invariant: the group lies in the blob");
        assert_eq!(
            self.len(),
            group_len(size, self.index),
            "invariant: the group is complete"
        );
        if count == 1 {
            self.root()
        } else {
            self.value()
        }
    }
}

/// Root of a blob of `size` bytes from the values of all its groups, in order.
///
/// # Panics
/// When the number of values is not [`group_count`].
#[must_use]
pub fn merge(size: u64, values: &[GroupValue]) -> Root {
    assert_eq!(
        values.len() as u64,
        group_count(size),
        "invariant: one value for each group"
    );
    match values {
        [only] => *only,
        _ => {
            let (left, right) = split(values);
            *merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes()
        }
    }
}

/// Value of a subtree below the root. The recursion is as deep as the tree: at most 44 levels.
fn subtree(values: &[GroupValue]) -> GroupValue {
    match values {
        [only] => *only,
        _ => {
            let (left, right) = split(values);
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// The left subtree is the largest complete one that leaves something for the right.
fn split(values: &[GroupValue]) -> (&[GroupValue], &[GroupValue]) {
    values.split_at(values.len().div_ceil(2).next_power_of_two())
}

/// Hashes a blob from its first byte to its last, its length being unknown until the end.
/// Holds 32 bytes for each MiB.
#[derive(Clone, Debug)]
pub struct TreeHasher {
    closed: Vec<GroupValue>,
    /// Stays open when it is full, until more arrives: only then is it known to be one of several.
    open: GroupHasher,
}

impl TreeHasher {
    /// For a blob from its beginning.
    #[must_use]
    pub fn new() -> Self {
        Self {
            closed: Vec::new(),
            open: GroupHasher::new(0),
        }
    }

    /// Goes on behind `values.len()` complete groups and `rest`, the bytes that follow them.
    ///
    /// `rest` may be as long as wanted. It must not be empty when there is exactly one value: that
    /// group may turn out to be the only one, and its root cannot be told from its value. Give the
    /// group's bytes instead.
    ///
    /// # Panics
    /// When that is violated.
    #[must_use]
    pub fn resume(values: Vec<GroupValue>, rest: &[u8]) -> Self {
        assert!(
            values.len() != 1 || !rest.is_empty(),
            "invariant: a lone group is given as bytes"
        );
        let open = GroupHasher::new(values.len() as u64);
        let mut hasher = Self {
            closed: values,
            open,
        };
        hasher.update(rest);
        hasher
    }

    /// Appends to the blob.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.open.room() == 0 {
                self.closed.push(self.open.value());
                self.open = GroupHasher::new(self.closed.len() as u64);
            }
            let room = usize::try_from(self.open.room()).unwrap_or(usize::MAX);
            let (piece, later) = data.split_at(min(room, data.len()));
            self.open.update(piece);
            data = later;
        }
    }

    /// Bytes hashed so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.closed.len() as u64 * GROUP_BYTES + self.open.len()
    }

    /// Values of the groups that are known to be complete and not the last one. The group at
    /// which the hasher is does not count before a byte beyond it has arrived.
    #[must_use]
    pub fn values(&self) -> &[GroupValue] {
        &self.closed
    }

    /// Ends the blob here.
    #[must_use]
    pub fn finish(self) -> Outboard {
        let (size, mut values) = (self.size(), self.closed);
        if values.is_empty() {
            values.push(self.open.root());
        } else if !self.open.is_empty() {
            values.push(self.open.value());
        }
        Outboard::from_values(size, values)
    }
}

impl Default for TreeHasher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_arithmetic_at_the_edges() {
        for (size, count, last) in [
            (0, 1, 0),
            (1, 1, 1),
            (GROUP_BYTES - 1, 1, GROUP_BYTES - 1),
            (GROUP_BYTES, 1, GROUP_BYTES),
            (GROUP_BYTES + 1, 2, 1),
            (5 * GROUP_BYTES, 5, GROUP_BYTES),
            (u64::MAX, 1 << 44, GROUP_BYTES - 1),
        ] {
            assert_eq!(group_count(size), count, "{size}");
            assert_eq!(group_len(size, count - 1), last, "{size}");
            assert_eq!(group_len(size, count), 0, "{size}");
        }
    }

    #[test]
    fn groups_of_a_range() {
        let g = GROUP_BYTES;
        assert_eq!(groups_of(0..1), 0..1);
        assert_eq!(groups_of(0..g), 0..1);
        assert_eq!(groups_of(g - 1..g + 1), 0..2);
        assert_eq!(groups_of(3 * g..5 * g), 3..5);
        assert!(groups_of(g..g).is_empty());
        assert_eq!(groups_of(u64::MAX - 1..u64::MAX), (1 << 44) - 1..1 << 44);
    }

    #[test]
    #[should_panic(expected = "at most GROUP_BYTES")]
    fn a_group_takes_no_more_than_its_size() {
        let mut hasher = GroupHasher::new(2);
        hasher.update(&vec![0; 1 << 20]);
        hasher.update(&[0]);
    }

    #[test]
    #[should_panic(expected = "the group is complete")]
    fn an_incomplete_group_has_no_value() {
        let _ = group_value(GROUP_BYTES + 5, 1, &[0; 4]);
    }
}
