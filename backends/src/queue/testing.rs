//! What every queue must do. The queue is the suite's own, and empty.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Delivery, Job, Outcome, Queue};

/// Far longer than any redelivery takes, so that a lost job fails the suite instead of stopping it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the whole suite against an empty queue.
///
/// # Panics
/// When the queue breaks a promise.
pub async fn contract(queue: Arc<dyn Queue>) {
    a_published_job_comes_once(&queue).await;
    a_waiting_consumer_is_woken(&queue).await;
    retry_hands_out_again(&queue).await;
    dead_and_acknowledged_jobs_stay_away(&queue).await;
    a_cancelled_call_loses_nothing(&queue).await;
    consumers_compete(&queue).await;
}

fn job(name: &str) -> Job {
    let mut blake3 = hex::encode(name);
    blake3.extend(std::iter::repeat_n('0', 64 - blake3.len()));
    let traceparent = format!("00-{}-0000000000000001-01", &blake3[..32]);
    Job {
        blake3,
        traceparent: Some(traceparent),
    }
}

async fn next(queue: &dyn Queue) -> Delivery {
    let delivery = tokio::time::timeout(PATIENCE, queue.next()).await;
    delivery
        .expect("a job arrives in time")
        .expect("the queue works")
}

async fn publish(queue: &dyn Queue, job: &Job) {
    queue.publish(job).await.expect("the queue has room");
}

async fn settle(queue: &dyn Queue, delivery: Delivery, outcome: Outcome) {
    queue
        .settle(delivery, outcome)
        .await
        .expect("a delivery can be settled");
}

async fn a_published_job_comes_once(queue: &Arc<dyn Queue>) {
    for name in ["once", "twice"] {
        publish(&**queue, &job(name)).await;
        let delivery = next(&**queue).await;
        assert_eq!(delivery.job, job(name));
        assert!(!delivery.redelivered);
        settle(&**queue, delivery, Outcome::Ack).await;
    }
}

async fn a_waiting_consumer_is_woken(queue: &Arc<dyn Queue>) {
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { next(&*queue).await }
    });
    // Let it get to its waiting place; the promise holds wherever it is.
    tokio::task::yield_now().await;
    publish(&**queue, &job("wake")).await;
    let delivery = waiting.await.expect("the consumer is woken");
    assert_eq!(delivery.job, job("wake"));
    settle(&**queue, delivery, Outcome::Ack).await;
}

async fn retry_hands_out_again(queue: &Arc<dyn Queue>) {
    publish(&**queue, &job("again")).await;
    let mut delivery = next(&**queue).await;
    for _ in 0..2 {
        settle(&**queue, delivery, Outcome::Retry).await;
        delivery = next(&**queue).await;
        assert_eq!(delivery.job, job("again"));
        assert!(delivery.redelivered);
    }
    settle(&**queue, delivery, Outcome::Ack).await;
}

/// A retried job published later arrives: what was settled for good would have come before it.
async fn dead_and_acknowledged_jobs_stay_away(queue: &Arc<dyn Queue>) {
    for (name, outcome) in [("dead", Outcome::Dead), ("done", Outcome::Ack)] {
        publish(&**queue, &job(name)).await;
        let delivery = next(&**queue).await;
        settle(&**queue, delivery, outcome).await;
    }
    publish(&**queue, &job("marker")).await;
    let marker = next(&**queue).await;
    settle(&**queue, marker, Outcome::Retry).await;
    let marker = next(&**queue).await;
    assert_eq!(marker.job, job("marker"));
    settle(&**queue, marker, Outcome::Ack).await;
}

async fn a_cancelled_call_loses_nothing(queue: &Arc<dyn Queue>) {
    for round in 0..20 {
        let consumer = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        let expected = job(&format!("cancel {round}"));
        publish(&**queue, &expected).await;
        consumer.abort();
        let delivery = match consumer.await {
            Ok(delivery) => delivery.expect("the queue works"),
            Err(_) => next(&**queue).await,
        };
        assert_eq!(delivery.job, expected);
        settle(&**queue, delivery, Outcome::Ack).await;
    }
}

async fn consumers_compete(queue: &Arc<dyn Queue>) {
    const JOBS: usize = 40;
    const CONSUMERS: usize = 4;
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..JOBS / CONSUMERS {
                    let delivery = next(&*queue).await;
                    seen.push(delivery.job.blake3.clone());
                    settle(&*queue, delivery, Outcome::Ack).await;
                }
                seen
            })
        })
        .collect();
    let mut jobs = BTreeSet::new();
    for number in 0..JOBS {
        let job = job(&format!("compete {number}"));
        publish(&**queue, &job).await;
        jobs.insert(job.blake3);
    }
    let mut seen = BTreeSet::new();
    for consumer in consumers {
        for blake3 in consumer.await.expect("every consumer gets its share") {
            assert!(seen.insert(blake3), "a job was handed out twice");
        }
    }
    assert_eq!(seen, jobs);
}
