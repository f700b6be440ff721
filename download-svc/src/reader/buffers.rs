//! Group buffers that are used again: a fresh mebibyte costs 256 page faults, which is more than
//! reading it from the page cache.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use cloudstore_content::GROUP_BYTES;
use tokio::sync::OwnedSemaphorePermit;

use super::admission::Admission;

/// Idle buffers kept for the next group, over all streams: 8 MiB.
const MAX_IDLE: usize = 8;
/// Groups shorter than this get a buffer of their own size; faulting in a few pages is cheap, and
/// small files must not hold a mebibyte each.
const SMALL: usize = 64 << 10;

/// The idle buffers.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// A buffer for `len` bytes (at most a group) of any content.
    pub(super) fn take(self: &Arc<Self>, len: usize, slot: Slot) -> Buffer {
        let data = if len < SMALL {
            vec![0; len]
        } else {
            let idle = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            idle.unwrap_or_else(|| vec![0; usize::try_from(GROUP_BYTES).unwrap_or(usize::MAX)])
        };
        Buffer {
            data,
            len,
            pool: self.clone(),
            _slot: slot,
        }
    }

    fn give_back(&self, data: Vec<u8>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(data);
        }
    }
}

/// The right to hold one of a stream's buffers, and the stream's own right to exist.
#[derive(Debug)]
pub(super) struct Slot {
    _buffer: Option<OwnedSemaphorePermit>,
    _stream: Arc<Admission>,
}

impl Slot {
    /// `buffer` is `None` when the consumer asked for more than its share.
    pub(super) fn new(buffer: Option<OwnedSemaphorePermit>, stream: Arc<Admission>) -> Self {
        Self {
            _buffer: buffer,
            _stream: stream,
        }
    }
}

/// A group's bytes. Dropping it returns the memory to the pool and the slot to the stream.
#[derive(Debug)]
pub(super) struct Buffer {
    data: Vec<u8>,
    len: usize,
    pool: Arc<Pool>,
    _slot: Slot,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.data[..self.len]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.data[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.data.len() >= SMALL {
            self.pool.give_back(mem::take(&mut self.data));
        }
    }
}
