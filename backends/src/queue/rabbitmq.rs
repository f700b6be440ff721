//! Jobs through RabbitMQ, for many processes on many hosts.
//!
//! A publisher and a consumer each have their own connection, because a broker that runs out of
//! memory or disk stops reading from those that publish, and acknowledgements must still get
//! through. Each of them runs in *sessions*: connect, declare the topology, work until the first
//! error, and start again, for ever.
//!
//! ```text
//!             exchange            queues
//! publish --> cloudstore -------> NAME  --(given up, or delivered too often)--+
//!                  ^                                                          v
//!                  +--(rested)--- NAME.retry            NAME.dead <-- cloudstore.dead
//! ```

mod config;
mod connection;
mod outbox;
mod sessions;
mod topology;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, future::try_join_all};
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, Consumer,
    message::Delivery as Received,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
        BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::config::RabbitConfig;
use self::{
    connection::{DECLARE_LIMIT, attend, connect},
    outbox::{Message, Outbox, Request, Target},
    sessions::{Failure, keep},
    topology::EXCHANGE,
};
use super::{Delivery, Error, Job, Outcome, Queue};

/// Channels on which one message each is under way. One at a time, because the client library
/// gives a returned message to whichever confirmation comes next on its channel.
const PUBLISHING: usize = 16;
/// How long the broker may take to confirm before the connection is taken for dead. Far more than
/// a flush on a busy disk.
const CONFIRM_LIMIT: Duration = Duration::from_secs(5);
/// How long settling a delivery may take, which is only sending it, before the connection is taken
/// for dead. When it is just breaking, the client library never says so: the session's end does.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of a traceparent that are looked at; W3C's version 00 has 55.
const TRACEPARENT_BYTES: usize = 128;

/// AMQP's number for a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;
/// Header with the W3C trace context.
const TRACEPARENT: &str = "traceparent";
/// Header that counts how often a job was retried.
const RETRIES: &str = "cloudstore-retries";

/// A queue in RabbitMQ. Connections close when it is dropped, and what was not settled then is
/// handed out to others.
#[derive(Debug)]
pub struct RabbitQueue {
    shared: Arc<Shared>,
    deliveries: tokio::sync::Mutex<mpsc::Receiver<Delivery>>,
    _sessions: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    config: RabbitConfig,
    outbox: Outbox,
    held: Mutex<Held>,
}

/// What the present consumer session has handed out.
#[derive(Debug, Default)]
struct Held {
    last_tag: u64,
    deliveries: HashMap<u64, Unsettled>,
}

#[derive(Debug)]
struct Unsettled {
    acker: Acker,
    retries: u32,
    session: CancellationToken,
}

impl Unsettled {
    /// What cannot be settled in its session comes again in the next.
    async fn settle(&self, how: impl Future<Output = lapin::Result<bool>>) {
        let bounded = timeout(SETTLE_LIMIT, how);
        match self.session.run_until_cancelled(bounded).await {
            Some(Ok(Ok(_))) => return,
            Some(Ok(Err(error))) => tracing::debug!(%error, "a delivery was not settled"),
            Some(Err(_)) => self.session.cancel(),
            None => {}
        }
        tracing::debug!("a delivery was not settled in time and comes again");
    }

    async fn acknowledge(&self) {
        self.settle(self.acker.ack(BasicAckOptions::default()))
            .await;
    }
}

impl RabbitQueue {
    /// A queue that connects in the background, and again whenever the connection is lost, for as
    /// long as it lives. Until then publishing fails at once.
    ///
    /// # Panics
    /// Outside a tokio runtime, and for a queue name that is too long.
    #[must_use]
    pub fn connect(config: RabbitConfig) -> Arc<Self> {
        assert!(config.queue.len() <= 200, "the queue's name is too long");
        let consume = config.consume;
        let (sender, receiver) = mpsc::channel(usize::from(config.prefetch.max(1)));
        let shared = Arc::new(Shared {
            config,
            outbox: Outbox::new(),
            held: Mutex::default(),
        });
        let mut sessions = JoinSet::new();
        sessions.spawn(keep("publisher", shared.clone(), publisher));
        if consume {
            let session = move |shared| consumer(shared, sender.clone());
            sessions.spawn(keep("consumer", shared.clone(), session));
        }
        Arc::new(Self {
            shared,
            deliveries: tokio::sync::Mutex::new(receiver),
            _sessions: sessions,
        })
    }

    /// Whether there is a connection to publish on, from now on.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.shared.outbox.watch()
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn publish(&self, job: &Job) -> Result<(), Error> {
        let message = Message {
            job: job.clone(),
            target: Target::Jobs,
            retries: 0,
        };
        self.shared.outbox.send(message).await
    }

    async fn next(&self) -> Result<Delivery, Error> {
        let mut deliveries = self.deliveries.lock().await;
        loop {
            // Closed only where nothing is consumed.
            let delivery = deliveries.recv().await.ok_or(Error::Closed)?;
            // Those of a lost session come again.
            if self.shared.held().deliveries.contains_key(&delivery.tag) {
                return Ok(delivery);
            }
        }
    }

    async fn settle(&self, delivery: Delivery, outcome: Outcome) -> Result<(), Error> {
        let held = self.shared.held().deliveries.remove(&delivery.tag);
        let Some(unsettled) = held else {
            // Its session is gone: it is handed out again, whatever is said now.
            return Ok(());
        };
        match outcome {
            Outcome::Ack => unsettled.acknowledge().await,
            Outcome::Dead => {
                tracing::warn!(blake3 = %delivery.job.blake3, "job given up");
                let never_again = BasicRejectOptions { requeue: false };
                let rejecting = unsettled.acker.reject(never_again);
                unsettled.settle(rejecting).await;
            }
            // Not lost with the caller, nor with this process: it is unsettled until then.
            Outcome::Retry => {
                tokio::spawn(retry(self.shared.clone(), unsettled, delivery.job));
            }
        }
        Ok(())
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a job into the queue where it rests, then settles it in its own. When that cannot be, it
/// rests here: there are never more of them than fetched ahead.
async fn retry(shared: Arc<Shared>, unsettled: Unsettled, job: Job) {
    let message = Message {
        job,
        target: Target::Retry,
        retries: unsettled.retries.saturating_add(1),
    };
    let Err(error) = shared.outbox.send(message).await else {
        return unsettled.acknowledge().await;
    };
    tracing::debug!(%error, "a job rests with its consumer");
    sleep(shared.config.retry_delay).await;
    let options = BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    };
    unsettled.settle(unsettled.acker.nack(options)).await;
}

/// Publishes what is in the outbox until the first error.
async fn publisher(shared: Arc<Shared>) -> Result<Infallible, Failure> {
    let connection = connect(&shared.config, "publisher").await?;
    let channels = try_join_all((0..PUBLISHING).map(|_| async {
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok::<_, lapin::Error>(channel)
    }));
    let channels = timeout(DECLARE_LIMIT, channels).await??;
    let _open = shared.outbox.opened();
    tracing::info!(queue = %shared.config.queue, "connected for publishing");
    let work = channels.iter().map(|channel| publish_all(&shared, channel));
    tokio::select! {
        ended = try_join_all(work) => Err(ended.expect_err("invariant: they only end by failing")),
        ended = attend(&connection, &shared.config) => ended,
    }
}

async fn publish_all(shared: &Shared, channel: &Channel) -> Result<Infallible, Failure> {
    loop {
        let Request { message, answer } = shared.outbox.next().await;
        metrics::counter!("cloudstore_queue_published_total").increment(1);
        let confirmed = timeout(CONFIRM_LIMIT, send(&shared.config, channel, &message)).await;
        let (answered, ended) = match confirmed {
            Ok(Ok(Confirmation::Ack(None))) => (Ok(()), None),
            Ok(Ok(Confirmation::Nack(_))) => (Err(Error::Full), None),
            Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::NotRequested)) => {
                let unroutable = "no queue took the message";
                (
                    Err(Error::Unavailable(unroutable.into())),
                    Some(unroutable.into()),
                )
            }
            Ok(Err(error)) => (
                Err(Error::Unavailable(error.clone().into())),
                Some(Failure::from(error)),
            ),
            Err(_) => {
                let late = "the broker does not confirm";
                (Err(Error::Unavailable(late.into())), Some(late.into()))
            }
        };
        let outcome = match answered {
            Ok(()) => "cloudstore_queue_confirmed_total",
            Err(_) => "cloudstore_queue_failed_total",
        };
        metrics::counter!(outcome).increment(1);
        // Whoever has stopped waiting has been told that it failed.
        let _ = answer.send(answered);
        if let Some(ended) = ended {
            return Err(ended);
        }
    }
}

async fn send(
    config: &RabbitConfig,
    channel: &Channel,
    message: &Message,
) -> Result<Confirmation, lapin::Error> {
    let (exchange, key) = match message.target {
        Target::Jobs => (EXCHANGE, config.queue.clone()),
        // The default exchange: straight to the queue of that name.
        Target::Retry => ("", topology::retry_queue(config)),
    };
    let Job {
        blake3,
        traceparent,
    } = &message.job;
    let mut headers = FieldTable::default();
    headers.insert(
        RETRIES.into(),
        AMQPValue::LongLongInt(message.retries.into()),
    );
    if let Some(traceparent) = traceparent {
        headers.insert(
            TRACEPARENT.into(),
            AMQPValue::LongString(traceparent.as_str().into()),
        );
    }
    let body = Job {
        blake3: blake3.clone(),
        traceparent: None,
    };
    let body = serde_json::to_vec(&body).expect("a job is plain JSON");
    // A short string: what is longer than an identity is none.
    let name = blake3.get(..64).unwrap_or_default();
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(format!("{name}-{}", Uuid::now_v7()).into())
        .with_headers(headers);
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let published = channel.basic_publish(exchange.into(), key.into(), options, &body, properties);
    published.await?.await
}

/// Takes deliveries until the first error.
async fn consumer(
    shared: Arc<Shared>,
    deliveries: mpsc::Sender<Delivery>,
) -> Result<Infallible, Failure> {
    let config = &shared.config;
    let connection = connect(config, "consumer").await?;
    let started = timeout(DECLARE_LIMIT, start_consumer(&connection, config)).await??;
    let (_channel, received) = started;
    tracing::info!(queue = %config.queue, "connected for consuming");
    let session = Session {
        shared: &shared,
        end: CancellationToken::new(),
    };
    tokio::select! {
        ended = take_all(&session, received, &deliveries) => ended,
        ended = attend(&connection, config) => ended,
        () = session.end.cancelled() => Err("deliveries cannot be settled".into()),
    }
}

/// What a session has handed out is forgotten when it ends.
struct Session<'a> {
    shared: &'a Shared,
    end: CancellationToken,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.end.cancel();
        self.shared.held().deliveries.clear();
    }
}

impl Session<'_> {
    fn hold(&self, acker: Acker, retries: u32) -> u64 {
        let mut held = self.shared.held();
        held.last_tag += 1;
        let tag = held.last_tag;
        let unsettled = Unsettled {
            acker,
            retries,
            session: self.end.clone(),
        };
        held.deliveries.insert(tag, unsettled);
        tag
    }
}

async fn start_consumer(
    connection: &Connection,
    config: &RabbitConfig,
) -> Result<(Channel, Consumer), lapin::Error> {
    let channel = connection.create_channel().await?;
    let each = BasicQosOptions { global: false };
    channel.basic_qos(config.prefetch.max(1), each).await?;
    let consumer = channel.basic_consume(
        config.queue.as_str().into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    Ok((channel.clone(), consumer.await?))
}

async fn take_all(
    session: &Session<'_>,
    mut received: Consumer,
    deliveries: &mpsc::Sender<Delivery>,
) -> Result<Infallible, Failure> {
    while let Some(message) = received.next().await {
        let message = message?;
        let Some(job) = decode(&message) else {
            tracing::error!(
                id = message
                    .properties
                    .message_id()
                    .as_ref()
                    .map(|id| id.as_str()),
                bytes = message.data.len(),
                "message is no job, given up"
            );
            message
                .reject(BasicRejectOptions { requeue: false })
                .await?;
            continue;
        };
        let retries = retries(&message);
        let redelivered = message.redelivered || retries > 0;
        if redelivered {
            metrics::counter!("cloudstore_queue_redelivered_total").increment(1);
        }
        let tag = session.hold(message.acker, retries);
        let delivery = Delivery {
            job,
            tag,
            redelivered,
        };
        deliveries.send(delivery).await?;
    }
    Err("the broker ended the delivery, the queue may have been deleted".into())
}

fn header<'a>(message: &'a Received, name: &str) -> Option<&'a AMQPValue> {
    message.properties.headers().as_ref()?.inner().get(name)
}

fn decode(message: &Received) -> Option<Job> {
    let mut job: Job = serde_json::from_slice(&message.data).ok()?;
    if let Some(AMQPValue::LongString(traceparent)) = header(message, TRACEPARENT) {
        let text = std::str::from_utf8(traceparent.as_bytes()).ok();
        let text = text.filter(|text| text.len() <= TRACEPARENT_BYTES);
        job.traceparent = text.map(ToOwned::to_owned);
    }
    Some(job)
}

fn retries(message: &Received) -> u32 {
    match header(message, RETRIES) {
        Some(AMQPValue::LongLongInt(retries)) => u32::try_from(*retries).unwrap_or_default(),
        _ => 0,
    }
}
