//! SHA-1 and SHA-256: other people's names for content. They find blobs and are compared with
//! what users declare; identity is the BLAKE3 root alone, so that a SHA-1 collision is harmless.

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// Lookup digests of a blob; `None` where it was not computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// SHA-1.
    pub sha1: Option<[u8; 20]>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
}

/// Computes the wanted digests in one pass.
#[derive(Clone, Debug, Default)]
pub struct Hasher {
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
}

impl Hasher {
    /// Chooses the digests to compute.
    #[must_use]
    pub fn new(sha1: bool, sha256: bool) -> Self {
        Self {
            sha1: sha1.then(Sha1::new),
            sha256: sha256.then(Sha256::new),
        }
    }

    /// Appends to the content.
    pub fn update(&mut self, data: &[u8]) {
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(data);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(data);
        }
    }

    /// Ends the content here.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha1: self.sha1.map(|hasher| hasher.finalize().into()),
            sha256: self.sha256.map(|hasher| hasher.finalize().into()),
        }
    }
}
