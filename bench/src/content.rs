//! What is uploaded: incompressible content in memory, of which no two are the same.
//!
//! All contents share one large random block, so that making one costs nothing during a
//! measurement, and each begins with bytes of its own, so that no server can recognise it.

use std::{cell::Cell, collections::VecDeque, ops::Range};

use bytes::Bytes;

use crate::error::{Context as _, Result};

/// Bytes at the start of a content that no other content has: one small file.
pub(crate) const HEAD_BYTES: usize = 4 << 10;

/// Makes contents.
pub(crate) struct Source {
    seed: [u8; 32],
    bulk: Bytes,
    made: Cell<u64>,
}

impl Source {
    /// Contents repeat their random bytes after `bulk_bytes` (at least 1).
    pub(crate) fn new(bulk_bytes: usize) -> Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("getting a random seed")?;
        let mut bulk = vec![0; bulk_bytes.max(1)];
        blake3::Hasher::new_keyed(&seed)
            .finalize_xof()
            .fill(&mut bulk);
        Ok(Self {
            seed,
            bulk: bulk.into(),
            made: Cell::new(0),
        })
    }

    /// A content of `size` bytes that was never made before.
    pub(crate) fn content(&self, size: u64) -> Content {
        let number = self.made.get() + 1;
        self.made.set(number);
        let mut head = vec![0; HEAD_BYTES];
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher
            .update(&number.to_le_bytes())
            .finalize_xof()
            .fill(&mut head);
        Content {
            head: head.into(),
            bulk: self.bulk.clone(),
            size,
        }
    }
}

/// The bytes of one file. Cloning it does not copy them.
#[derive(Clone)]
pub(crate) struct Content {
    head: Bytes,
    bulk: Bytes,
    size: u64,
}

impl Content {
    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of `range`, which must lie within the content, as slices of what is in memory.
    pub(crate) fn parts(&self, range: Range<u64>) -> VecDeque<Bytes> {
        assert!(
            range.end <= self.size,
            "invariant: the range lies within the content"
        );
        let head = self.head.len() as u64;
        let bulk = self.bulk.len() as u64;
        let mut parts = VecDeque::new();
        let mut at = range.start;
        while at < range.end {
            let (block, offset) = if at < head {
                (&self.head, at)
            } else {
                (&self.bulk, (at - head) % bulk)
            };
            let len = (block.len() as u64 - offset).min(range.end - at);
            parts.push_back(block.slice(index(offset)..index(offset + len)));
            at += len;
        }
        parts
    }

    /// BLAKE3 of the content in hexadecimal, which is how cloudstore names it.
    pub(crate) fn blake3(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in self.parts(0..self.size) {
            hasher.update(&part);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// An offset into a block that is in memory.
fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("invariant: blocks in memory have offsets that fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_pieces_of_the_whole() {
        let content = Source::new(10_000).unwrap().content(50_000);
        let whole = content
            .parts(0..50_000)
            .iter()
            .flatten()
            .copied()
            .collect::<Vec<u8>>();
        assert_eq!(whole.len(), 50_000);
        for range in [
            0..1,
            4_000..4_200,
            4_096..14_096,
            13_000..49_999,
            50_000..50_000,
        ] {
            let piece = content
                .parts(range.clone())
                .iter()
                .flatten()
                .copied()
                .collect::<Vec<_>>();
            assert_eq!(piece, whole[index(range.start)..index(range.end)]);
        }
        assert_eq!(content.blake3(), blake3::hash(&whole).to_hex().to_string());
    }

    #[test]
    fn no_two_contents_are_the_same() {
        let source = Source::new(16).unwrap();
        assert_ne!(source.content(64).blake3(), source.content(64).blake3());
    }
}
