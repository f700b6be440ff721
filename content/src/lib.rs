//! What a blob is: a BLAKE3 tree over groups of 1 MiB, lookup digests, proof of possession.
//!
//! No input or output happens here; the command line client and the servers share it.
//!
//! - [`tree`] hashes groups in any order and merges their values into the blob's root
//! - [`Outboard`] is the list of group values, with which any group is verified on its own
//! - [`digest`] computes SHA-1 and SHA-256, by which blobs are looked up but never identified
//! - [`proof`] lets a client show that it holds the content whose root it names

pub mod digest;
mod outboard;
pub mod proof;
pub mod tree;

pub use outboard::{Damaged, Outboard};

/// Bytes of every group but the last: a power of two, as a group must be a subtree of BLAKE3's
/// tree.
pub const GROUP_BYTES: u64 = 1 << 20;

/// Identity of a blob: the BLAKE3-256 hash of its content, as `b3sum` prints it.
pub type Root = [u8; 32];

/// What a group contributes to the tree: its non-root chaining value, or the root itself where
/// the blob has only one group.
pub type GroupValue = [u8; 32];
