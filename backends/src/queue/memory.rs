//! Jobs inside one process.
//!
//! The queue lives and dies with the process; the database rows remain and the sweep publishes
//! them again. For the same reason it does not watch consumers: a delivery that is dropped without
//! being settled is forgotten, and its row is found by the sweep when the lease on it ends.
//! Nothing is kept for deliveries that are handed out, so nothing can leak.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};

use super::{Delivery, Error, Job, Outcome, Queue};

/// How long a job rests after [`Outcome::Retry`]: long enough not to spin on what has just failed.
/// Real back-off is in the database row.
pub const RETRY_DELAY: Duration = Duration::from_millis(250);

/// A bounded queue in memory.
#[derive(Debug)]
pub struct MemoryQueue {
    bound: usize,
    state: Mutex<State>,
    /// Wakes a consumer that has nothing to do or waits for a resting job.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Waiting>,
    /// Earliest first. The number makes the order total and keeps equals in order.
    resting: BinaryHeap<Reverse<(Instant, u64, Job)>>,
    next_tag: u64,
    dead: u64,
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    redelivered: bool,
}

impl MemoryQueue {
    /// A queue that takes up to `bound` waiting jobs. Jobs that come back with [`Outcome::Retry`]
    /// are taken beyond it, as they were counted before; there are at most as many as consumers.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Jobs that wait to be handed out.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// How many jobs were given up with [`Outcome::Dead`].
    #[must_use]
    pub fn dead(&self) -> u64 {
        self.lock().dead
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that is ready, or the time at which the first resting one will be.
    fn take(&self) -> Result<Delivery, Option<Instant>> {
        let mut state = self.lock();
        state.wake_rested(Instant::now());
        let Some(Waiting { job, redelivered }) = state.ready.pop_front() else {
            return Err(state.resting.peek().map(|Reverse((due, ..))| *due));
        };
        if !state.ready.is_empty() {
            // Several publishes may have woken only one consumer: it passes the news on.
            self.changed.notify_one();
        }
        state.next_tag += 1;
        Ok(Delivery {
            job,
            tag: state.next_tag,
            redelivered,
        })
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.ready.len() + self.resting.len()
    }

    fn wake_rested(&mut self, now: Instant) {
        while self
            .resting
            .peek()
            .is_some_and(|Reverse((due, ..))| *due <= now)
        {
            let Reverse((_, _, job)) = self.resting.pop().expect("invariant: just seen");
            self.ready.push_back(Waiting {
                job,
                redelivered: true,
            });
        }
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn publish(&self, job: &Job) -> Result<(), Error> {
        let mut state = self.lock();
        if state.waiting() >= self.bound {
            return Err(Error::Full);
        }
        state.ready.push_back(Waiting {
            job: job.clone(),
            redelivered: false,
        });
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    async fn next(&self) -> Result<Delivery, Error> {
        loop {
            // Made before looking, so that a job published in between is not missed.
            let changed = self.changed.notified();
            match self.take() {
                Ok(delivery) => return Ok(delivery),
                Err(None) => changed.await,
                Err(Some(due)) => {
                    // Either way: look again.
                    let _ = tokio::time::timeout_at(due, changed).await;
                }
            }
        }
    }

    async fn settle(&self, delivery: Delivery, outcome: Outcome) -> Result<(), Error> {
        let Delivery { job, tag, .. } = delivery;
        match outcome {
            Outcome::Ack => {}
            Outcome::Retry => {
                let due = Instant::now() + RETRY_DELAY;
                self.lock().resting.push(Reverse((due, tag, job)));
                // Everybody who waits must know the time: a single one may go away before it.
                self.changed.notify_waiters();
            }
            Outcome::Dead => {
                self.lock().dead += 1;
                tracing::warn!(blake3 = %job.blake3, "job given up");
            }
        }
        Ok(())
    }
}
