//! The store on MySQL or MariaDB: a primary that takes writes, and replicas that answer reads, for
//! any number of processes.
//!
//! # Locks
//!
//! A write is a transaction at READ COMMITTED that locks what it decides by. Everybody locks in
//! this order, so that transactions wait for each other in a line and hardly ever in a circle:
//! 1. the rows of accounts, in order of their ids (`FOR UPDATE`): writes of one account come one
//!    after the other, so its files, uploads and quota need no other lock;
//! 2. the rows of blobs, in order of their digests (`FOR UPDATE`);
//! 3. the rest: transfers, entries, uploads, sessions and then their tokens, API tokens, staged copies, fences.
//!
//! Transactions that met in a circle all the same are repeated (`writes.rs`).
//!
//! # SQL
//!
//! Both databases take it: no RETURNING, `VALUES(x)` in ON DUPLICATE KEY UPDATE, sums cast to
//! SIGNED. Three traps: SET assigns from the left to the right, and what stands on the right sees
//! what was assigned before; `rows_affected` counts the rows that were found, changed or not, and 2
//! for a row that ON DUPLICATE KEY updated; UPDATE and DELETE lock every row that they look at, so
//! they name rows by their keys (`rows::arguments`), not by a subquery.

mod accounts;
mod begin;
mod commit;
mod content;
mod copy;
mod error;
mod files;
mod garbage;
mod gtid;
mod known;
mod locks;
mod place;
mod pools;
mod primaries;
mod probe;
mod properties;
mod purge;
mod reads;
mod replicas;
mod rows;
mod schema;
mod search;
mod sessions;
mod shares;
mod staging;
mod statement;
mod tokens;
mod transfers;
mod trash;
mod tree;
mod tx;
mod uploads;
mod writes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cloudstore_proto::{account::*, dav::*, file::*, share::*, transfer::*, upload::*};
use cloudstore_service::{Kind, Problem, Result};
use sqlx::mysql::MySqlConnectOptions;
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    error::{Outcome, unavailable},
    primaries::Primaries,
    reads::Freshness,
    replicas::Replicas,
    sessions::Rotated,
    tx::{Command, Tx},
};
use crate::{clock::Clock, store::Store};

/// Connections for writes, and as many for reads on the primary. A write holds one for a few
/// milliseconds; more of them would only wait for each other's locks inside the server.
const WRITE_CONNECTIONS: u32 = 16;
/// Connections to each replica.
const READ_CONNECTIONS: u32 = 16;
/// How long a store without a primary waits for the first look at a replica.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Which servers there are, and how they are used.
#[derive(Clone)]
pub struct MySqlConfig {
    /// `mysql://user:password@host:port` of the primary, and of servers that may take its place, in
    /// order of preference.
    pub primaries: Vec<String>,
    /// Of the replicas. None: the primary answers every read.
    pub replicas: Vec<String>,
    /// Name of the database; it is made when it is missing and the user may do so.
    pub database: String,
    /// Connections for writes to the primary, and as many for reads.
    pub write_connections: u32,
    /// Connections for reads to each replica.
    pub read_connections: u32,
}

impl MySqlConfig {
    /// These servers, with the usual number of connections.
    #[must_use]
    pub fn new(primaries: Vec<String>, replicas: Vec<String>, database: impl Into<String>) -> Self {
        Self {
            primaries,
            replicas,
            database: database.into(),
            write_connections: WRITE_CONNECTIONS,
            read_connections: READ_CONNECTIONS,
        }
    }
}

/// Databases on a primary and its replicas.
pub struct MySqlStore {
    shared: Arc<Shared>,
}

/// What the calls and the tasks in the background have in common.
struct Shared {
    primaries: Arc<Primaries>,
    replicas: Arc<Replicas>,
    clock: Arc<dyn Clock>,
    /// Writes in hand, and those who watch the servers.
    tasks: TaskTracker,
    watchers: TaskTracker,
    closing: CancellationToken,
    reads: Reads,
}

impl Shared {
    fn open(&self) -> Result<()> {
        if self.closing.is_cancelled() {
            return Err(unavailable());
        }
        Ok(())
    }
}

/// How many reads each kind of server answered.
#[derive(Default)]
struct Reads {
    primary: AtomicU64,
    replica: AtomicU64,
}

impl Reads {
    fn count(&self, on_primary: bool) {
        let (count, pool) = if on_primary {
            (&self.primary, "primary")
        } else {
            (&self.replica, "replica")
        };
        count.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("dbproxy_reads_total", "pool" => pool).increment(1);
    }
}

impl MySqlStore {
    /// Connects, brings the schema up to date, and watches the servers from then on.
    ///
    /// Without a primary it opens as well if a replica has the schema: reads work then.
    ///
    /// # Errors
    /// `Unavailable` when no server answers, `Internal` for addresses that are none and schemas that
    /// cannot be brought up to date; with the reason as the private cause.
    pub async fn open(config: MySqlConfig, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(Self::connect(config, clock).await?))
    }

    /// The same, as its own type.
    ///
    /// # Errors
    /// As [`MySqlStore::open`].
    pub async fn connect(config: MySqlConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        schema::check_name(&config.database)?;
        let addresses = |urls: &[String]| -> Result<Vec<MySqlConnectOptions>> {
            let options = urls.iter().map(|url| pools::options(url));
            // The address holds a password: the error does not repeat it.
            options
                .collect::<sqlx::Result<_>>()
                .map_err(|_| Problem::internal("the address of a database server is not valid"))
        };
        let (first, others) = (addresses(&config.primaries)?, addresses(&config.replicas)?);
        let primaries = Arc::new(Primaries::new(
            &first,
            &config.database,
            config.write_connections,
        ));
        let replicas = Arc::new(Replicas::new(
            &others,
            &config.database,
            config.read_connections,
        ));
        let mut probes = Primaries::probes(&first);
        primaries.look(&mut probes).await;
        let floor = schema::prepare(&primaries, &others, &config.database).await?;
        let shared = Arc::new(Shared {
            primaries,
            replicas,
            clock,
            tasks: TaskTracker::new(),
            watchers: TaskTracker::new(),
            closing: CancellationToken::new(),
            reads: Reads::default(),
        });
        let stop = &shared.closing;
        shared
            .watchers
            .spawn(shared.primaries.clone().watch(probes, stop.clone()));
        for (replica, options) in shared.replicas.servers().iter().zip(others) {
            shared.watchers.spawn(shared.replicas.clone().watch(
                replica.clone(),
                options,
                shared.primaries.clone(),
                floor.clone(),
                stop.clone(),
            ));
        }
        if shared.primaries.current().is_none() {
            // Reads work from the first one on; who opens a store does not ask in vain.
            let mut healthy = shared.replicas.healthy();
            let _ = timeout(FIRST_LOOK, healthy.wait_for(|healthy| *healthy > 0)).await;
        }
        Ok(Self { shared })
    }

    /// Follows how many replicas answer reads.
    #[must_use]
    pub fn healthy_replicas(&self) -> watch::Receiver<usize> {
        self.shared.replicas.healthy()
    }

    /// How many reads replicas and primary have answered so far.
    #[must_use]
    pub fn answered_reads(&self) -> (u64, u64) {
        let Reads { replica, primary } = &self.shared.reads;
        (
            replica.load(Ordering::Relaxed),
            primary.load(Ordering::Relaxed),
        )
    }

    async fn write<C: Command>(&self, command: C) -> Result<C::Reply> {
        writes::write(&self.shared, command).await
    }

    /// What any state answers that contains the caller's own writes.
    async fn read<C: Command>(&self, query: C) -> Result<C::Reply> {
        reads::read(&self.shared, &query, Freshness::Position).await
    }

    /// The same, where something new is asked for by those who did not make it.
    async fn find<C: Command>(&self, query: C) -> Result<C::Reply> {
        reads::find(&self.shared, &query).await
    }

    /// What only the last state answers.
    async fn primary<C: Command>(&self, query: C) -> Result<C::Reply> {
        reads::read(&self.shared, &query, Freshness::Last).await
    }

    /// The same, but rather an older answer than none.
    async fn latest<C: Command>(&self, query: C) -> Result<C::Reply> {
        reads::read(&self.shared, &query, Freshness::LastKnown).await
    }
}

/// Is the database there?
struct Ping;

#[async_trait]
impl Command for Ping {
    type Reply = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<()> {
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
        impl Store for MySqlStore {
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

            /// Ready as long as reads work: a lost primary, which is logged, must not take the reads
            /// with it.
            async fn check(&self) -> Result<()> {
                self.latest(Ping).await.map_err(|problem| unavailable().caused_by(problem))
            }

            async fn close(&self) {
                let shared = &self.shared;
                shared.closing.cancel();
                shared.tasks.close();
                shared.tasks.wait().await;
                shared.watchers.close();
                shared.watchers.wait().await;
                shared.primaries.close().await;
                shared.replicas.close().await;
            }
        }
    };
}

commands! {
    create_account(CreateAccountRequest) -> Account = write;
    get_account(GetAccountRequest) -> Account = find;
    // A password or a session that has ended must not be good anywhere.
    find_credentials(FindCredentialsRequest) -> Credentials = latest;
    update_account(UpdateAccountRequest) -> Account = write;
    set_password(SetPasswordRequest) -> SetPasswordResponse = write;
    create_session(CreateSessionRequest) -> Session = write;
    get_session(GetSessionRequest) -> Session = latest;
    list_sessions(ListSessionsRequest) -> ListSessionsResponse = latest;
    revoke_session(RevokeSessionRequest) -> RevokeSessionsResponse = write;
    revoke_all_sessions(RevokeAllSessionsRequest) -> RevokeSessionsResponse = write;
    list_revocations(ListRevocationsRequest) -> ListRevocationsResponse = latest;
    create_api_token(CreateApiTokenRequest) -> ApiToken = write;
    // As for sessions, and a new one is good at once, whoever asks.
    find_api_token(FindApiTokenRequest) -> ApiToken = latest;
    list_api_tokens(ListApiTokensRequest) -> ListApiTokensResponse = read;
    revoke_api_token(RevokeApiTokenRequest) -> RevokeApiTokenResponse = write;
    publish_key(PublishKeyRequest) -> PublishKeyResponse = write;
    // A token may be used a moment after its key was published.
    list_keys(ListKeysRequest) -> ListKeysResponse = latest;

    stat(StatRequest) -> Entry = read;
    list(ListRequest) -> ListResponse = read;
    search(SearchRequest) -> SearchResponse = read;
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
    // Whoever looks for locks knows nothing of those who took them.
    list_locks(ListLocksRequest) -> ListLocksResponse = latest;
    patch_properties(PatchPropertiesRequest) -> PatchPropertiesResponse = write;
    list_properties(ListPropertiesRequest) -> ListPropertiesResponse = read;

    create_share(CreateShareRequest) -> Share = write;
    list_shares(ListSharesRequest) -> ListSharesResponse = read;
    get_share(GetShareRequest) -> Share = find;
    revoke_share(RevokeShareRequest) -> RevokeShareResponse = write;
    // A share that has ended must open nothing, and who uses one knows nothing of who made it.
    find_shared(FindSharedRequest) -> SharedEntry = latest;
    list_shared(ListSharedRequest) -> ListSharedResponse = latest;
    begin_download(BeginDownloadRequest) -> BeginDownloadResponse = write;

    begin_uploads(BeginUploadsRequest) -> BeginUploadsResponse = write;
    // Asked for by the node that gets the first chunk, which is not always the one that made it.
    get_upload(GetUploadRequest) -> Upload = find;
    list_uploads(ListUploadsRequest) -> ListUploadsResponse = read;
    commit_upload(CommitUploadRequest) -> CommitUploadResponse = write;
    resize_upload(ResizeUploadRequest) -> Upload = write;
    cancel_upload(CancelUploadRequest) -> CancelUploadResponse = write;
    expire_uploads(ExpireUploadsRequest) -> ExpireUploadsResponse = write;
    block_instant(BlockInstantRequest) -> BlockInstantResponse = write;
    // Excludes commits on their way: what it calls unreferenced stays so.
    resolve_staging(ResolveStagingRequest) -> ResolveStagingResponse = write;

    claim_transfers(ClaimTransfersRequest) -> ClaimTransfersResponse = write;
    renew_transfer(RenewTransferRequest) -> RenewTransferResponse = write;
    commit_transfers(CommitTransfersRequest) -> CommitTransfersResponse = write;
    fail_transfer(FailTransferRequest) -> FailTransferResponse = write;
    list_transfers(ListTransfersRequest) -> ListTransfersResponse = latest;
    replay_transfers(ReplayTransfersRequest) -> ReplayTransfersResponse = write;
    park_transfers(ParkTransfersRequest) -> ParkTransfersResponse = write;
    find_blobs(FindBlobsRequest) -> FindBlobsResponse = primary;
    list_staged_copies(ListStagedCopiesRequest) -> ListStagedCopiesResponse = primary;
    forget_staged_copies(ForgetStagedCopiesRequest) -> ForgetStagedCopiesResponse = write;
    claim_garbage(ClaimGarbageRequest) -> ClaimGarbageResponse = write;
    confirm_deleted(ConfirmDeletedRequest) -> ConfirmDeletedResponse = write;
}
