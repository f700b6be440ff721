//! A database of its own on the real servers, and a client that carries positions.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cloudstore_dbproxy::{Clock, MySqlConfig, MySqlStore, Store, position};
use cloudstore_proto::{account::*, dav::*, file::*, share::*, transfer::*, upload::*};
use cloudstore_service::{Result, position::is_covered, testing::server};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlConnection, mysql::MySqlConnectOptions};
use uuid::Uuid;

/// A database that nobody else uses, removed by [`Database::remove`].
pub(crate) struct Database {
    pub(crate) name: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self {
            name: format!("cloudstore_test_{}", Uuid::now_v7().simple()),
        }
    }

    pub(crate) fn config(&self) -> MySqlConfig {
        MySqlConfig::new(
            vec![server("MYSQL_PRIMARY_URL")],
            vec![server("MYSQL_REPLICA_URL")],
            &*self.name,
        )
    }

    #[expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]
    pub(crate) async fn open(&self, clock: Arc<dyn Clock>) -> Arc<MySqlStore> {
        Arc::new(MySqlStore::connect(self.config(), clock).await.unwrap())
    }

    /// A connection of a user who may do everything.
    pub(crate) async fn admin(url: &str) -> MySqlConnection {
        let options: MySqlConnectOptions = server(url).parse().expect("an address");
        let connected = options.disable_statement_logging().connect().await;
        connected.unwrap_or_else(|error| panic!("{url} must run: {error}"))
    }

    #[expect(clippy::unwrap_used, reason = "what cannot be removed should be seen")]
    pub(crate) async fn remove(&self) {
        let mut connection = Self::admin("MYSQL_PRIMARY_ADMIN_URL").await;
        let sql = format!("DROP DATABASE IF EXISTS `{}`", self.name);
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

/// A store as a client sees it that sends the last position it got with every call.
pub(crate) struct Carrier {
    store: Arc<dyn Store>,
    position: Mutex<Option<String>>,
}

impl Carrier {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            position: Mutex::default(),
        })
    }

    pub(crate) fn position(&self) -> Option<String> {
        let position = self.position.lock();
        position.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn advance(&self, reached: Option<String>) {
        let position = self.position.lock();
        let mut position = position.unwrap_or_else(PoisonError::into_inner);
        if let Some(reached) = reached
            && !position
                .as_ref()
                .is_some_and(|known| is_covered(&reached, known))
        {
            *position = Some(reached);
        }
    }
}

macro_rules! carried {
    ($($method:ident($request:ty) -> $reply:ty;)*) => {
        #[async_trait]
        impl Store for Carrier {
            $(async fn $method(&self, request: $request) -> Result<$reply> {
                let call = self.store.$method(request);
                let (result, reached) = position::scope(self.position(), call).await;
                self.advance(reached);
                result
            })*

            async fn check(&self) -> Result<()> {
                self.store.check().await
            }

            async fn close(&self) {
                self.store.close().await;
            }
        }
    };
}

carried! {
    create_account(CreateAccountRequest) -> Account;
    get_account(GetAccountRequest) -> Account;
    find_credentials(FindCredentialsRequest) -> Credentials;
    update_account(UpdateAccountRequest) -> Account;
    set_password(SetPasswordRequest) -> SetPasswordResponse;
    create_session(CreateSessionRequest) -> Session;
    rotate_session(RotateSessionRequest) -> Session;
    get_session(GetSessionRequest) -> Session;
    list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    revoke_session(RevokeSessionRequest) -> RevokeSessionsResponse;
    revoke_all_sessions(RevokeAllSessionsRequest) -> RevokeSessionsResponse;
    list_revocations(ListRevocationsRequest) -> ListRevocationsResponse;
    create_api_token(CreateApiTokenRequest) -> ApiToken;
    find_api_token(FindApiTokenRequest) -> ApiToken;
    list_api_tokens(ListApiTokensRequest) -> ListApiTokensResponse;
    revoke_api_token(RevokeApiTokenRequest) -> RevokeApiTokenResponse;
    publish_key(PublishKeyRequest) -> PublishKeyResponse;
    list_keys(ListKeysRequest) -> ListKeysResponse;
    stat(StatRequest) -> Entry;
    list(ListRequest) -> ListResponse;
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
    list_locks(ListLocksRequest) -> ListLocksResponse;
    patch_properties(PatchPropertiesRequest) -> PatchPropertiesResponse;
    list_properties(ListPropertiesRequest) -> ListPropertiesResponse;
    create_share(CreateShareRequest) -> Share;
    list_shares(ListSharesRequest) -> ListSharesResponse;
    get_share(GetShareRequest) -> Share;
    revoke_share(RevokeShareRequest) -> RevokeShareResponse;
    find_shared(FindSharedRequest) -> SharedEntry;
    list_shared(ListSharedRequest) -> ListSharedResponse;
    begin_download(BeginDownloadRequest) -> BeginDownloadResponse;
    purge(PurgeRequest) -> PurgeResponse;
    apply(ApplyRequest) -> ApplyResponse;
    begin_uploads(BeginUploadsRequest) -> BeginUploadsResponse;
    get_upload(GetUploadRequest) -> Upload;
    list_uploads(ListUploadsRequest) -> ListUploadsResponse;
    commit_upload(CommitUploadRequest) -> CommitUploadResponse;
    resize_upload(ResizeUploadRequest) -> Upload;
    cancel_upload(CancelUploadRequest) -> CancelUploadResponse;
    expire_uploads(ExpireUploadsRequest) -> ExpireUploadsResponse;
    block_instant(BlockInstantRequest) -> BlockInstantResponse;
    resolve_staging(ResolveStagingRequest) -> ResolveStagingResponse;
    claim_transfers(ClaimTransfersRequest) -> ClaimTransfersResponse;
    renew_transfer(RenewTransferRequest) -> RenewTransferResponse;
    commit_transfers(CommitTransfersRequest) -> CommitTransfersResponse;
    fail_transfer(FailTransferRequest) -> FailTransferResponse;
    list_transfers(ListTransfersRequest) -> ListTransfersResponse;
    replay_transfers(ReplayTransfersRequest) -> ReplayTransfersResponse;
    park_transfers(ParkTransfersRequest) -> ParkTransfersResponse;
    find_blobs(FindBlobsRequest) -> FindBlobsResponse;
    list_staged_copies(ListStagedCopiesRequest) -> ListStagedCopiesResponse;
    forget_staged_copies(ForgetStagedCopiesRequest) -> ForgetStagedCopiesResponse;
    claim_garbage(ClaimGarbageRequest) -> ClaimGarbageResponse;
    confirm_deleted(ConfirmDeletedRequest) -> ConfirmDeletedResponse;
}
