//! From found files to transfers, whichever way they go: a walk finds them, a [`Sender`] prepares
//! them and transfers as many at a time as was asked for. Every queue in between is bounded.

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet, spawn_blocking},
};

use super::{Shared, Tree, walk::Found};
use crate::error::Result;

/// Found but not yet prepared.
const WAITING_FOUND: usize = 1_000;
/// Prepared but not yet sent: the native API's next batch is ready while one is being sent.
const WAITING_WORK: usize = cloudstore_proto::http::MAX_BATCH;

/// A way to bring files to a server.
pub(super) trait Sender: Send + Sync + 'static {
    /// Something to do for a transfer slot.
    type Work: Send + 'static;

    /// What all transfers share.
    fn shared(&self) -> &Shared;

    /// Turns what was found into work, until one side ends. Dropped when the transfers fail.
    fn prepare(
        self: Arc<Self>,
        findings: mpsc::Receiver<Found>,
        work: mpsc::Sender<Self::Work>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Does it and tells what became of it; an error ends the run.
    fn transfer(self: Arc<Self>, work: Self::Work) -> impl Future<Output = Result<()>> + Send;
}

/// Runs until everything is transferred or something ends the run, and says how far it came.
pub(super) async fn run<S: Sender>(sender: &Arc<S>, tree: Tree) -> Result<()> {
    let ran = Box::pin(walk_and_transfer(sender, tree)).await;
    let shared = sender.shared();
    shared.hashes.flush();
    // Also a run that ended early says how far it came.
    let told = shared.progress.finish();
    ran.and(told)
}

async fn walk_and_transfer<S: Sender>(sender: &Arc<S>, tree: Tree) -> Result<()> {
    let (found, findings) = mpsc::channel(WAITING_FOUND);
    spawn_blocking(move || {
        for source in tree.sources {
            source.walk(&tree.walk, &mut |item| found.blocking_send(item).is_ok());
        }
    });
    let (work, queue) = mpsc::channel(WAITING_WORK);
    // Dropped, and with it everything it started, when the transfers fail.
    let mut preparing = JoinSet::new();
    preparing.spawn(sender.clone().prepare(findings, work));
    transfer_all(sender, queue).await?;
    preparing.join_next().await.map_or(Ok(()), finished)
}

async fn transfer_all<S: Sender>(
    sender: &Arc<S>,
    mut queue: mpsc::Receiver<S::Work>,
) -> Result<()> {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            work = queue.recv(), if running.len() < sender.shared().transfers => match work {
                Some(work) => {
                    running.spawn(sender.clone().transfer(work));
                }
                None => break,
            },
            Some(done) = running.join_next() => finished(done)?,
        }
    }
    while let Some(done) = running.join_next().await {
        finished(done)?;
    }
    Ok(())
}

/// What a task of a run came to.
pub(super) fn finished(done: Result<Result<()>, JoinError>) -> Result<()> {
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}
