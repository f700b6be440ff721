//! What must exist in the broker, as data.

use super::RabbitConfig;

/// Exchange through which jobs reach their queue.
pub(super) const EXCHANGE: &str = "cloudstore";
/// Exchange through which given-up jobs reach their queue.
pub(super) const DEAD_EXCHANGE: &str = "cloudstore.dead";

/// Jobs that a queue holds at most, some 200 MB. Beyond it the broker refuses jobs, and the rows
/// in the database wait for the sweep.
const QUEUE_BOUND: i64 = 1_000_000;
/// Given-up jobs that are kept; the oldest go first. Their rows remain.
const DEAD_BOUND: i64 = 100_000;

/// The value of a queue's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Text(String),
    Number(i64),
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A queue, and from which exchange it is fed by which key.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) arguments: Vec<(&'static str, Argument)>,
    pub(super) binding: Option<(&'static str, String)>,
}

/// Name of the queue in which a job rests before it is tried again.
pub(super) fn retry_queue(config: &RabbitConfig) -> String {
    format!("{}.retry", config.queue)
}

/// All queues. They are replicated where the broker is a cluster, and bounded.
pub(super) fn queues(config: &RabbitConfig) -> [Planned; 3] {
    let name = || config.queue.clone();
    let quorum = ("x-queue-type", Argument::from("quorum"));
    // The broker counts how often a job came back, which is one less than it was handed out.
    let returns = i64::from(config.delivery_limit.saturating_sub(1));
    let rest = i64::try_from(config.retry_delay.as_millis()).unwrap_or(i64::MAX);
    let bound = ("x-max-length", Argument::Number(QUEUE_BOUND));
    let refuse = ("x-overflow", Argument::from("reject-publish"));
    let jobs = Planned {
        name: name(),
        arguments: vec![
            quorum.clone(),
            ("x-delivery-limit", Argument::Number(returns)),
            ("x-dead-letter-exchange", DEAD_EXCHANGE.into()),
            bound.clone(),
            refuse.clone(),
        ],
        binding: Some((EXCHANGE, name())),
    };
    let retry = Planned {
        name: retry_queue(config),
        arguments: vec![
            quorum.clone(),
            ("x-message-ttl", Argument::Number(rest)),
            ("x-dead-letter-exchange", EXCHANGE.into()),
            ("x-dead-letter-routing-key", Argument::Text(name())),
            bound,
            refuse,
        ],
        binding: None,
    };
    let dead = Planned {
        name: format!("{}.dead", config.queue),
        arguments: vec![quorum, ("x-max-length", Argument::Number(DEAD_BOUND))],
        binding: Some((DEAD_EXCHANGE, name())),
    };
    [jobs, retry, dead]
}
