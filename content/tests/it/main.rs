//! The crate's promises, checked from outside.

#![expect(
    clippy::unwrap_used,
    reason = "test code: a wrong number fails the test"
)]

use cloudstore_content::GROUP_BYTES;

mod digest;
mod outboard;
mod proof;
mod tree;

/// `size` bytes that look random and follow from the seed.
fn content(size: u64, seed: u8) -> Vec<u8> {
    let mut data = vec![0; usize::try_from(size).unwrap()];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut data);
    data
}

/// The bytes of a group.
fn group(data: &[u8], index: u64) -> &[u8] {
    let group_bytes = usize::try_from(GROUP_BYTES).unwrap();
    let start = usize::try_from(index).unwrap() * group_bytes;
    &data[start..data.len().min(start + group_bytes)]
}
