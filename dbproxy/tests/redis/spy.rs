//! Stores for tests: one that tells what is asked of it, knows positions, and can be slow or lag
//! behind, and one that is two.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use cloudstore_dbproxy::{Store, position};
use cloudstore_proto::{account::*, dav::*, file::*, share::*, transfer::*, upload::*};
use cloudstore_service::Result;
use tokio::sync::Notify;

/// Two moments of a call: it has come this far, and it may go on.
#[derive(Clone, Default)]
pub(crate) struct Hold {
    pub(crate) came: Arc<Notify>,
    pub(crate) go: Arc<Notify>,
}

/// Gives each write a position. Reads that need none are answered by a replica, if there is one.
pub(crate) struct Spy {
    primary: Arc<dyn Store>,
    replica: Mutex<Option<Arc<dyn Store>>>,
    loads: AtomicU32,
    writes: AtomicU64,
    required: Mutex<Option<String>>,
    hold_stat: Mutex<Option<Hold>>,
    hold_write: Mutex<Option<Hold>>,
    next_position: Mutex<Option<String>>,
    has_positions: AtomicBool,
}

impl Spy {
    pub(crate) fn new(primary: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            primary,
            replica: Mutex::default(),
            loads: AtomicU32::default(),
            writes: AtomicU64::default(),
            required: Mutex::default(),
            hold_stat: Mutex::default(),
            hold_write: Mutex::default(),
            next_position: Mutex::default(),
            has_positions: AtomicBool::new(true),
        })
    }

    /// From now on reads that need no position are answered by this store.
    pub(crate) fn lag(&self, replica: Arc<dyn Store>) {
        *self.replica.lock().unwrap() = Some(replica);
    }

    /// It is a database that knows no positions, such as SQLite.
    pub(crate) fn without_positions(&self) {
        self.has_positions.store(false, Ordering::SeqCst);
    }

    /// The next `stat` stops when it has its answer.
    pub(crate) fn hold_stat(&self) -> Hold {
        let hold = Hold::default();
        *self.hold_stat.lock().unwrap() = Some(hold.clone());
        hold
    }

    /// The next write stops before it begins.
    pub(crate) fn hold_write(&self) -> Hold {
        let hold = Hold::default();
        *self.hold_write.lock().unwrap() = Some(hold.clone());
        hold
    }

    /// The position of the next write.
    pub(crate) fn set_position(&self, position: &str) {
        *self.next_position.lock().unwrap() = Some(position.to_owned());
    }

    pub(crate) fn take_loads(&self) -> u32 {
        self.loads.swap(0, Ordering::SeqCst)
    }

    /// What the last read had to see.
    pub(crate) fn required(&self) -> Option<String> {
        self.required.lock().unwrap().clone()
    }

    fn reader(&self) -> Arc<dyn Store> {
        let required = position::required();
        let replica = self.replica.lock().unwrap().clone();
        let reader = match replica {
            Some(replica) if required.is_none() => replica,
            _ => self.primary.clone(),
        };
        *self.required.lock().unwrap() = required;
        reader
    }

    fn wrote(&self) {
        if !self.has_positions.load(Ordering::SeqCst) {
            return;
        }
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let set = self.next_position.lock().unwrap().take();
        position::reached(set.unwrap_or_else(|| format!("0-1-{number}")));
    }
}

async fn wait(hold: &Mutex<Option<Hold>>) {
    let hold = hold.lock().unwrap().take();
    if let Some(hold) = hold {
        hold.came.notify_one();
        hold.go.notified().await;
    }
}

/// Hands the methods of the port to a macro, but for those that are different everywhere.
macro_rules! port {
    ($implement:ident) => {
        $implement! {
            reads {
                get_account(GetAccountRequest) -> Account;
                find_credentials(FindCredentialsRequest) -> Credentials;
                get_session(GetSessionRequest) -> Session;
                list_revocations(ListRevocationsRequest) -> ListRevocationsResponse;
                find_api_token(FindApiTokenRequest) -> ApiToken;
                list_api_tokens(ListApiTokensRequest) -> ListApiTokensResponse;
                list_keys(ListKeysRequest) -> ListKeysResponse;
                list(ListRequest) -> ListResponse;
                get_upload(GetUploadRequest) -> Upload;
                list_uploads(ListUploadsRequest) -> ListUploadsResponse;
                resolve_staging(ResolveStagingRequest) -> ResolveStagingResponse;
                list_transfers(ListTransfersRequest) -> ListTransfersResponse;
                find_blobs(FindBlobsRequest) -> FindBlobsResponse;
                list_staged_copies(ListStagedCopiesRequest) -> ListStagedCopiesResponse;
                list_locks(ListLocksRequest) -> ListLocksResponse;
                list_properties(ListPropertiesRequest) -> ListPropertiesResponse;
                list_shares(ListSharesRequest) -> ListSharesResponse;
                get_share(GetShareRequest) -> Share;
                find_shared(FindSharedRequest) -> SharedEntry;
                list_shared(ListSharedRequest) -> ListSharedResponse;
            }
            writes {
                create_account(CreateAccountRequest) -> Account;
                update_account(UpdateAccountRequest) -> Account;
                set_password(SetPasswordRequest) -> SetPasswordResponse;
                create_session(CreateSessionRequest) -> Session;
                rotate_session(RotateSessionRequest) -> Session;
                list_sessions(ListSessionsRequest) -> ListSessionsResponse;
                revoke_session(RevokeSessionRequest) -> RevokeSessionsResponse;
                revoke_all_sessions(RevokeAllSessionsRequest) -> RevokeSessionsResponse;
                create_api_token(CreateApiTokenRequest) -> ApiToken;
                revoke_api_token(RevokeApiTokenRequest) -> RevokeApiTokenResponse;
                publish_key(PublishKeyRequest) -> PublishKeyResponse;
                search(SearchRequest) -> SearchResponse;
                create_folder(CreateFolderRequest) -> Entry;
                move_entry(MoveRequest) -> Entry;
                copy(CopyRequest) -> Entry;
                delete(DeleteRequest) -> DeleteResponse;
                list_trash(ListTrashRequest) -> ListTrashResponse;
                restore(RestoreRequest) -> Entry;
                empty_trash(EmptyTrashRequest) -> EmptyTrashResponse;
                lock(LockRequest) -> Lock;
                refresh_lock(RefreshLockRequest) -> Lock;
                unlock(UnlockRequest) -> UnlockResponse;
                patch_properties(PatchPropertiesRequest) -> PatchPropertiesResponse;
                apply(ApplyRequest) -> ApplyResponse;
                purge(PurgeRequest) -> PurgeResponse;
                create_share(CreateShareRequest) -> Share;
                revoke_share(RevokeShareRequest) -> RevokeShareResponse;
                begin_download(BeginDownloadRequest) -> BeginDownloadResponse;
                begin_uploads(BeginUploadsRequest) -> BeginUploadsResponse;
                commit_upload(CommitUploadRequest) -> CommitUploadResponse;
                resize_upload(ResizeUploadRequest) -> Upload;
                cancel_upload(CancelUploadRequest) -> CancelUploadResponse;
                expire_uploads(ExpireUploadsRequest) -> ExpireUploadsResponse;
                block_instant(BlockInstantRequest) -> BlockInstantResponse;
                claim_transfers(ClaimTransfersRequest) -> ClaimTransfersResponse;
                renew_transfer(RenewTransferRequest) -> RenewTransferResponse;
                commit_transfers(CommitTransfersRequest) -> CommitTransfersResponse;
                fail_transfer(FailTransferRequest) -> FailTransferResponse;
                replay_transfers(ReplayTransfersRequest) -> ReplayTransfersResponse;
                park_transfers(ParkTransfersRequest) -> ParkTransfersResponse;
                forget_staged_copies(ForgetStagedCopiesRequest) -> ForgetStagedCopiesResponse;
                claim_garbage(ClaimGarbageRequest) -> ClaimGarbageResponse;
                confirm_deleted(ConfirmDeletedRequest) -> ConfirmDeletedResponse;
            }
        }
    };
}

macro_rules! spy {
    (
        reads { $($read:ident($read_type:ty) -> $read_reply:ty;)* }
        writes { $($write:ident($write_type:ty) -> $write_reply:ty;)* }
    ) => {
        #[async_trait]
        impl Store for Spy {
            $(async fn $read(&self, request: $read_type) -> Result<$read_reply> {
                self.reader().$read(request).await
            })*

            $(async fn $write(&self, request: $write_type) -> Result<$write_reply> {
                wait(&self.hold_write).await;
                let answer = self.primary.$write(request).await;
                self.wrote();
                answer
            })*

            async fn stat(&self, request: StatRequest) -> Result<Entry> {
                self.loads.fetch_add(1, Ordering::SeqCst);
                let answer = self.reader().stat(request).await;
                wait(&self.hold_stat).await;
                answer
            }

            async fn check(&self) -> Result<()> {
                self.primary.check().await
            }

            async fn close(&self) {
                self.primary.close().await;
            }
        }
    };
}
port!(spy);

struct Turns {
    processes: [Arc<dyn Store>; 2],
    next: AtomicUsize,
}

/// Two processes that answer in turns, as behind a balancer that cares for nobody.
pub(crate) fn turns(processes: [Arc<dyn Store>; 2]) -> Arc<dyn Store> {
    Arc::new(Turns {
        processes,
        next: AtomicUsize::default(),
    })
}

impl Turns {
    fn next(&self) -> &Arc<dyn Store> {
        &self.processes[self.next.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

macro_rules! turns {
    (
        reads { $($read:ident($read_type:ty) -> $read_reply:ty;)* }
        writes { $($write:ident($write_type:ty) -> $write_reply:ty;)* }
    ) => {
        #[async_trait]
        impl Store for Turns {
            $(async fn $read(&self, request: $read_type) -> Result<$read_reply> {
                self.next().$read(request).await
            })*

            $(async fn $write(&self, request: $write_type) -> Result<$write_reply> {
                self.next().$write(request).await
            })*

            async fn stat(&self, request: StatRequest) -> Result<Entry> {
                self.next().stat(request).await
            }

            async fn check(&self) -> Result<()> {
                self.next().check().await
            }

            async fn close(&self) {
                self.next().close().await;
            }
        }
    };
}
port!(turns);
