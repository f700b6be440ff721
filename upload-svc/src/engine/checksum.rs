//! Checksums of single requests, by which a client knows that its bytes arrived as it sent them.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::Result;

/// Bytes read back at a time.
const READ: usize = 512 * 1024;

/// Says what checksum a body must have, after it has ended: it may come in a trailer.
pub type Check = Box<dyn FnOnce() -> Result<Checksum> + Send>;

/// How a checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 16 bytes.
    Md5,
    /// 4 bytes, most significant first; the polynomial of zip and Ethernet.
    Crc32,
    /// 32 bytes.
    Blake3,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha256,
        Self::Md5,
        Self::Crc32,
        Self::Blake3,
    ];

    /// As protocols call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
            Self::Crc32 => "crc32",
            Self::Blake3 => "blake3",
        }
    }

    /// Bytes of a checksum.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Md5 => 16,
            Self::Crc32 => 4,
        }
    }
}

/// What the bytes of a request must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    value: Vec<u8>,
}

impl Checksum {
    /// `None` when the value has the wrong length for the algorithm.
    #[must_use]
    pub fn new(algorithm: Algorithm, value: Vec<u8>) -> Option<Self> {
        (value.len() == algorithm.len()).then_some(Self { algorithm, value })
    }

    /// Do these bytes of a file have it? Reads what was written a moment ago, so from memory.
    pub(crate) fn matches(&self, file: &File, range: Range<u64>) -> io::Result<bool> {
        let found = match self.algorithm {
            Algorithm::Sha1 => digest::<Sha1>(file, range)?,
            Algorithm::Sha256 => digest::<Sha256>(file, range)?,
            Algorithm::Md5 => digest::<Md5>(file, range)?,
            Algorithm::Crc32 => {
                let mut hasher = crc32fast::Hasher::new();
                read(file, range, |bytes| hasher.update(bytes))?;
                hasher.finalize().to_be_bytes().to_vec()
            }
            Algorithm::Blake3 => {
                let mut hasher = cloudstore_content::tree::TreeHasher::new();
                read(file, range, |bytes| hasher.update(bytes))?;
                hasher.finish().root().to_vec()
            }
        };
        Ok(found == self.value)
    }
}

fn digest<D: Digest>(file: &File, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut hasher = D::new();
    read(file, range, |bytes| hasher.update(bytes))?;
    Ok(hasher.finalize().to_vec())
}

fn read(file: &File, range: Range<u64>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    let mut at = range.start;
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap_or(READ);
        let piece = &mut buffer[..left.min(READ)];
        file.read_exact_at(piece, at)?;
        take(piece);
        at += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers for "123456789", from the definitions of the algorithms.
    #[test]
    fn known_answers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "..123456789..").unwrap();
        let file = File::open(&path).unwrap();
        for (algorithm, answer) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (
                Algorithm::Sha256,
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            ),
        ] {
            let value = hex::decode(answer).unwrap();
            let checksum = Checksum::new(algorithm, value.clone()).unwrap();
            assert!(checksum.matches(&file, 2..11).unwrap(), "{algorithm:?}");
            assert!(!checksum.matches(&file, 1..11).unwrap(), "{algorithm:?}");
            assert!(Checksum::new(algorithm, value[1..].to_vec()).is_none());
        }
        let value = blake3::hash(b"123456789").as_bytes().to_vec();
        let checksum = Checksum::new(Algorithm::Blake3, value).unwrap();
        assert!(checksum.matches(&file, 2..11).unwrap());
        for algorithm in Algorithm::ALL {
            assert!(!algorithm.name().is_empty() && algorithm.len() >= 4);
        }
    }
}
