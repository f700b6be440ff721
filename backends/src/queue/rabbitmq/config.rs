//! How RabbitMQ is used.

use std::{fmt, time::Duration};

/// Which broker, and how it is used.
#[derive(Clone)]
pub struct RabbitConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`.
    pub url: String,
    /// Name of the queue, at most 200 bytes. `.retry` and `.dead` are appended for its companions.
    pub queue: String,
    /// Jobs that are handed out and not settled, at least 1. Only these are fetched ahead.
    pub prefetch: u16,
    /// How often a job is handed out at most, when its consumers vanish without settling it, before
    /// it is given up. [`Outcome::Retry`](crate::queue::Outcome::Retry) starts anew. At least 1.
    pub delivery_limit: u32,
    /// How long a job rests after [`Outcome::Retry`](crate::queue::Outcome::Retry).
    pub retry_delay: Duration,
    /// Jobs are taken, too, not only published.
    pub consume: bool,
}

impl fmt::Debug for RabbitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address: there is a password in it.
        f.debug_struct("RabbitConfig")
            .field("queue", &self.queue)
            .field("prefetch", &self.prefetch)
            .field("delivery_limit", &self.delivery_limit)
            .field("retry_delay", &self.retry_delay)
            .field("consume", &self.consume)
            .finish_non_exhaustive()
    }
}
