//! JSON bodies of the internal API for operators.

use serde::{Deserialize, Serialize};

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferState {
    /// For its time, or for a worker.
    Waiting,
    /// A worker has it.
    Claimed,
    /// Until an operator replays it, or somebody sends the content again.
    Parked,
}

/// A blob on its way to durable storage.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Transfer {
    /// Identity of the blob.
    pub blake3: String,
    /// Bytes of the blob.
    pub size: u64,
    /// Node with the staged copy.
    pub node: String,
    /// The staged copy there; empty when there is none.
    pub staging_id: String,
    /// How far it is.
    pub state: TransferState,
    /// Failed attempts so far.
    pub attempts: u32,
    /// Why the last one failed, or why it was parked; empty for none.
    pub last_error: String,
    /// When the upload was completed.
    pub created_at: String,
    /// Not before then; while it is claimed, the end of the lease.
    pub due_at: String,
}

/// `GET /internal/v1/transfers`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Transfers {
    /// Oldest first.
    pub transfers: Vec<Transfer>,
}

/// `POST /internal/v1/transfers/replay`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Which parked transfers to try again, up to 1,000; none means all.
    pub blake3: Vec<String>,
}

/// What became of [`Replay`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Replayed {
    /// Transfers that were parked and are due now.
    pub replayed: u32,
}

/// `POST /internal/v1/transfers/park`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Park {
    /// Which waiting transfers not to try for now, 1 to 1,000.
    pub blake3: Vec<String>,
    /// Why, for whoever looks at them.
    pub reason: String,
}

/// What became of [`Park`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Parked {
    /// Transfers that were waiting and are parked now.
    pub parked: u32,
}
