//! What all parts of the worker share, and what happens to a claim from its start to its end.

use std::{sync::Arc, time::Duration};

use cloudstore_backends::{
    blob::BlobStore,
    queue::{Delivery, Outcome, Queue},
    staging::StagedBlobs,
};
use cloudstore_service::{
    Kind, clock,
    context::{self, Context},
    rpc::Channel,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::{
    Config, backoff,
    commit::Committer,
    ledger::{Claim, Failed, Ledger, millis},
    limit::{Limit, Size},
    transfer::Failure,
};

/// Batches of claims that may be on their way at a time: one being worked on, one about to start.
const BATCHES: usize = 2;
/// Claims of large blobs that may be held besides the others. Each waiting one costs a renewal of
/// its lease now and then; more would only be kept from other workers.
const LARGE_CLAIMS: usize = 256;
/// Staged copies that are read at a time. Hashing keeps a processor busy and a group in memory, so
/// blobs that wait for anything else do not hold up the others here.
const READS_AT_ONCE: usize = 4;
/// Tries to give a claim back before its lease is left to run out.
const GIVE_BACK_TRIES: u32 = 3;
/// Pause after the first failed call of dbproxy or the queue, and the longest one.
const CALL_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// A transfer worker.
pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) ledger: Ledger,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) staged: Arc<dyn StagedBlobs>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) committer: Committer,
    /// Claims that may be held.
    pub(crate) room: Arc<Semaphore>,
    /// Claims of large blobs that may be held without taking room from others.
    large_room: Arc<Semaphore>,
    large: Limit,
    small: Limit,
    /// Staged copies that may be read.
    pub(crate) reads: Semaphore,
    /// Running transfers.
    pub(crate) tasks: TaskTracker,
    /// Begin nothing new.
    pub(crate) stop: CancellationToken,
    /// Give back what is not finished.
    pub(crate) abort: CancellationToken,
}

impl Worker {
    pub(crate) fn new(
        config: Config,
        channel: Channel,
        blobs: Arc<dyn BlobStore>,
        staged: Arc<dyn StagedBlobs>,
        queue: Arc<dyn Queue>,
        stop: CancellationToken,
    ) -> Self {
        let ledger = Ledger::new(channel);
        let batch = usize::try_from(config.batch).unwrap_or(usize::MAX);
        let limit = |size: Size| Limit::new(size.at_once(&config.settings, &config));
        Self {
            committer: Committer::start(ledger.clone()),
            room: Arc::new(Semaphore::new(batch.saturating_mul(BATCHES))),
            large_room: Arc::new(Semaphore::new(LARGE_CLAIMS)),
            large: limit(Size::Large),
            small: limit(Size::Small),
            reads: Semaphore::new(READS_AT_ONCE),
            tasks: TaskTracker::new(),
            abort: CancellationToken::new(),
            config,
            ledger,
            blobs,
            staged,
            queue,
            stop,
        }
    }

    /// How many blobs of that size may be on their way.
    pub(crate) fn limit(&self, size: Size) -> &Limit {
        match size {
            Size::Large => &self.large,
            Size::Small => &self.small,
        }
    }

    /// Starts on a claim. Its deliveries are settled and its room is given back at the end.
    pub(crate) fn start(
        self: &Arc<Self>,
        claim: Claim,
        deliveries: Vec<Delivery>,
        mut room: OwnedSemaphorePermit,
    ) {
        // How large a blob is shows only once it is claimed. Large ones wait long for their turn
        // and must not keep small ones from being claimed meanwhile.
        if let Size::Large = Size::of(claim.size)
            && let Ok(elsewhere) = self.large_room.clone().try_acquire_owned()
        {
            room = elsewhere;
        }
        let traceparent = deliveries
            .iter()
            .find_map(|delivery| delivery.job.traceparent.clone());
        let context = Context::background(traceparent.as_deref());
        let span = tracing::info_span!(
            "transfer",
            blob = claim.hex(),
            request_id = context.id(),
            traceparent,
        );
        let worker = self.clone();
        let run = async move {
            let outcome = worker.run(&claim).await;
            worker.settle(deliveries, outcome).await;
            drop(room);
        };
        self.tasks
            .spawn(context::scope(context, run).instrument(span));
    }

    pub(crate) async fn settle(&self, deliveries: Vec<Delivery>, outcome: Outcome) {
        for delivery in deliveries {
            if let Err(error) = self.queue.settle(delivery, outcome).await {
                // It comes again, and finds nothing to do.
                tracing::warn!(%error, "delivery not settled");
            }
        }
    }

    /// Waits before another try after `failures` failed calls in a row, or until the worker stops.
    pub(crate) async fn rest(&self, failures: u32) {
        let (base, cap) = CALL_PAUSE;
        tokio::select! {
            () = sleep(backoff::pause(failures, base, cap)) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Transfers a claimed blob and records how that ended. The outcome is for the wake-up: the
    /// row decides when a failed transfer is due again, and the sweep finds it.
    async fn run(&self, claim: &Claim) -> Outcome {
        let began = Instant::now();
        let ended = self.transfer(claim).await;
        let (label, outcome) = match ended {
            Ok(()) => ("stored", Outcome::Ack),
            Err(Failure::LeaseLost) => ("lease_lost", Outcome::Ack),
            Err(Failure::Stopped) => {
                self.give_back(claim, &Failure::Stopped, Some(Duration::ZERO))
                    .await;
                ("stopped", Outcome::Retry)
            }
            Err(failure) => {
                let failure = self.judge(claim, failure).await;
                match self.retry_after(claim, &failure) {
                    None => {
                        self.give_back(claim, &failure, None).await;
                        ("parked", Outcome::Dead)
                    }
                    pause => {
                        self.give_back(claim, &failure, pause).await;
                        ("failed", Outcome::Ack)
                    }
                }
            }
        };
        metrics::counter!("cloudstore_transfers_total", "outcome" => label).increment(1);
        if label == "stored" {
            metrics::counter!("cloudstore_transfer_bytes_total").increment(claim.size);
            metrics::histogram!("cloudstore_transfer_seconds").record(began.elapsed());
        }
        tracing::debug!(
            blob = claim.hex(),
            size = claim.size,
            outcome = label,
            "transfer ended"
        );
        outcome
    }

    /// A failure while the store itself cannot be used says nothing about the blob: an outage must
    /// not park everything that is on its way. A staging node that has been away for too long is
    /// gone, and its copies with it.
    async fn judge(&self, claim: &Claim, failure: Failure) -> Failure {
        let waiting_ms = clock::now_ms() - claim.created_at_ms;
        match failure {
            Failure::Passing(error) if self.blobs.check().await.is_err() => Failure::Away(error),
            Failure::Away(error) if waiting_ms > millis(self.config.node_lost_after) => {
                Failure::Passing(error)
            }
            failure => failure,
        }
    }

    /// `None`: no more attempts.
    fn retry_after(&self, claim: &Claim, failure: &Failure) -> Option<Duration> {
        if matches!(failure, Failure::Away(_)) {
            let pause = self.config.away_pause;
            return Some(backoff::pause(1, pause, pause));
        }
        let failures = claim.attempts.saturating_add(1);
        let again = matches!(failure, Failure::Passing(_)) && failures < self.config.max_attempts;
        again.then(|| backoff::pause(failures, self.config.retry_base, self.config.retry_cap))
    }

    /// Ends the claim without success; `None` parks the transfer.
    async fn give_back(&self, claim: &Claim, failure: &Failure, retry_after: Option<Duration>) {
        let park = retry_after.is_none();
        let blob = claim.hex();
        let attempt = claim.attempts + 1;
        match failure {
            Failure::Stopped => tracing::info!(blob, "transfer given back"),
            failure if park => {
                tracing::error!(blob, attempt, error = %failure, "transfer parked");
            }
            failure => tracing::warn!(blob, attempt, error = %failure, "transfer failed"),
        }
        for tried in 1..=GIVE_BACK_TRIES {
            let failed = Failed {
                error: failure.to_string(),
                retry_after: retry_after.unwrap_or_default(),
                park,
                blameless: matches!(failure, Failure::Away(_)),
            };
            match self.ledger.fail(claim, failed).await {
                Ok(()) => return,
                Err(problem) if matches!(problem.kind(), Kind::LeaseLost | Kind::NotFound) => {
                    return;
                }
                Err(error) => {
                    tracing::warn!(blob, %error, "claim not given back");
                    self.rest(tried).await;
                }
            }
        }
    }
}
