//! The BLAKE3 of content, taken while it is read to be sent, so that nothing is read twice.

use std::sync::{Arc, Mutex, PoisonError};

use crate::client::body::OnRead;

/// The digest of what was read from the beginning. What is read again, after a broken connection,
/// counts once.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    hasher: blake3::Hasher,
    /// Bytes hashed: all before this offset.
    at: u64,
}

impl Running {
    /// To be told what is read.
    pub(super) fn on_read(&self) -> OnRead {
        let this = self.clone();
        Arc::new(move |at, bytes| this.update(at, bytes))
    }

    fn update(&self, at: u64, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = inner.at.checked_sub(at).map(usize::try_from);
        // A piece behind a gap is no help; nor is one that brings nothing new.
        let Some(fresh) = known
            .and_then(Result::ok)
            .and_then(|known| bytes.get(known..))
        else {
            return;
        };
        inner.hasher.update(fresh);
        inner.at += fresh.len() as u64;
    }

    /// In hexadecimal, if all of `size` bytes have been read.
    pub(super) fn finish(&self, size: u64) -> Option<String> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.at == size).then(|| inner.hasher.finalize().to_hex().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_twice_counts_once_and_gaps_are_noticed() {
        let data = b"0123456789";
        let running = Running::default();
        running.update(0, &data[..4]);
        running.update(6, &data[6..]);
        assert_eq!(running.finish(10), None, "a gap");
        running.update(2, &data[2..7]);
        running.update(0, &data[..3]);
        running.update(7, &data[7..]);
        let expected = blake3::hash(data).to_hex().to_string();
        assert_eq!(running.finish(10), Some(expected));
        assert_eq!(running.finish(11), None);
        let empty = blake3::hash(b"").to_hex().to_string();
        assert_eq!(Running::default().finish(0), Some(empty));
    }
}
