//! The queue in memory.

use std::{sync::Arc, time::Duration};

use cloudstore_backends::queue::{Error, Job, Outcome, Queue as _, memory::MemoryQueue, testing};

fn job(name: &str) -> Job {
    Job {
        blake3: name.into(),
        traceparent: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contract() {
    testing::contract(Arc::new(MemoryQueue::new(100))).await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let queue = MemoryQueue::new(2);
    queue.publish(&job("a")).await.unwrap();
    queue.publish(&job("b")).await.unwrap();
    assert!(matches!(queue.publish(&job("c")).await, Err(Error::Full)));
    let delivery = queue.next().await.unwrap();
    queue.publish(&job("c")).await.unwrap();
    // What comes back was counted before, and is never refused.
    queue.settle(delivery, Outcome::Retry).await.unwrap();
    assert_eq!(queue.waiting(), 3);
    assert!(matches!(queue.publish(&job("d")).await, Err(Error::Full)));
}

#[tokio::test]
async fn dead_jobs_are_counted() {
    let queue = MemoryQueue::new(2);
    queue.publish(&job("a")).await.unwrap();
    let delivery = queue.next().await.unwrap();
    queue.settle(delivery, Outcome::Dead).await.unwrap();
    assert_eq!((queue.dead(), queue.waiting()), (1, 0));
}

#[tokio::test]
async fn a_resting_job_is_not_lost_with_the_consumer_that_waited_for_it() {
    let queue = Arc::new(MemoryQueue::new(2));
    let wait = || {
        let queue = queue.clone();
        tokio::spawn(async move { queue.next().await.unwrap() })
    };
    queue.publish(&job("a")).await.unwrap();
    let delivery = queue.next().await.unwrap();
    let (first, second) = (wait(), wait());
    tokio::task::yield_now().await;
    queue.settle(delivery, Outcome::Retry).await.unwrap();
    tokio::task::yield_now().await;
    first.abort();
    let redelivered = match first.await {
        Ok(delivery) => delivery,
        Err(_) => tokio::time::timeout(Duration::from_secs(30), second)
            .await
            .unwrap()
            .unwrap(),
    };
    assert!(redelivered.redelivered);
}
