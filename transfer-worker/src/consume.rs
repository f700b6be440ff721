//! Wake-ups: many jobs that come together are claimed in one call.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cloudstore_backends::queue::{Delivery, Error, Outcome};
use cloudstore_content::Root;
use tokio::time::{Instant, timeout_at};

use crate::Worker;

/// How long a burst is collected once its first job is there: not noticeable, and long enough for
/// what a busy upload-svc publishes side by side.
const BURST: Duration = Duration::from_millis(5);

/// Takes jobs until the worker stops or the queue is closed for good.
pub(crate) async fn consume(worker: Arc<Worker>) {
    let mut failures = 0;
    loop {
        let first = tokio::select! {
            biased;
            () = worker.stop.cancelled() => return,
            first = worker.queue.next() => first,
        };
        let worked = match first {
            Ok(first) => {
                let deliveries = burst(&worker, first).await;
                work_on(&worker, deliveries).await
            }
            Err(Error::Closed) => return tracing::warn!("queue closed, the sweep goes on alone"),
            Err(error) => {
                tracing::warn!(%error, "queue does not answer");
                false
            }
        };
        failures = if worked { 0 } else { failures + 1 };
        if failures > 0 {
            worker.rest(failures).await;
        }
    }
}

async fn burst(worker: &Worker, first: Delivery) -> Vec<Delivery> {
    let batch = usize::try_from(worker.config.batch).unwrap_or(usize::MAX);
    let until = Instant::now() + BURST;
    let mut deliveries = vec![first];
    while deliveries.len() < batch
        && let Ok(Ok(next)) = timeout_at(until, worker.queue.next()).await
    {
        deliveries.push(next);
    }
    deliveries
}

/// Claims what the deliveries name and starts on it. False when dbproxy does not answer.
async fn work_on(worker: &Arc<Worker>, deliveries: Vec<Delivery>) -> bool {
    let mut named: HashMap<Root, Vec<Delivery>> = HashMap::new();
    for delivery in deliveries {
        let mut root = Root::default();
        match hex::decode_to_slice(&delivery.job.blake3, &mut root) {
            Ok(()) => named.entry(root).or_default().push(delivery),
            Err(_) => {
                tracing::error!(job = delivery.job.blake3, "job names no blob");
                worker.settle(vec![delivery], Outcome::Dead).await;
            }
        }
    }
    let names: Vec<_> = named.keys().copied().collect();
    let count = u32::try_from(names.len()).expect("a batch is a u32 at most");
    let room = tokio::select! {
        room = worker.room.clone().acquire_many_owned(count) => room.ok(),
        () = worker.stop.cancelled() => None,
    };
    let Some(mut room) = room.filter(|_| count > 0) else {
        worker
            .settle(named.into_values().flatten().collect(), Outcome::Retry)
            .await;
        return true;
    };
    let config = &worker.config;
    let claims = worker
        .ledger
        .claim(&names, count, config.lease, &config.name)
        .await;
    let (claims, rest, answered) = match claims {
        // What cannot be claimed is being transferred, is done, or is not due yet.
        Ok(claims) => (claims, Outcome::Ack, true),
        Err(error) => {
            tracing::warn!(%error, "transfers not claimed");
            (Vec::new(), Outcome::Retry, false)
        }
    };
    for claim in claims {
        let deliveries = named.remove(&claim.root).unwrap_or_default();
        let place = room.split(1).expect("one place was taken for each name");
        worker.start(claim, deliveries, place);
    }
    worker
        .settle(named.into_values().flatten().collect(), rest)
        .await;
    answered
}
