//! What reads and writes have in common, so that a read can know of the write before it.

use std::fmt;

use bytes::Bytes;

use crate::names;

/// Bytes of a hash in a key. 128 bits of BLAKE3: nobody finds two texts for one key.
const HASH_BYTES: usize = 16;

/// What a write changes and a read is about. The text is a hash tag in Redis' keys, so that all
/// keys of a subject are in one slot of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Subject(String);

impl Subject {
    /// An account with everything it has.
    pub(super) fn account(id: &Bytes) -> Self {
        Self(format!("a{}", hex::encode(id)))
    }

    /// An account that is looked up by its name.
    pub(super) fn username(name: &str) -> Self {
        Self(format!("u{}", hash(&names::key(name))))
    }

    /// A session by itself.
    pub(super) fn session(id: &Bytes) -> Self {
        Self(format!("s{}", hex::encode(id)))
    }

    /// The public keys.
    pub(super) fn keys() -> Self {
        Self("keys".to_owned())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A short name for a text that may be long and may be anything.
pub(super) fn hash(text: &str) -> String {
    hex::encode(&blake3::hash(text.as_bytes()).as_bytes()[..HASH_BYTES])
}
