//! The list of a blob's group values: what is needed to verify any group on its own.

use std::ops::Range;

use crate::{GroupValue, Root, tree};

/// Bytes of one value in the encoded form.
const VALUE_BYTES: u64 = 32;

/// What does not belong to the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// The data of this group is not what the blob has there, or has the wrong length.
    #[error("group {0} is damaged")]
    Group(u64),
    /// The group values do not lead to the blob's root.
    #[error("the outboard is damaged")]
    Outboard,
    /// The outboard does not have one value for each group.
    #[error("the outboard has {found} bytes instead of {expected}")]
    OutboardLength {
        /// Bytes that a blob of that size needs.
        expected: u64,
        /// Bytes that were given.
        found: u64,
    },
}

/// Size, root and group values of a blob; they always belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outboard {
    size: u64,
    root: Root,
    values: Vec<GroupValue>,
}

impl Outboard {
    /// Computes the root from trusted values, in order.
    ///
    /// # Panics
    /// When the number of values is not [`group_count`](tree::group_count).
    #[must_use]
    pub fn from_values(size: u64, values: Vec<GroupValue>) -> Self {
        Self {
            size,
            root: tree::merge(size, &values),
            values,
        }
    }

    /// Outboard of a blob that has one group only: the root says it all.
    ///
    /// # Panics
    /// When a blob of that size has several groups.
    #[must_use]
    pub fn single(size: u64, root: Root) -> Self {
        Self::from_values(size, vec![root])
    }

    /// Length of the blob in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Identity of the blob.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// One value for each group, in order.
    #[must_use]
    pub fn values(&self) -> &[GroupValue] {
        &self.values
    }

    /// The values one after the other, and nothing else.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.values.concat()
    }

    /// Takes values from an untrusted place; a blob of that size and root has only one list.
    ///
    /// # Errors
    /// [`Damaged`] when the length is wrong or the values do not lead to the root.
    pub fn decode(size: u64, root: &Root, encoded: &[u8]) -> Result<Self, Damaged> {
        let expected = tree::group_count(size) * VALUE_BYTES;
        let found = encoded.len() as u64;
        if found != expected {
            return Err(Damaged::OutboardLength { expected, found });
        }
        let (values, _) = encoded.as_chunks();
        let outboard = Self::from_values(size, values.to_vec());
        if outboard.root == *root {
            Ok(outboard)
        } else {
            Err(Damaged::Outboard)
        }
    }

    /// Is this the data of that whole group?
    ///
    /// # Errors
    /// [`Damaged::Group`] when it is not, also when there is no such group.
    pub fn verify_group(&self, index: u64, data: &[u8]) -> Result<(), Damaged> {
        let value = usize::try_from(index)
            .ok()
            .and_then(|index| self.values.get(index));
        let complete = data.len() as u64 == tree::group_len(self.size, index);
        match value {
            Some(value) if complete && tree::group_value(self.size, index, data) == *value => {
                Ok(())
            }
            _ => Err(Damaged::Group(index)),
        }
    }

    /// The groups that must be verified for the bytes of `range`; none for an empty range. What
    /// lies beyond the blob is left out.
    #[must_use]
    pub fn groups_of(&self, range: Range<u64>) -> Range<u64> {
        tree::groups_of(range.start.min(self.size)..range.end.min(self.size))
    }
}
