//! The transfers, claims and leases that dbproxy keeps.

use std::time::Duration;

use bytes::Bytes;
use cloudstore_content::Root;
use cloudstore_proto::{
    file::{self, file_store_client::FileStoreClient},
    transfer::{self, transfer_store_client::TransferStoreClient},
};
use cloudstore_service::{
    Result,
    rpc::{Channel, deadline},
};
use tokio::time::Instant;
use uuid::Uuid;

/// Calls of dbproxy's transfer store.
#[derive(Clone)]
pub(crate) struct Ledger {
    transfers: TransferStoreClient<Channel>,
    files: FileStoreClient<Channel>,
}

/// A transfer that is ours until the lease ends.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) root: Root,
    pub(crate) size: u64,
    pub(crate) node: String,
    /// `None`: dbproxy knows of no staged copy.
    pub(crate) staging_id: Option<Uuid>,
    /// Empty unless known.
    pub(crate) sha1: Bytes,
    /// Empty unless known.
    pub(crate) sha256: Bytes,
    pub(crate) fence: i64,
    /// Failed attempts before this one.
    pub(crate) attempts: u32,
    /// When the blob was completed: Unix milliseconds of dbproxy's clock.
    pub(crate) created_at_ms: i64,
    /// From before the claim was asked for, so that our lease never seems longer than it is.
    pub(crate) claimed_at: Instant,
}

impl Claim {
    fn from_message(transfer: transfer::Transfer, claimed_at: Instant) -> Option<Self> {
        let blob = transfer.blob?;
        Some(Self {
            root: blob.blake3.as_ref().try_into().ok()?,
            size: u64::try_from(blob.size).ok()?,
            node: blob.node,
            staging_id: Uuid::from_slice(&blob.staging_id).ok(),
            sha1: blob.sha1,
            sha256: blob.sha256,
            fence: transfer.fence,
            attempts: transfer.attempts,
            created_at_ms: transfer.created_at_ms,
            claimed_at,
        })
    }

    /// The identity, as logs show it.
    pub(crate) fn hex(&self) -> String {
        hex::encode(self.root)
    }
}

/// A failed attempt.
pub(crate) struct Failed {
    pub(crate) error: String,
    pub(crate) retry_after: Duration,
    pub(crate) park: bool,
    pub(crate) blameless: bool,
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn bytes(root: &Root) -> Bytes {
    Bytes::copy_from_slice(root)
}

impl Ledger {
    pub(crate) fn new(channel: Channel) -> Self {
        let files = FileStoreClient::new(channel.clone());
        Self {
            transfers: TransferStoreClient::new(channel),
            files,
        }
    }

    /// Claims the named blobs, or up to `limit` of any that are due.
    pub(crate) async fn claim(
        &self,
        names: &[Root],
        limit: u32,
        lease: Duration,
        worker: &str,
    ) -> Result<Vec<Claim>> {
        let claimed_at = Instant::now();
        let request = transfer::ClaimTransfersRequest {
            blake3: names.iter().map(bytes).collect(),
            limit,
            lease_ms: millis(lease),
            worker: worker.to_owned(),
        };
        let claimed = self
            .transfers
            .clone()
            .claim_transfers(deadline(request))
            .await?;
        let claims = claimed
            .into_inner()
            .transfers
            .into_iter()
            .filter_map(|transfer| {
                let claim = Claim::from_message(transfer, claimed_at);
                if claim.is_none() {
                    tracing::error!("dbproxy handed out a transfer without a valid blob");
                }
                claim
            });
        Ok(claims.collect())
    }

    pub(crate) async fn renew(&self, claim: &Claim, lease: Duration) -> Result<()> {
        let request = transfer::RenewTransferRequest {
            blake3: bytes(&claim.root),
            fence: claim.fence,
            lease_ms: millis(lease),
        };
        self.transfers
            .clone()
            .renew_transfer(deadline(request))
            .await?;
        Ok(())
    }

    /// For each: true when the blob is now stored, false when the lease was lost.
    pub(crate) async fn commit(&self, commits: Vec<transfer::CommitTransfer>) -> Result<Vec<bool>> {
        let request = transfer::CommitTransfersRequest { commits };
        let answer = self
            .transfers
            .clone()
            .commit_transfers(deadline(request))
            .await?;
        Ok(answer.into_inner().committed)
    }

    pub(crate) async fn fail(&self, claim: &Claim, failed: Failed) -> Result<()> {
        let request = transfer::FailTransferRequest {
            blake3: bytes(&claim.root),
            fence: claim.fence,
            error: failed.error,
            retry_after_ms: millis(failed.retry_after),
            park: failed.park,
            blameless: failed.blameless,
        };
        self.transfers
            .clone()
            .fail_transfer(deadline(request))
            .await?;
        Ok(())
    }

    /// Up to `limit` transfers in that state, oldest first.
    pub(crate) async fn list(
        &self,
        state: transfer::TransferState,
        limit: u32,
    ) -> Result<Vec<transfer::Transfer>> {
        let state = state.into();
        let request = transfer::ListTransfersRequest { state, limit };
        let answer = self
            .transfers
            .clone()
            .list_transfers(deadline(request))
            .await?;
        Ok(answer.into_inner().transfers)
    }

    /// Makes parked transfers due; none named means all. How many there were.
    pub(crate) async fn replay(&self, blake3: Vec<Bytes>) -> Result<u32> {
        let request = transfer::ReplayTransfersRequest { blake3 };
        let mut transfers = self.transfers.clone();
        let answer = transfers.replay_transfers(deadline(request)).await?;
        Ok(answer.into_inner().replayed)
    }

    /// Parks waiting transfers. How many there were.
    pub(crate) async fn park(&self, blake3: Vec<Bytes>, reason: String) -> Result<u32> {
        let request = transfer::ParkTransfersRequest { blake3, reason };
        let mut transfers = self.transfers.clone();
        let answer = transfers.park_transfers(deadline(request)).await?;
        Ok(answer.into_inner().parked)
    }

    /// Blobs stored for at least `grace` that still have a staged copy, on other nodes than these.
    pub(crate) async fn staged_copies(
        &self,
        grace: Duration,
        limit: u32,
        except_nodes: Vec<String>,
    ) -> Result<Vec<file::Blob>> {
        let request = transfer::ListStagedCopiesRequest {
            grace_ms: millis(grace),
            limit,
            except_nodes,
        };
        let answer = self
            .transfers
            .clone()
            .list_staged_copies(deadline(request))
            .await?;
        Ok(answer.into_inner().blobs)
    }

    pub(crate) async fn forget_staged_copies(&self, blobs: Vec<file::Blob>) -> Result<()> {
        let request = transfer::ForgetStagedCopiesRequest { blobs };
        self.transfers
            .clone()
            .forget_staged_copies(deadline(request))
            .await?;
        Ok(())
    }

    /// Blobs without references for at least `grace`; they are ours to delete until the lease ends.
    pub(crate) async fn claim_garbage(
        &self,
        grace: Duration,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<transfer::Garbage>> {
        let request = transfer::ClaimGarbageRequest {
            grace_ms: millis(grace),
            lease_ms: millis(lease),
            limit,
        };
        let answer = self
            .transfers
            .clone()
            .claim_garbage(deadline(request))
            .await?;
        Ok(answer.into_inner().blobs)
    }

    pub(crate) async fn confirm_deleted(&self, blake3: Bytes, fence: i64) -> Result<()> {
        let request = transfer::ConfirmDeletedRequest { blake3, fence };
        self.transfers
            .clone()
            .confirm_deleted(deadline(request))
            .await?;
        Ok(())
    }

    /// For each blob: is there a row of it, in whatever state?
    pub(crate) async fn find(&self, blobs: &[Root]) -> Result<Vec<bool>> {
        let request = transfer::FindBlobsRequest {
            blake3: blobs.iter().map(bytes).collect(),
        };
        let answer = self.transfers.clone().find_blobs(deadline(request)).await?;
        Ok(answer.into_inner().known)
    }

    /// Releases deleted entries; true when there are more.
    pub(crate) async fn purge(&self, limit: u32) -> Result<bool> {
        let request = file::PurgeRequest { limit };
        Ok(self
            .files
            .clone()
            .purge(deadline(request))
            .await?
            .into_inner()
            .more)
    }
}
