//! Commits of transfers that end at about the same time, in one call.

use bytes::Bytes;
use cloudstore_proto::transfer::CommitTransfer;
use tokio::sync::{mpsc, oneshot};

use crate::ledger::{Claim, Ledger};

/// Commits in one call: a transaction of a few milliseconds.
const MAX_COMMITS: usize = 256;

/// What comes of a commit: is the blob stored now (else the lease was lost), or why is it unknown?
type Outcome = Result<bool, String>;

struct Request {
    commit: CommitTransfer,
    done: oneshot::Sender<Outcome>,
}

/// Hands commits to the task that sends them.
#[derive(Clone)]
pub(crate) struct Committer {
    requests: mpsc::Sender<Request>,
}

impl Committer {
    /// Starts the task; it ends with the last clone.
    pub(crate) fn start(ledger: Ledger) -> Self {
        let (requests, receiver) = mpsc::channel(MAX_COMMITS);
        tokio::spawn(run(ledger, receiver));
        Self { requests }
    }

    /// Records that the blob is in durable storage, verified. What arrives while a call is on its
    /// way goes into the next one.
    pub(crate) async fn commit(&self, claim: &Claim, sha1: Bytes, sha256: Bytes) -> Outcome {
        let blake3 = Bytes::copy_from_slice(&claim.root);
        let commit = CommitTransfer {
            blake3,
            fence: claim.fence,
            sha256,
            sha1,
        };
        let (done, outcome) = oneshot::channel();
        let stopped = || "the committer has stopped".to_owned();
        self.requests
            .send(Request { commit, done })
            .await
            .map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

async fn run(ledger: Ledger, mut requests: mpsc::Receiver<Request>) {
    let mut round = Vec::with_capacity(MAX_COMMITS);
    while requests.recv_many(&mut round, MAX_COMMITS).await > 0 {
        let (commits, waiting): (Vec<_>, Vec<_>) = round
            .drain(..)
            .map(|request| (request.commit, request.done))
            .unzip();
        let mut outcomes = match ledger.commit(commits).await {
            Ok(committed) => committed.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(format!("commit: {error}")); waiting.len()],
        };
        outcomes.resize(
            waiting.len(),
            Err("dbproxy did not answer for every commit".to_owned()),
        );
        for (done, outcome) in waiting.into_iter().zip(outcomes) {
            // A transfer that was stopped meanwhile needs no answer.
            let _ = done.send(outcome);
        }
    }
}
