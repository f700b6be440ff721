//! The sweep: finds transfers whose wake-up was lost, whose worker died, or that are due again.

use std::sync::Arc;

use cloudstore_proto::transfer::TransferState;
use cloudstore_service::{Result, clock};
use tokio::time::{MissedTickBehavior, interval};

use crate::Worker;

/// Looks at the start and then periodically, and again at once while there is a full batch.
pub(crate) async fn sweep(worker: Arc<Worker>) {
    let mut timer = interval(worker.config.sweep_every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = worker.stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        report_backlog(&worker).await;
        loop {
            match claim_batch(&worker).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "sweep failed");
                    break;
                }
            }
        }
    }
}

/// Starts on a batch of transfers that are due; true when there may be more.
async fn claim_batch(worker: &Arc<Worker>) -> Result<bool> {
    let config = &worker.config;
    let room = tokio::select! {
        room = worker.room.clone().acquire_many_owned(config.batch) => room.ok(),
        () = worker.stop.cancelled() => None,
    };
    let Some(mut room) = room else {
        return Ok(false);
    };
    let claims = worker
        .ledger
        .claim(&[], config.batch, config.lease, &config.name)
        .await?;
    let full = claims.len() as u64 >= u64::from(config.batch);
    if !claims.is_empty() {
        tracing::debug!(found = claims.len(), "sweep found transfers");
    }
    for claim in claims {
        let place = room
            .split(1)
            .expect("dbproxy hands out no more than was asked for");
        worker.start(claim, Vec::new(), place);
    }
    Ok(full)
}

/// How long the oldest waiting transfer has been waiting: the number to alert on.
async fn report_backlog(worker: &Worker) {
    match worker.ledger.list(TransferState::Waiting, 1).await {
        Ok(waiting) => {
            let since = waiting
                .first()
                .map(|oldest| clock::now_ms() - oldest.created_at_ms);
            let age = u32::try_from(since.unwrap_or(0).max(0) / 1_000).unwrap_or(u32::MAX);
            metrics::gauge!("cloudstore_transfer_backlog_seconds").set(f64::from(age));
        }
        Err(error) => tracing::warn!(%error, "backlog is not known"),
    }
}
