//! The contract suite: what every [`Store`] must do, asserted through its methods alone.
//!
//! Each topic gets a [`Fixture`] on an empty database and panics when the store breaks a promise.
#![expect(
    clippy::unwrap_used,
    reason = "a broken expectation is what this suite reports"
)]

mod accounts;
mod blobs;
mod changes;
mod conflicts;
mod copies;
mod dav;
mod deep;
mod files;
mod instant;
mod races;
mod repairs;
mod search;
mod shares;
mod tokens;
mod transfers;
mod trash;
mod uploads;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use cloudstore_proto::{
    account::*, dav::*, file::*, share::*, transfer::*, upload::begin_result::Result as Answer,
    upload::*,
};
use cloudstore_service::{Kind, Result};
use uuid::Uuid;

use crate::{Clock, Store, check::Check};

pub use self::{
    accounts::{accounts, keys, session_lists, sessions},
    blobs::{garbage, known_blobs, other_nodes, purge, staged_copies},
    changes::changes,
    conflicts::{conflicts, repeated_calls},
    copies::{copies, large_copies, renaming, replacing},
    dav::{copied_properties, locked_changes, locks, many_locks, properties},
    deep::{deep_trees, long_paths},
    files::{files, folders, listings},
    instant::{blocks, instant, lookups},
    races::{
        many_references, quota_of_two, quota_under_load, removal_against_instant,
        removal_against_references, resolved_or_committed, same_content_of_two,
    },
    repairs::{mending, repeated_conditions},
    search::{search_limits, searches},
    shares::{downloads, shared_entries, shares, upload_links},
    tokens::{api_tokens, token_bounds},
    transfers::{leases, parked_copies, parking, transfers},
    trash::{emptying, restoring, trash, trashed_shares},
    uploads::{expiry, lengths, quota, staging, uploads},
};

/// Size of test content unless it matters.
pub const SIZE: i64 = 1_000;
const LEASE: i64 = 60_000;
const NODE: &str = "node-a";

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_700_000_000_000))
    }
}

impl ManualClock {
    /// Moves the time forward.
    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Runs every topic, each on a store of its own.
pub async fn contract(make: impl AsyncFn(Arc<dyn Clock>) -> Arc<dyn Store>) {
    macro_rules! run {
        ($($topic:ident)*) => { $($topic(Fixture::new(&make).await).await;)* };
    }
    run! {
        accounts sessions session_lists keys api_tokens token_bounds
        files folders listings searches search_limits changes deep_trees long_paths
        copies renaming replacing large_copies locks locked_changes many_locks properties copied_properties
        shares shared_entries upload_links downloads
        trash restoring emptying trashed_shares
        uploads expiry quota staging lengths
        instant blocks lookups conflicts repeated_calls
        purge garbage staged_copies other_nodes known_blobs
        transfers leases parked_copies parking mending repeated_conditions
        many_references quota_under_load removal_against_references
        same_content_of_two quota_of_two removal_against_instant
    }
}

/// A store and its clock, with short ways to say common things.
pub struct Fixture {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// The same database as another process sees it; the same store where there is but one.
    pub peer: Arc<dyn Store>,
    /// Its time.
    pub clock: Arc<ManualClock>,
}

impl Fixture {
    /// A fixture on a new store.
    pub async fn new(make: impl AsyncFn(Arc<dyn Clock>) -> Arc<dyn Store>) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = make(clock.clone()).await;
        Self {
            peer: store.clone(),
            store,
            clock,
        }
    }

    async fn account(&self, quota_bytes: i64) -> Bytes {
        let id = id();
        let request = CreateAccountRequest {
            id: id.clone(),
            username: hex::encode(&id),
            password_hash: "hash".to_owned(),
            quota_bytes,
            ..CreateAccountRequest::default()
        };
        self.store.create_account(request).await.unwrap();
        id
    }

    /// Used and reserved bytes.
    async fn bytes(&self, account: &Bytes) -> (i64, i64) {
        let account = self
            .store
            .get_account(GetAccountRequest {
                id: account.clone(),
            })
            .await;
        let account = account.unwrap();
        (account.used_bytes, account.reserved_bytes)
    }

    /// Commits content without a reservation.
    async fn put(&self, owner: &Bytes, path: &str, seed: u8) -> Result<CommitUploadResponse> {
        self.store.commit_upload(commit(owner, path, seed)).await
    }

    async fn begin(&self, owner: &Bytes, entries: Vec<BeginUpload>) -> Vec<Answer> {
        let count = entries.len();
        let answer = self
            .store
            .begin_uploads(begin(owner, entries))
            .await
            .unwrap();
        assert_eq!(answer.results.len(), count, "one result for each entry");
        answer
            .results
            .into_iter()
            .map(|result| result.result.unwrap())
            .collect()
    }

    /// Reserves one upload.
    async fn upload(&self, owner: &Bytes, entry: BeginUpload) -> Upload {
        match self.begin(owner, vec![entry]).await.remove(0) {
            Answer::Uploading(upload) => upload,
            other => panic!("not an upload: {other:?}"),
        }
    }

    async fn get_upload(&self, owner: &Bytes, id: &Bytes) -> Result<Upload> {
        let request = GetUploadRequest {
            account_id: owner.clone(),
            id: id.clone(),
        };
        self.store.get_upload(request).await
    }

    async fn cancel(&self, owner: &Bytes, id: &Bytes) -> Result<CancelUploadResponse> {
        let request = CancelUploadRequest {
            account_id: owner.clone(),
            id: id.clone(),
        };
        self.store.cancel_upload(request).await
    }

    async fn stat(&self, owner: &Bytes, path: &str) -> Result<Entry> {
        self.store
            .stat(StatRequest {
                owner: owner.clone(),
                path: path.to_owned(),
            })
            .await
    }

    async fn mkdir(&self, owner: &Bytes, path: &str, parents: bool) -> Result<Entry> {
        let path = path.to_owned();
        self.store
            .create_folder(CreateFolderRequest {
                owner: owner.clone(),
                path,
                parents,
                precondition: None,
            })
            .await
    }

    async fn mv(&self, owner: &Bytes, from: &str, to: &str) -> Result<Entry> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.store
            .move_entry(MoveRequest {
                precondition: None,
                owner: owner.clone(),
                from,
                to,
                replace: false,
            })
            .await
    }

    async fn rm(&self, owner: &Bytes, path: &str) -> Result<DeleteResponse> {
        self.store
            .delete(DeleteRequest {
                keep_ms: 0,
                precondition: None,
                owner: owner.clone(),
                path: path.to_owned(),
            })
            .await
    }

    /// Purges until nothing is left; how many rows went.
    async fn purge_all(&self, limit: u32) -> u32 {
        let mut purged = 0;
        loop {
            let answer = self.store.purge(PurgeRequest { limit }).await.unwrap();
            assert!(limit == 0 || answer.purged <= limit, "the limit holds");
            purged += answer.purged;
            if !answer.more {
                return purged;
            }
        }
    }

    async fn claim(&self, blake3: &[Bytes]) -> Vec<Transfer> {
        let request = ClaimTransfersRequest {
            blake3: blake3.to_vec(),
            limit: 0,
            lease_ms: LEASE,
            worker: "worker".to_owned(),
        };
        self.store.claim_transfers(request).await.unwrap().transfers
    }

    /// Takes a blob all the way to durable storage.
    async fn store_blob(&self, seed: u8) {
        let claimed = self.claim(&[digests(seed).blake3]).await;
        assert!(self.commit_transfer(seed, claimed[0].fence).await);
    }

    async fn commit_transfer(&self, seed: u8, fence: i64) -> bool {
        let Digests {
            blake3,
            sha256,
            sha1,
        } = digests(seed);
        let commits = vec![CommitTransfer {
            blake3,
            fence,
            sha256,
            sha1,
        }];
        let answer = self
            .store
            .commit_transfers(CommitTransfersRequest { commits })
            .await;
        answer.unwrap().committed[0]
    }

    async fn claim_garbage(&self, grace_ms: i64) -> Vec<Garbage> {
        let request = ClaimGarbageRequest {
            grace_ms,
            lease_ms: LEASE,
            limit: 0,
        };
        self.store.claim_garbage(request).await.unwrap().blobs
    }

    async fn confirm(&self, seed: u8, fence: i64) -> Result<ConfirmDeletedResponse> {
        let request = ConfirmDeletedRequest {
            blake3: digests(seed).blake3,
            fence,
        };
        self.store.confirm_deleted(request).await
    }
}

/// A new id.
fn id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}

/// The digests of the content with this number.
fn digests(seed: u8) -> Digests {
    Digests {
        blake3: vec![seed; 32].into(),
        sha256: vec![seed ^ 0x80; 32].into(),
        sha1: vec![seed; 20].into(),
    }
}

/// Only the BLAKE3 digest.
fn blake3(seed: u8) -> Digests {
    Digests {
        blake3: digests(seed).blake3,
        ..Digests::default()
    }
}

fn commit(owner: &Bytes, path: &str, seed: u8) -> CommitUploadRequest {
    let request = CommitUploadRequest {
        precondition: None,
        id: id(),
        account_id: owner.clone(),
        reserved: false,
        path: path.to_owned(),
        size: SIZE,
        on_conflict: OnConflict::Fail.into(),
        mtime_ms: 0,
        media_type: "text/plain".to_owned(),
        content: Some(blake3(seed)),
        node: NODE.to_owned(),
        staging_id: id(),
    };
    request.check().unwrap();
    request
}

/// The commit of an upload that has a row.
fn complete(upload: &Upload, seed: u8) -> CommitUploadRequest {
    CommitUploadRequest {
        id: upload.id.clone(),
        reserved: true,
        path: String::new(),
        staging_id: upload.id.clone(),
        media_type: String::new(),
        ..commit(&upload.account_id, "/unused", seed)
    }
}

fn begin(owner: &Bytes, entries: Vec<BeginUpload>) -> BeginUploadsRequest {
    BeginUploadsRequest {
        account_id: owner.clone(),
        node: NODE.to_owned(),
        policy: InstantPolicy::Everyone.into(),
        lifetime_ms: 3_600_000,
        direct_limit: -1,
        max_open: 100,
        entries,
    }
}

/// An announcement of undeclared content.
fn announce(path: &str) -> BeginUpload {
    declare(path, Digests::default())
}

fn declare(path: &str, digests: Digests) -> BeginUpload {
    BeginUpload {
        id: id(),
        path: path.to_owned(),
        size: SIZE,
        digests: Some(digests),
        on_conflict: OnConflict::Fail.into(),
        mtime_ms: 0,
        chunk_size: 1 << 20,
        media_type: "text/plain".to_owned(),
        deferred: false,
        part: false,
        note: String::new(),
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind()
}

fn slug(answer: &Answer) -> &str {
    match answer {
        Answer::Problem(problem) => &problem.slug,
        other => panic!("not refused: {other:?}"),
    }
}

fn instant_file(answer: Answer) -> Entry {
    match answer {
        Answer::Instant(entry) => entry,
        other => panic!("not instant: {other:?}"),
    }
}

fn challenge_of(answer: Answer) -> (Upload, Blob) {
    match answer {
        Answer::Challenge(challenge) => (challenge.upload.unwrap(), challenge.candidate.unwrap()),
        other => panic!("not a challenge: {other:?}"),
    }
}
