//! The store on SQLite: one connection that writes, a few that read, all on one file in WAL mode.

mod accounts;
mod begin;
mod commit;
mod content;
mod copy;
mod error;
mod files;
mod garbage;
mod locks;
mod place;
mod properties;
mod purge;
mod rows;
mod search;
mod sessions;
mod shares;
mod tokens;
mod transfers;
mod trash;
mod tree;
mod uploads;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use cloudstore_proto::{account::*, dav::*, file::*, share::*, transfer::*, upload::*};
use cloudstore_service::{Kind, Problem, Result};
use sqlx::{
    ConnectOptions as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{sync::Semaphore, time::timeout};

use self::{
    error::{Outcome, database, unavailable},
    sessions::Rotated,
    writer::{Command, Tx, Writer},
};
use crate::{
    clock::{Clock, SystemClock},
    store::Store,
};

/// Connections that read. Each costs a thread and a page cache; reads are short.
const READERS: u32 = 4;
/// Of these, how many may search, which takes up to a second: the others must not wait for that.
const SEARCHERS: usize = 2;
/// How long a read waits for one of them.
const MAX_READ_WAIT: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process that holds the file, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer in KiB; the readers have SQLite's 2 MB.
const WRITER_CACHE_KIB: &str = "-16384";
/// Pages of the log after which a commit copies them into the database: 16 MiB, fewer and larger
/// copies than the default of 4 MiB.
const CHECKPOINT_PAGES: &str = "4000";
/// Bytes that the log may always have: as much as it usually grows to.
const RESERVED_LOG_BYTES: u64 = 16 << 20;
/// Bytes of the log file that are kept after such a copy.
const LOG_BYTES: &str = "67108864";

/// A database file.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    searchers: Semaphore,
    clock: Arc<dyn Clock>,
}

impl SqliteStore {
    /// Opens a database, creates it when it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// `Unavailable`, `InsufficientStorage` or `Internal`, with the reason as the private cause.
    pub async fn open(path: impl AsRef<Path> + Send) -> Result<Arc<dyn Store>> {
        Self::open_with(path, Arc::new(SystemClock)).await
    }

    /// The same on another clock.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_with(
        path: impl AsRef<Path> + Send,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Store>> {
        let options = SqliteConnectOptions::new()
            .filename(path.as_ref())
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("temp_store", "memory")
            .disable_statement_logging();
        let writing = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An answer has to survive loss of power: the log is flushed on every commit.
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", WRITER_CACHE_KIB)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", LOG_BYTES);
        let mut connection = writing.connect().await.map_err(database)?;
        sqlx::migrate!("migrations/sqlite")
            .run(&mut connection)
            .await
            .map_err(Problem::internal)?;
        reserve_log(path.as_ref());
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(MAX_READ_WAIT)
            .test_before_acquire(false)
            .connect_with(options.read_only(true))
            .await
            .map_err(database)?;
        let writer =
            Writer::start(connection, writing, clock.clone()).map_err(Problem::internal)?;
        Ok(Arc::new(Self {
            writer,
            readers,
            searchers: Semaphore::new(SEARCHERS),
            clock,
        }))
    }

    /// Runs a command that changes nothing.
    async fn read<C: Command>(&self, query: C) -> Result<C::Reply> {
        let mut conn = self.readers.acquire().await.map_err(database)?;
        let mut tx = Tx {
            conn: &mut conn,
            now: self.clock.now_ms(),
        };
        Ok(query.run(&mut tx).await?)
    }

    async fn search_names(&self, query: SearchRequest) -> Result<SearchResponse> {
        let place = timeout(MAX_READ_WAIT, self.searchers.acquire()).await;
        let Ok(Ok(_place)) = place else {
            let detail = "too many searches at the moment";
            return Err(Problem::new(Kind::Overloaded, detail));
        };
        self.read(query).await
    }

    async fn write<C: Command>(&self, command: C) -> Result<C::Reply> {
        self.writer.run(command).await
    }
}

/// Sets room aside for the log, so that a disk that somebody fills to the last byte can still be
/// emptied: deleting needs to write to the log and nothing else.
fn reserve_log(database: &Path) {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let reserved = std::fs::OpenOptions::new()
        .write(true)
        .open(Path::new(&log))
        .and_then(|log| {
            let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
            Ok(rustix::fs::fallocate(log, flags, 0, RESERVED_LOG_BYTES)?)
        });
    if let Err(error) = reserved {
        // Not every file system can; then a full disk is a little harder to empty.
        tracing::warn!(%error, "no room set aside for the database's log");
    }
}

/// Is the database there?
struct Ping;

#[async_trait]
impl Command for Ping {
    type Reply = ();

    async fn run(self, tx: &mut Tx<'_>) -> Outcome<()> {
        sqlx::query("SELECT last FROM fences")
            .fetch_one(&mut *tx.conn)
            .await?;
        Ok(())
    }
}

/// Implements methods by the [`Command`] that their request is.
macro_rules! commands {
    ($($method:ident($request:ty) -> $reply:ty = $mode:ident;)*) => {
        #[async_trait]
        impl Store for SqliteStore {
            $(async fn $method(&self, request: $request) -> Result<$reply> {
                self.$mode(request).await
            })*

            async fn rotate_session(&self, request: RotateSessionRequest) -> Result<Session> {
                match self.write(request).await? {
                    Rotated::Session(session) => Ok(session),
                    Rotated::Refused => {
                        Err(Problem::new(Kind::Unauthenticated, "the refresh token is not valid"))
                    }
                }
            }

            async fn check(&self) -> Result<()> {
                self.read(Ping).await?;
                self.write(Ping).await.map_err(|problem| unavailable().caused_by(problem))
            }

            async fn close(&self) {
                self.writer.close().await;
                self.readers.close().await;
            }
        }
    };
}

commands! {
    create_account(CreateAccountRequest) -> Account = write;
    get_account(GetAccountRequest) -> Account = read;
    find_credentials(FindCredentialsRequest) -> Credentials = read;
    update_account(UpdateAccountRequest) -> Account = write;
    set_password(SetPasswordRequest) -> SetPasswordResponse = write;
    create_session(CreateSessionRequest) -> Session = write;
    get_session(GetSessionRequest) -> Session = read;
    list_sessions(ListSessionsRequest) -> ListSessionsResponse = read;
    revoke_session(RevokeSessionRequest) -> RevokeSessionsResponse = write;
    revoke_all_sessions(RevokeAllSessionsRequest) -> RevokeSessionsResponse = write;
    list_revocations(ListRevocationsRequest) -> ListRevocationsResponse = read;
    create_api_token(CreateApiTokenRequest) -> ApiToken = write;
    find_api_token(FindApiTokenRequest) -> ApiToken = read;
    list_api_tokens(ListApiTokensRequest) -> ListApiTokensResponse = read;
    revoke_api_token(RevokeApiTokenRequest) -> RevokeApiTokenResponse = write;
    publish_key(PublishKeyRequest) -> PublishKeyResponse = write;
    list_keys(ListKeysRequest) -> ListKeysResponse = read;

    stat(StatRequest) -> Entry = read;
    list(ListRequest) -> ListResponse = read;
    search(SearchRequest) -> SearchResponse = search_names;
    create_folder(CreateFolderRequest) -> Entry = write;
    move_entry(MoveRequest) -> Entry = write;
    copy(CopyRequest) -> Entry = write;
    delete(DeleteRequest) -> DeleteResponse = write;
    list_trash(ListTrashRequest) -> ListTrashResponse = read;
    restore(RestoreRequest) -> Entry = write;
    empty_trash(EmptyTrashRequest) -> EmptyTrashResponse = write;
    purge(PurgeRequest) -> PurgeResponse = write;
    apply(ApplyRequest) -> ApplyResponse = write;

    lock(LockRequest) -> Lock = write;
    refresh_lock(RefreshLockRequest) -> Lock = write;
    unlock(UnlockRequest) -> UnlockResponse = write;
    list_locks(ListLocksRequest) -> ListLocksResponse = read;
    patch_properties(PatchPropertiesRequest) -> PatchPropertiesResponse = write;
    list_properties(ListPropertiesRequest) -> ListPropertiesResponse = read;

    create_share(CreateShareRequest) -> Share = write;
    list_shares(ListSharesRequest) -> ListSharesResponse = read;
    get_share(GetShareRequest) -> Share = read;
    revoke_share(RevokeShareRequest) -> RevokeShareResponse = write;
    find_shared(FindSharedRequest) -> SharedEntry = read;
    list_shared(ListSharedRequest) -> ListSharedResponse = read;
    begin_download(BeginDownloadRequest) -> BeginDownloadResponse = write;

    begin_uploads(BeginUploadsRequest) -> BeginUploadsResponse = write;
    get_upload(GetUploadRequest) -> Upload = read;
    list_uploads(ListUploadsRequest) -> ListUploadsResponse = read;
    commit_upload(CommitUploadRequest) -> CommitUploadResponse = write;
    resize_upload(ResizeUploadRequest) -> Upload = write;
    cancel_upload(CancelUploadRequest) -> CancelUploadResponse = write;
    expire_uploads(ExpireUploadsRequest) -> ExpireUploadsResponse = write;
    block_instant(BlockInstantRequest) -> BlockInstantResponse = write;
    // Behind every commit that was sent before: what it calls unreferenced stays so.
    resolve_staging(ResolveStagingRequest) -> ResolveStagingResponse = write;

    claim_transfers(ClaimTransfersRequest) -> ClaimTransfersResponse = write;
    renew_transfer(RenewTransferRequest) -> RenewTransferResponse = write;
    commit_transfers(CommitTransfersRequest) -> CommitTransfersResponse = write;
    fail_transfer(FailTransferRequest) -> FailTransferResponse = write;
    list_transfers(ListTransfersRequest) -> ListTransfersResponse = read;
    replay_transfers(ReplayTransfersRequest) -> ReplayTransfersResponse = write;
    park_transfers(ParkTransfersRequest) -> ParkTransfersResponse = write;
    find_blobs(FindBlobsRequest) -> FindBlobsResponse = read;
    list_staged_copies(ListStagedCopiesRequest) -> ListStagedCopiesResponse = read;
    forget_staged_copies(ForgetStagedCopiesRequest) -> ForgetStagedCopiesResponse = write;
    claim_garbage(ClaimGarbageRequest) -> ClaimGarbageResponse = write;
    confirm_deleted(ConfirmDeletedRequest) -> ConfirmDeletedResponse = write;
}
