//! The queue in RabbitMQ, on a real broker.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cloudstore_backends::queue::{
    Error, Job, Outcome, Queue as _,
    rabbitmq::{RabbitConfig, RabbitQueue},
    testing,
};
use cloudstore_service::testing::server;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions,
        QueuePurgeOptions,
    },
    types::FieldTable,
};
use tokio::{
    net::lookup_host,
    time::{Instant, interval, timeout},
};
use url::Url;
use uuid::Uuid;

use crate::switch::Switch;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// What waits for a confirmation gives up after a second; on a busy machine that takes longer.
const A_SECOND_OR_SO: Duration = Duration::from_secs(5);
/// Without waiting for that second.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A queue of the test's own. Call [`Own::delete`] at the end.
struct Own {
    config: RabbitConfig,
    _connection: Connection,
    /// The operator's.
    channel: Channel,
}

impl Own {
    async fn new() -> Self {
        let url = server("RABBITMQ_URL");
        let connection = Connection::connect(&url, ConnectionProperties::default());
        let connection = connection.await.unwrap();
        Self {
            config: RabbitConfig {
                url,
                queue: format!("cloudstore.test.{}", Uuid::now_v7()),
                prefetch: 10,
                delivery_limit: 3,
                retry_delay: Duration::from_millis(50),
                consume: true,
            },
            channel: connection.create_channel().await.unwrap(),
            _connection: connection,
        }
    }

    async fn connect(&self) -> Arc<RabbitQueue> {
        let queue = RabbitQueue::connect(self.config.clone());
        connected(&queue).await;
        queue
    }

    /// The address of the broker by another way.
    fn by(&self, switch: &Switch) -> RabbitConfig {
        let mut url = Url::parse(&self.config.url).unwrap();
        url.set_host(Some(&switch.address.ip().to_string()))
            .unwrap();
        url.set_port(Some(switch.address.port())).unwrap();
        RabbitConfig {
            url: url.into(),
            ..self.config.clone()
        }
    }

    async fn switch(&self) -> Switch {
        let url = Url::parse(&self.config.url).unwrap();
        let host = (url.host_str().unwrap(), url.port().unwrap_or(5672));
        let server = lookup_host(host).await.unwrap().next().unwrap();
        Switch::start(server).await
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.config.queue)
    }

    async fn delete_queue(&self, suffix: &str) {
        let options = QueueDeleteOptions::default();
        let deleted = self.channel.queue_delete(self.name(suffix).into(), options);
        deleted.await.unwrap();
    }

    async fn delete(self) {
        for suffix in ["", ".retry", ".dead"] {
            self.delete_queue(suffix).await;
        }
    }

    /// Waits for a given-up message.
    async fn dead(&self) -> Vec<u8> {
        let mut again = interval(Duration::from_millis(10));
        let found = async {
            loop {
                again.tick().await;
                let options = BasicGetOptions { no_ack: true };
                let got = self.channel.basic_get(self.name(".dead").into(), options);
                if let Some(message) = got.await.unwrap() {
                    return message.delivery.data;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap()
    }

    async fn count(&self, suffix: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::durable()
        };
        let none = FieldTable::default();
        let queue = self
            .channel
            .queue_declare(self.name(suffix).into(), passive, none);
        queue.await.unwrap().message_count()
    }
}

fn job(number: usize) -> Job {
    Job {
        blake3: format!("{number:064x}"),
        traceparent: None,
    }
}

async fn connected(queue: &RabbitQueue) {
    let mut state = queue.connected();
    let connected = state.wait_for(|connected| *connected);
    timeout(PATIENCE, connected).await.unwrap().unwrap();
}

async fn disconnected(queue: &RabbitQueue) {
    let mut state = queue.connected();
    let disconnected = state.wait_for(|connected| !connected);
    timeout(PATIENCE, disconnected).await.unwrap().unwrap();
}

async fn next(queue: &RabbitQueue) -> cloudstore_backends::queue::Delivery {
    timeout(PATIENCE, queue.next()).await.unwrap().unwrap()
}

/// Publishes until it works, as the sweep does.
async fn publish(queue: &RabbitQueue, job: &Job) {
    let published = async {
        while queue.publish(job).await.is_err() {
            connected(queue).await;
        }
    };
    timeout(PATIENCE, published).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn contract() {
    let own = Own::new().await;
    let queue = own.connect().await;
    testing::contract(queue.clone()).await;
    drop(queue);
    assert_eq!(own.count("").await + own.count(".retry").await, 0);
    assert_eq!(own.count(".dead").await, 1, "the one that was given up");
    own.delete().await;
}

#[tokio::test]
async fn without_a_broker_publishing_fails_at_once() {
    let own = Own::new().await;
    let config = RabbitConfig {
        url: "amqp://nobody:secret@127.0.0.1:1/%2f".into(),
        ..own.config.clone()
    };
    assert!(!format!("{config:?}").contains("secret"));
    let queue = RabbitQueue::connect(config);
    let started = Instant::now();
    let published = queue.publish(&job(1)).await;
    assert!(matches!(published, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < AT_ONCE);
}

#[tokio::test]
async fn a_queue_that_only_publishes_hands_out_nothing() {
    let own = Own::new().await;
    let consumer = own.connect().await;
    let config = RabbitConfig {
        consume: false,
        ..own.config.clone()
    };
    let publisher = RabbitQueue::connect(config);
    connected(&publisher).await;
    publisher.publish(&job(1)).await.unwrap();
    assert!(matches!(publisher.next().await, Err(Error::Closed)));
    let delivery = next(&consumer).await;
    consumer.settle(delivery, Outcome::Ack).await.unwrap();
    own.delete().await;
}

#[tokio::test]
async fn what_a_consumer_held_when_it_vanished_is_given_up_after_exactly_so_many_times() {
    let own = Own::new().await;
    let publisher = RabbitQueue::connect(RabbitConfig {
        consume: false,
        ..own.config.clone()
    });
    connected(&publisher).await;
    publish(&publisher, &job(1)).await;
    for time in 1..=own.config.delivery_limit {
        let crashing = own.connect().await;
        let delivery = next(&crashing).await;
        assert_eq!(delivery.job, job(1));
        assert_eq!(delivery.redelivered, time > 1);
    }
    let given_up: Job = serde_json::from_slice(&own.dead().await).unwrap();
    assert_eq!(given_up, job(1));
    assert_eq!(own.count("").await, 0);
    own.delete().await;
}

#[tokio::test]
async fn a_message_that_is_no_job_is_given_up_and_its_neighbours_are_not() {
    let own = Own::new().await;
    let queue = own.connect().await;
    let poison: [&[u8]; 3] = [b"", b"\xff\xfe", br#"{"blake4":"no"}"#];
    for (number, body) in poison.into_iter().enumerate() {
        publish(&queue, &job(number)).await;
        let properties = BasicProperties::default();
        let options = BasicPublishOptions::default();
        let key = own.name("").into();
        own.channel
            .basic_publish("cloudstore".into(), key, options, body, properties)
            .await
            .unwrap();
    }
    let mut seen = BTreeSet::new();
    for _ in 0..poison.len() {
        let delivery = next(&queue).await;
        seen.insert(delivery.job.blake3.clone());
        queue.settle(delivery, Outcome::Ack).await.unwrap();
    }
    assert_eq!(seen.len(), poison.len());
    let mut dead = BTreeSet::new();
    for _ in 0..poison.len() {
        dead.insert(own.dead().await);
    }
    assert_eq!(dead, poison.map(<[u8]>::to_vec).into());
    own.delete().await;
}

#[tokio::test]
async fn a_retried_job_rests_first_and_can_be_retried_for_ever() {
    let mut own = Own::new().await;
    own.config.retry_delay = Duration::from_millis(200);
    let queue = own.connect().await;
    let job = Job {
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..job(1)
    };
    publish(&queue, &job).await;
    let mut delivery = next(&queue).await;
    // More often than a consumer may vanish.
    for _ in 0..own.config.delivery_limit + 1 {
        let started = Instant::now();
        queue.settle(delivery, Outcome::Retry).await.unwrap();
        delivery = next(&queue).await;
        assert!(started.elapsed() >= own.config.retry_delay);
        assert!(delivery.redelivered);
        assert_eq!(delivery.job, job);
    }
    queue.settle(delivery, Outcome::Ack).await.unwrap();
    own.delete().await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_comes_back() {
    let own = Own::new().await;
    let queue = own.connect().await;
    publish(&queue, &job(1)).await;
    let held = next(&queue).await;
    own.delete_queue("").await;
    own.delete_queue(".retry").await;
    own.delete_queue(".dead").await;
    // What was held has no place any more; its row is found by the sweep.
    queue.settle(held, Outcome::Ack).await.unwrap();
    publish(&queue, &job(2)).await;
    let delivery = next(&queue).await;
    assert_eq!(delivery.job, job(2));
    queue.settle(delivery, Outcome::Retry).await.unwrap();
    let delivery = next(&queue).await;
    queue.settle(delivery, Outcome::Dead).await.unwrap();
    own.dead().await;
    own.delete().await;
}

#[tokio::test]
async fn what_no_queue_takes_is_an_error_and_is_mended() {
    let mut own = Own::new().await;
    own.config.consume = false;
    let queue = own.connect().await;
    let key = own.name("");
    own.channel
        .queue_unbind(
            key.clone().into(),
            "cloudstore".into(),
            key.into(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let published = queue.publish(&job(1)).await;
    assert!(matches!(published, Err(Error::Unavailable(_))));
    disconnected(&queue).await;
    publish(&queue, &job(2)).await;
    assert_eq!(own.count("").await, 1);
    own.delete().await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_used_as_it_is() {
    let mut own = Own::new().await;
    drop(own.connect().await);
    own.config.delivery_limit = 7;
    own.config.retry_delay = Duration::from_millis(70);
    let queue = own.connect().await;
    publish(&queue, &job(1)).await;
    let delivery = next(&queue).await;
    queue.settle(delivery, Outcome::Ack).await.unwrap();
    own.delete().await;
}

/// Its consumer is just starting when the publisher is connected, and gets no job to keep.
#[tokio::test]
async fn a_queue_that_is_dropped_while_it_connects_holds_nothing() {
    const DROPPED: u32 = 20;
    let mut own = Own::new().await;
    own.config.delivery_limit = DROPPED;
    for _ in 0..DROPPED {
        drop(own.connect().await);
    }
    let queue = own.connect().await;
    publish(&queue, &job(1)).await;
    let delivery = next(&queue).await;
    queue.settle(delivery, Outcome::Ack).await.unwrap();
    own.delete().await;
}

#[tokio::test]
async fn deliveries_of_a_lost_connection_come_again_and_settling_them_is_harmless() {
    let own = Own::new().await;
    let switch = own.switch().await;
    let queue = RabbitQueue::connect(own.by(&switch));
    connected(&queue).await;
    for number in 0..3 {
        publish(&queue, &job(number)).await;
    }
    let held = next(&queue).await;
    // The others are fetched ahead, but not taken.
    switch.cut();
    disconnected(&queue).await;
    switch.join();
    connected(&queue).await;
    let again = next(&queue).await;
    for outcome in [Outcome::Ack, Outcome::Retry, Outcome::Dead] {
        let stale = cloudstore_backends::queue::Delivery {
            job: held.job.clone(),
            tag: held.tag,
            redelivered: held.redelivered,
        };
        queue.settle(stale, outcome).await.unwrap();
    }
    let mut seen = BTreeSet::from([again.job.blake3.clone()]);
    assert!(again.redelivered);
    queue.settle(again, Outcome::Ack).await.unwrap();
    for _ in 0..2 {
        let delivery = next(&queue).await;
        assert!(seen.insert(delivery.job.blake3.clone()), "handed out twice");
        queue.settle(delivery, Outcome::Ack).await.unwrap();
    }
    drop(queue);
    assert_eq!(own.count(".dead").await, 0);
    own.delete().await;
}

/// Publishers and a connection that breaks all the time: what was acknowledged arrives.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_job_is_lost_when_connections_break() {
    const JOBS: usize = 600;
    let own = Own::new().await;
    let switch = own.switch().await;
    let publisher = RabbitQueue::connect(RabbitConfig {
        consume: false,
        ..own.by(&switch)
    });
    let consumer = RabbitQueue::connect(own.by(&switch));
    connected(&publisher).await;
    let publishers: Vec<_> = (0..4)
        .map(|part| {
            let queue = publisher.clone();
            tokio::spawn(async move {
                let mut slowest = Duration::ZERO;
                for number in (part..JOBS).step_by(4) {
                    loop {
                        let started = Instant::now();
                        let published = queue.publish(&job(number)).await;
                        slowest = slowest.max(started.elapsed());
                        if published.is_ok() {
                            break;
                        }
                        connected(&queue).await;
                    }
                }
                slowest
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    let mut cuts = 0;
    while seen.len() < JOBS {
        let delivery = next(&consumer).await;
        seen.insert(delivery.job.blake3.clone());
        consumer.settle(delivery, Outcome::Ack).await.unwrap();
        if seen.len() >= (cuts + 1) * 100 && cuts < 5 {
            cuts += 1;
            switch.cut();
            disconnected(&publisher).await;
            switch.join();
        }
    }
    assert_eq!(cuts, 5);
    for publisher in publishers {
        assert!(publisher.await.unwrap() < A_SECOND_OR_SO);
    }
    drop((publisher, consumer));
    let purged = own
        .channel
        .queue_purge(own.name("").into(), QueuePurgeOptions::default());
    // At least once: some may have come twice.
    purged.await.unwrap();
    assert_eq!(own.count(".dead").await, 0);
    own.delete().await;
}

#[tokio::test]
async fn a_broker_that_stalls_delays_a_publisher_by_a_second_and_then_no_more() {
    let own = Own::new().await;
    let switch = own.switch().await;
    let queue = RabbitQueue::connect(own.by(&switch));
    connected(&queue).await;
    publish(&queue, &job(1)).await;
    switch.stall();
    let started = Instant::now();
    let published = queue.publish(&job(2)).await;
    assert!(matches!(published, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < A_SECOND_OR_SO);
    disconnected(&queue).await;
    let started = Instant::now();
    assert!(queue.publish(&job(3)).await.is_err());
    assert!(started.elapsed() < AT_ONCE);
    switch.join();
    publish(&queue, &job(4)).await;
    drop(queue);
    own.delete().await;
}
