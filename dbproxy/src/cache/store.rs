//! The port: which calls are cached, which are changes, which only want to see the last change, and
//! which have nothing to do with the cache.

use async_trait::async_trait;
use cloudstore_proto::{account::*, dav::*, file::*, share::*, transfer::*, upload::*};
use cloudstore_service::Result;

use super::{CachedStore, subject::Subject};
use crate::store::Store;

/// Goes through as it is.
macro_rules! pass {
    ($self:ident.$method:ident($request:ident)) => {
        $self.inner.$method($request).await
    };
}

/// A read that sees the last change to a subject, whoever asks.
macro_rules! see {
    ($self:ident.$method:ident($request:ident), $subject:expr) => {{
        let subject = $subject;
        $self.see(&subject, $self.inner.$method($request)).await
    }};
}

/// A change to the subjects that the request names, and to those that only the answer names.
macro_rules! change {
    ($self:ident.$method:ident($request:ident), $subjects:expr) => {
        change!($self.$method($request), $subjects, |_| Vec::new())
    };
    ($self:ident.$method:ident($request:ident), $subjects:expr, $named:expr) => {{
        let (subjects, inner) = (Vec::from($subjects), $self.inner.clone());
        let change = async move { inner.$method($request).await };
        $self.change(subjects, $named, change).await
    }};
}

/// Implements the port: one line for each method.
macro_rules! port {
    ($($method:ident($request:ident: $type:ty) -> $reply:ty {
        $how:ident $($subjects:tt)*
    })*) => {
        #[async_trait]
        impl Store for CachedStore {
            $(async fn $method(&self, $request: $type) -> Result<$reply> {
                $how!(self.$method($request) $($subjects)*)
            })*

            async fn stat(&self, request: StatRequest) -> Result<Entry> {
                self.cached_stat(request).await
            }

            async fn list_keys(&self, request: ListKeysRequest) -> Result<ListKeysResponse> {
                self.cached_keys(request).await
            }

            async fn record_reads(
                &self,
                request: RecordReadsRequest,
            ) -> Result<RecordReadsResponse> {
                self.shared.record_reads(&request.counts).await;
                Ok(RecordReadsResponse {})
            }

            async fn hot_blobs(&self, request: HotBlobsRequest) -> Result<HotBlobsResponse> {
                let blobs = self.shared.hot_blobs(request.limit).await;
                Ok(HotBlobsResponse { blobs })
            }

            async fn check(&self) -> Result<()> {
                self.inner.check().await
            }

            async fn close(&self) {
                self.inner.close().await;
            }
        }
    };
}

port! {
    create_account(request: CreateAccountRequest) -> Account {
        change, [Subject::account(&request.id), Subject::username(&request.username)]
    }
    get_account(request: GetAccountRequest) -> Account {
        see, Subject::account(&request.id)
    }
    find_credentials(request: FindCredentialsRequest) -> Credentials {
        see, Subject::username(&request.username)
    }
    update_account(request: UpdateAccountRequest) -> Account {
        change, [Subject::account(&request.id)]
    }
    set_password(request: SetPasswordRequest) -> SetPasswordResponse {
        change, [Subject::account(&request.id)]
    }

    create_session(request: CreateSessionRequest) -> Session {
        change, [Subject::account(&request.account_id), Subject::session(&request.id)]
    }
    rotate_session(request: RotateSessionRequest) -> Session {
        change, [], |session| vec![
            Subject::account(&session.account_id),
            Subject::session(&session.id),
        ]
    }
    get_session(request: GetSessionRequest) -> Session {
        see, Subject::session(&request.id)
    }
    revoke_session(request: RevokeSessionRequest) -> RevokeSessionsResponse {
        change, [Subject::session(&request.id)]
    }
    // Who is logged in decides who may do what: never from the cache.
    list_sessions(request: ListSessionsRequest) -> ListSessionsResponse { pass }
    revoke_all_sessions(request: RevokeAllSessionsRequest) -> RevokeSessionsResponse {
        change, [Subject::account(&request.account_id)]
    }
    list_revocations(request: ListRevocationsRequest) -> ListRevocationsResponse { pass }
    create_api_token(request: CreateApiTokenRequest) -> ApiToken {
        change, [Subject::account(&request.account_id)]
    }
    // Decides who may do what: never from the cache.
    find_api_token(request: FindApiTokenRequest) -> ApiToken { pass }
    list_api_tokens(request: ListApiTokensRequest) -> ListApiTokensResponse {
        see, Subject::account(&request.account_id)
    }
    revoke_api_token(request: RevokeApiTokenRequest) -> RevokeApiTokenResponse {
        change, [Subject::account(&request.account_id)]
    }
    publish_key(request: PublishKeyRequest) -> PublishKeyResponse {
        change, [Subject::keys()]
    }

    list(request: ListRequest) -> ListResponse {
        see, Subject::account(&request.owner)
    }
    search(request: SearchRequest) -> SearchResponse {
        see, Subject::account(&request.owner)
    }
    create_folder(request: CreateFolderRequest) -> Entry {
        change, [Subject::account(&request.owner)]
    }
    move_entry(request: MoveRequest) -> Entry {
        change, [Subject::account(&request.owner)]
    }
    copy(request: CopyRequest) -> Entry {
        change, [Subject::account(&request.owner)]
    }
    delete(request: DeleteRequest) -> DeleteResponse {
        change, [Subject::account(&request.owner)]
    }
    list_trash(request: ListTrashRequest) -> ListTrashResponse {
        see, Subject::account(&request.owner)
    }
    restore(request: RestoreRequest) -> Entry {
        change, [Subject::account(&request.owner)]
    }
    empty_trash(request: EmptyTrashRequest) -> EmptyTrashResponse {
        change, [Subject::account(&request.owner)]
    }
    apply(request: ApplyRequest) -> ApplyResponse {
        change, [Subject::account(&request.owner)]
    }
    purge(request: PurgeRequest) -> PurgeResponse { pass }

    // Not cached, and no part of an entry that is. Locks are always read from the last state.
    lock(request: LockRequest) -> Lock { pass }
    refresh_lock(request: RefreshLockRequest) -> Lock { pass }
    unlock(request: UnlockRequest) -> UnlockResponse { pass }
    list_locks(request: ListLocksRequest) -> ListLocksResponse { pass }
    patch_properties(request: PatchPropertiesRequest) -> PatchPropertiesResponse {
        change, [Subject::account(&request.owner)]
    }
    list_properties(request: ListPropertiesRequest) -> ListPropertiesResponse {
        see, Subject::account(&request.owner)
    }

    create_share(request: CreateShareRequest) -> Share {
        change, [Subject::account(&request.account_id)]
    }
    list_shares(request: ListSharesRequest) -> ListSharesResponse {
        see, Subject::account(&request.account_id)
    }
    get_share(request: GetShareRequest) -> Share {
        see, Subject::account(&request.account_id)
    }
    revoke_share(request: RevokeShareRequest) -> RevokeShareResponse {
        change, [Subject::account(&request.account_id)]
    }
    // Decides who may see what: never from the cache. Counting changes nothing that is in it.
    find_shared(request: FindSharedRequest) -> SharedEntry { pass }
    list_shared(request: ListSharedRequest) -> ListSharedResponse { pass }
    begin_download(request: BeginDownloadRequest) -> BeginDownloadResponse { pass }

    begin_uploads(request: BeginUploadsRequest) -> BeginUploadsResponse {
        change, [Subject::account(&request.account_id)]
    }
    get_upload(request: GetUploadRequest) -> Upload {
        see, Subject::account(&request.account_id)
    }
    list_uploads(request: ListUploadsRequest) -> ListUploadsResponse {
        see, Subject::account(&request.account_id)
    }
    commit_upload(request: CommitUploadRequest) -> CommitUploadResponse {
        change, [Subject::account(&request.account_id)]
    }
    resize_upload(request: ResizeUploadRequest) -> Upload {
        change, [Subject::account(&request.account_id)]
    }
    cancel_upload(request: CancelUploadRequest) -> CancelUploadResponse {
        change, [Subject::account(&request.account_id)]
    }
    expire_uploads(request: ExpireUploadsRequest) -> ExpireUploadsResponse { pass }
    block_instant(request: BlockInstantRequest) -> BlockInstantResponse { pass }
    resolve_staging(request: ResolveStagingRequest) -> ResolveStagingResponse { pass }

    claim_transfers(request: ClaimTransfersRequest) -> ClaimTransfersResponse { pass }
    renew_transfer(request: RenewTransferRequest) -> RenewTransferResponse { pass }
    commit_transfers(request: CommitTransfersRequest) -> CommitTransfersResponse { pass }
    fail_transfer(request: FailTransferRequest) -> FailTransferResponse { pass }
    list_transfers(request: ListTransfersRequest) -> ListTransfersResponse { pass }
    replay_transfers(request: ReplayTransfersRequest) -> ReplayTransfersResponse { pass }
    park_transfers(request: ParkTransfersRequest) -> ParkTransfersResponse { pass }
    find_blobs(request: FindBlobsRequest) -> FindBlobsResponse { pass }

    list_staged_copies(request: ListStagedCopiesRequest) -> ListStagedCopiesResponse { pass }
    forget_staged_copies(request: ForgetStagedCopiesRequest) -> ForgetStagedCopiesResponse {
        pass
    }
    claim_garbage(request: ClaimGarbageRequest) -> ClaimGarbageResponse { pass }
    confirm_deleted(request: ConfirmDeletedRequest) -> ConfirmDeletedResponse { pass }
}
