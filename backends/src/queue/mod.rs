//! Wake-ups for transfer-worker. The database row is the truth: a lost job costs time, not data.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub mod memory;
pub mod rabbitmq;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// "This blob is waiting to be transferred."
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Job {
    /// The blob's identity, 64 hexadecimal digits.
    pub blake3: String,
    /// W3C trace context of what caused it, for logs only: nothing depends on its arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A job that was handed out and waits to be settled.
#[derive(Debug)]
pub struct Delivery {
    /// The job.
    pub job: Job,
    /// The adapter's name for this delivery.
    pub tag: u64,
    /// It was handed out before.
    pub redelivered: bool,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or nothing to do.
    Ack,
    /// Hand it out again, later.
    Retry,
    /// Never hand it out again; keep it where an operator can see it, if the adapter can.
    Dead,
}

/// Why a queue operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The queue is at its bound; the sweep will find the row.
    #[error("the queue is full")]
    Full,
    /// The queue is closed for good.
    #[error("the queue is closed")]
    Closed,
    /// Anything that may work when tried again.
    #[error("queue: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// At-least-once delivery of jobs to competing consumers.
#[async_trait]
pub trait Queue: Send + Sync {
    /// `Ok` means that the queue has taken the job and will hand it out at least once (for as long
    /// as the queue itself lives). Never waits for consumers.
    async fn publish(&self, job: &Job) -> Result<(), Error>;

    /// Waits for the next job. Safe to cancel: a job is not lost with a dropped call.
    async fn next(&self) -> Result<Delivery, Error>;

    /// Ends a delivery. Every delivery is settled once; one that is never settled is handed out
    /// again when its consumer is gone, where the adapter can notice that.
    async fn settle(&self, delivery: Delivery, outcome: Outcome) -> Result<(), Error>;
}
