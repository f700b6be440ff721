//! Connections to the broker: made, looked after, and closed.

use std::{convert::Infallible, ops::Deref, sync::Arc, time::Duration};

use lapin::{
    Connection, ConnectionProperties, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError, constants::REPLY_SUCCESS},
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};
use tokio::{
    runtime::Handle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    RabbitConfig,
    sessions::Failure,
    topology::{self, Argument, DEAD_EXCHANGE, EXCHANGE, Planned},
};

/// How long connecting may take. Longer than the broker's own limit of ten seconds for the
/// handshake: an attempt given up here leaves a thread behind until the broker closes it.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How long the TCP connection may take, in milliseconds.
const DIAL_LIMIT_MS: u64 = 5_000;
/// Seconds between heartbeats; a peer that is silent for twice as long is dead.
const HEARTBEAT: u16 = 10;
/// How long declaring everything may take.
pub(super) const DECLARE_LIMIT: Duration = Duration::from_secs(10);
/// Whether the connection still lives is looked at so often, for when nothing is published.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What exists in the broker is made sure of so often, as somebody may delete an idle queue.
const DECLARE_EVERY: Duration = Duration::from_secs(30);
/// How long the broker may take to agree that a connection ends.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A connection that is closed when it is dropped.
///
/// The client library's own does not close while one of its calls is under way: a consumer that was
/// just being started would be handed deliveries for as long as the process lives.
#[derive(Debug)]
pub(super) struct Open(Arc<Connection>);

impl Deref for Open {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Where the runtime is gone the process ends, and its connections with it.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let connection = self.0.clone();
        runtime.spawn(async move {
            let closing = connection.close(REPLY_SUCCESS, "OK".into());
            if !matches!(timeout(CLOSE_LIMIT, closing).await, Ok(Ok(()))) {
                tracing::debug!("a connection was lost before it was closed");
            }
        });
    }
}

/// A connection, with everything declared.
pub(super) async fn connect(config: &RabbitConfig, role: &str) -> Result<Open, Failure> {
    let mut uri: AMQPUri = config.url.parse()?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    uri.query.connection_timeout.get_or_insert(DIAL_LIMIT_MS);
    let properties =
        ConnectionProperties::default().with_connection_name(format!("cloudstore {role}").into());
    let connecting = Connection::connect_uri(uri, properties);
    let connection = Open(Arc::new(timeout(CONNECT_LIMIT, connecting).await??));
    for queue in declare(&connection, config).await? {
        tracing::warn!(
            queue,
            "queue has other arguments than configured and is used as it is"
        );
    }
    Ok(connection)
}

/// Returns when the connection is lost, or of no use. Makes sure meanwhile that everything is there.
pub(super) async fn attend(
    connection: &Connection,
    config: &RabbitConfig,
) -> Result<Infallible, Failure> {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut declared = Instant::now();
    loop {
        look.tick().await;
        if !connection.status().connected() {
            return Err("connection lost".into());
        }
        if connection.status().blocked() {
            return Err("the broker is out of memory or disk and takes nothing".into());
        }
        if declared.elapsed() >= DECLARE_EVERY {
            declare(connection, config).await?;
            declared = Instant::now();
        }
    }
}

/// The result are the queues that are there with other arguments.
async fn declare(connection: &Connection, config: &RabbitConfig) -> Result<Vec<String>, Failure> {
    let declared = async {
        let channel = connection.create_channel().await?;
        for exchange in [EXCHANGE, DEAD_EXCHANGE] {
            let options = ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            };
            let none = FieldTable::default();
            channel
                .exchange_declare(exchange.into(), ExchangeKind::Direct, options, none)
                .await?;
        }
        let mut others = Vec::new();
        for planned in topology::queues(config) {
            if !declare_queue(connection, &planned).await? {
                others.push(planned.name.clone());
            }
            if let Some((exchange, key)) = planned.binding {
                let options = QueueBindOptions::default();
                let (queue, key) = (planned.name.into(), key.into());
                channel
                    .queue_bind(queue, exchange.into(), key, options, FieldTable::default())
                    .await?;
            }
        }
        Ok(others)
    };
    timeout(DECLARE_LIMIT, declared).await?
}

/// Whether the queue is as planned. One that is there with other arguments is used as it is:
/// changing them means deleting it, which an operator does when it is empty.
async fn declare_queue(connection: &Connection, planned: &Planned) -> Result<bool, Failure> {
    let mut arguments = FieldTable::default();
    for (name, value) in &planned.arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        arguments.insert((*name).into(), value);
    }
    let name = || planned.name.as_str().into();
    // Being refused closes the channel.
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions::durable();
    match channel.queue_declare(name(), durable, arguments).await {
        Err(error) if is_mismatch(&error) => {
            let passive = QueueDeclareOptions {
                passive: true,
                ..durable
            };
            let channel = connection.create_channel().await?;
            let none = FieldTable::default();
            channel.queue_declare(name(), passive, none).await?;
            Ok(false)
        }
        declared => {
            declared?;
            Ok(true)
        }
    }
}

fn is_mismatch(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}
