//! The bytes of a range as a stream: one group is sent while the next is read.

use std::{
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use cloudstore_content::Outboard;
use futures::Stream;
use tokio::sync::{Semaphore, mpsc, watch};

use super::{
    Error,
    admission::Admission,
    buffers::{Pool, Slot},
    groups::{Groups, Source},
};

/// Groups that a stream holds in memory: one being sent, one read ahead.
const GROUPS_PER_STREAM: usize = 2;

/// An opened blob.
#[derive(Clone)]
pub struct Content {
    source: Source,
    outboard: Arc<Outboard>,
    pool: Arc<Pool>,
    /// [`GROUPS_PER_STREAM`] permits, shared by everything that is read from this blob.
    slots: Arc<Semaphore>,
    stream: Arc<Admission>,
}

impl Content {
    pub(super) fn new(
        source: Source,
        outboard: Arc<Outboard>,
        pool: Arc<Pool>,
        stream: Arc<Admission>,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(GROUPS_PER_STREAM));
        Self {
            source,
            outboard,
            pool,
            slots,
            stream,
        }
    }

    /// The name in this node's cache, if that is where it is read from.
    #[must_use]
    pub fn cached_name(&self) -> Option<&str> {
        match &self.source {
            Source::Cached { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Length of the blob in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.outboard.size()
    }

    /// The bytes of a range (cut to the blob). The first group is read and verified before this
    /// returns, so that the most likely failures are known before an answer begins.
    ///
    /// # Errors
    /// Those of the first group; later ones come through the stream.
    pub async fn read(&self, range: Range<u64>) -> Result<Pieces, Error> {
        let range = range.start.min(self.size())..range.end.min(self.size());
        if range.is_empty() {
            return Ok(Pieces::none());
        }
        let left = range.end - range.start;
        let (outboard, pool) = (self.outboard.clone(), self.pool.clone());
        let mut groups = Groups::open(&self.source, outboard, pool, range).await?;
        // The caller wants bytes now: waiting for a slot that only the caller can free would be a
        // deadlock.
        let permit = self.slots.clone().try_acquire_owned().ok();
        let first = groups.next(Slot::new(permit, self.stream.clone())).await?;
        let rest = (!groups.is_done()).then(|| Rest::start(self, groups));
        Ok(Pieces {
            first: Some(first),
            rest,
            left,
        })
    }
}

/// A stream of verified bytes. It yields exactly the range or ends with an error.
///
/// At most two groups are in memory as long as the consumer drops what it was given before it
/// waits for the third; one that keeps everything gets more memory instead of a deadlock.
pub struct Pieces {
    first: Option<Bytes>,
    rest: Option<Rest>,
    /// Bytes still to be yielded.
    left: u64,
}

struct Rest {
    groups: mpsc::Receiver<Result<Bytes, Error>>,
    /// The consumer waits and nothing is on its way but for want of a slot.
    starving: Arc<watch::Sender<bool>>,
}

impl Rest {
    fn start(content: &Content, groups: Groups) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let starving = Arc::new(watch::Sender::new(false));
        tokio::spawn(read_ahead(
            content.clone(),
            groups,
            sender,
            starving.clone(),
        ));
        Self {
            groups: receiver,
            starving,
        }
    }
}

impl Pieces {
    /// Nothing at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            first: None,
            rest: None,
            left: 0,
        }
    }

    /// All the bytes, when they are here already.
    ///
    /// # Errors
    /// The stream itself, when there is more to read.
    pub fn into_bytes(mut self) -> Result<Bytes, Self> {
        if self.rest.is_some() {
            return Err(self);
        }
        Ok(self.first.take().unwrap_or_default())
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let next = match (this.first.take(), &mut this.rest) {
            (Some(first), _) => Some(Ok(first)),
            (None, None) => None,
            (None, Some(rest)) => {
                let next = rest.groups.poll_recv(cx);
                if next.is_pending() {
                    rest.starving.send_replace(true);
                }
                ready!(next)
            }
        };
        Poll::Ready(match next {
            Some(Ok(bytes)) => {
                this.left = this.left.saturating_sub(bytes.len() as u64);
                Some(Ok(bytes))
            }
            Some(Err(error)) => {
                (this.rest, this.left) = (None, 0);
                Some(Err(error))
            }
            // The reading task is gone: a short body must never look complete.
            None if this.left > 0 => {
                (this.rest, this.left) = (None, 0);
                Some(Err(Error::Unavailable("the reader stopped".into())))
            }
            None => None,
        })
    }
}

/// Reads group after group until the end, the first error, or the consumer's going away.
async fn read_ahead(
    content: Content,
    mut groups: Groups,
    sender: mpsc::Sender<Result<Bytes, Error>>,
    starving: Arc<watch::Sender<bool>>,
) {
    let mut hunger = starving.subscribe();
    while !groups.is_done() {
        let load = async {
            let slot = slot(&content, &mut hunger).await;
            groups.next(slot).await
        };
        let group = tokio::select! {
            group = load => group,
            () = sender.closed() => return,
        };
        let failed = group.is_err();
        // Before the send: afterwards the consumer may already be waiting for the next one.
        starving.send_replace(false);
        if sender.send(group).await.is_err() || failed {
            return;
        }
    }
}

/// Waits until a buffer of the stream is free, or until the consumer shows that it will not free
/// one without getting more.
async fn slot(content: &Content, hunger: &mut watch::Receiver<bool>) -> Slot {
    let starved = async {
        // The sender lives as long as the caller.
        let _ = hunger.wait_for(|starving| *starving).await;
    };
    let permit = tokio::select! {
        biased;
        permit = content.slots.clone().acquire_owned() => permit.ok(),
        () = starved => None,
    };
    Slot::new(permit, content.stream.clone())
}
