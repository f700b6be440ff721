//! The way of blobs from their staged copies to durable storage, and the end of their life.
//!
//! The row in dbproxy is the truth, a job of the queue only a wake-up. [`run`] keeps these going:
//! `consume` claims what jobs name, `sweep` finds what no job told of, both hand claims to
//! `transfer`, `clean` removes what is not needed any more, and `reconcile` what nobody knows of.
//! Every step can be repeated, so a crash between any two costs time and nothing else.
//!
//! [`router`] is for operators: what waits, what is parked, and having it tried again.

use std::sync::Arc;

use cloudstore_backends::{blob::BlobStore, queue::Queue, staging::StagedBlobs};
use cloudstore_service::{Problem, Result, rpc::Channel};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

mod api;
mod backoff;
mod clean;
mod commit;
mod config;
mod consume;
mod lease;
mod ledger;
mod limit;
mod options;
mod pass;
mod reconcile;
mod step;
mod sweep;
mod transfer;
mod worker;

pub use api::router;
pub use config::Config;
pub use options::Options;
pub use step::STEPS;

use worker::Worker;

/// How long giving back unfinished transfers may take after the drain.
const GIVE_BACK: std::time::Duration = std::time::Duration::from_secs(3);

/// Works until `shutdown`, then finishes what is under way or gives it back.
///
/// # Errors
/// When a part of the worker fails for a reason that is a defect; everything else is logged and
/// tried again.
pub async fn run(
    config: Config,
    channel: Channel,
    blobs: Arc<dyn BlobStore>,
    staged: Arc<dyn StagedBlobs>,
    queue: Arc<dyn Queue>,
    shutdown: CancellationToken,
) -> Result<()> {
    step::read_environment();
    // A child, so that a defect in one part stops the others without stopping our caller.
    let stop = shutdown.child_token();
    let worker = Arc::new(Worker::new(config, channel, blobs, staged, queue, stop));
    let mut loops = JoinSet::new();
    loops.spawn(consume::consume(worker.clone()));
    loops.spawn(sweep::sweep(worker.clone()));
    for chore in clean::Chore::ALL {
        loops.spawn(clean::keep_clean(worker.clone(), chore));
    }
    for size in limit::Size::ALL {
        loops.spawn(limit::follow(worker.clone(), size));
    }
    loops.spawn(reconcile::reconcile(worker.clone()));
    // Loops end when the worker stops; the consumer also when its queue is closed for good.
    let mut outcome = Ok(());
    while outcome.is_ok() && !worker.stop.is_cancelled() {
        tokio::select! {
            () = worker.stop.cancelled() => {}
            Some(ended) = loops.join_next() => outcome = ended.map_err(Problem::internal),
        }
    }
    worker.stop.cancel();
    drain(&worker, &mut loops).await;
    outcome
}

async fn drain(worker: &Worker, loops: &mut JoinSet<()>) {
    worker.tasks.close();
    let finished = async {
        while loops.join_next().await.is_some() {}
        worker.tasks.wait().await;
    };
    if timeout(worker.config.drain, finished).await.is_ok() {
        return;
    }
    tracing::warn!(
        running = worker.tasks.len(),
        "transfers are given back unfinished"
    );
    worker.abort.cancel();
    if timeout(GIVE_BACK, worker.tasks.wait()).await.is_err() {
        tracing::warn!(
            running = worker.tasks.len(),
            "the leases of transfers are left to run out"
        );
    }
    loops.shutdown().await;
}
