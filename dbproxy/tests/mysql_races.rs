//! MySQL or MariaDB as two processes use it: two stores on one database.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use cloudstore_dbproxy::{
    Clock, Store,
    mysql::{MySqlConfig, MySqlStore},
    testing::{self, Fixture, ManualClock},
};
use cloudstore_proto::{
    account::*, file::*, transfer::*, upload::begin_result::Result as Answer, upload::*,
};
use cloudstore_service::{Kind, Problem, Result, testing::server};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlConnection, mysql::MySqlConnectOptions};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A database that nobody else uses.
struct Database {
    name: String,
}

impl Database {
    fn new() -> Self {
        let name = format!("cloudstore_test_{}", Uuid::now_v7().simple());
        Self { name }
    }

    async fn connect(&self) -> MySqlConnection {
        let options: MySqlConnectOptions = server("MYSQL_PRIMARY_URL").parse().expect("an address");
        let options = options.database(&self.name).disable_statement_logging();
        options.connect().await.expect("the primary must run")
    }

    #[expect(clippy::unwrap_used, reason = "what cannot be removed should be seen")]
    async fn remove(&self) {
        let sql = format!("DROP DATABASE `{}`", self.name);
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        sql.execute(&mut self.connect().await).await.unwrap();
    }
}

/// Opens a store that reads from the primary alone: what it answers needs no position.
#[expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]
async fn open(database: &Database, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
    let primaries = vec![server("MYSQL_PRIMARY_URL")];
    let config = MySqlConfig::new(primaries, Vec::new(), &*database.name);
    MySqlStore::open(config, clock).await.unwrap()
}

macro_rules! topics {
    ($($topic:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $topic() {
            let database = Database::new();
            let fixture = Fixture::new(async |clock| open(&database, clock).await).await;
            let peer = open(&database, fixture.clock.clone()).await;
            let stores = [fixture.store.clone(), peer.clone()];
            testing::$topic(Fixture { peer, ..fixture }).await;
            for store in stores {
                store.close().await;
            }
            database.remove().await;
        })*
    };
}

topics! {
    many_references quota_under_load removal_against_references
    same_content_of_two quota_of_two removal_against_instant resolved_or_committed
}

const ACCOUNTS: u64 = 6;
/// Calls of each account.
const CALLS: u32 = 150;
const LEASE: i64 = 1_000;
/// Contents that everybody shares: few enough that they meet, and so many that some of them have
/// no file for a while.
const CONTENTS: u64 = 24;
/// Room for all of the paths, and for what is deleted and not purged yet.
const QUOTA: i64 = 30_000;

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn path(&mut self) -> String {
        format!("/{}/{}", self.roll(3), self.roll(4))
    }

    /// Digest and size of a content.
    fn content(&mut self) -> (Digests, i64) {
        let seed = self.roll(CONTENTS);
        let blake3 = Bytes::from(vec![u8::try_from(seed).unwrap_or_default(); 32]);
        let size = 1_000 + i64::try_from(seed).unwrap_or_default();
        let digests = Digests {
            blake3,
            ..Digests::default()
        };
        (digests, size)
    }

    fn on_conflict(&mut self) -> i32 {
        i32::try_from(1 + self.roll(3)).unwrap_or_default()
    }
}

fn id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}

/// What a caller has to reckon with. Anything else is the store's fault: somebody was in the way
/// for too long, or something that must not happen did.
#[track_caller]
fn expected<T>(result: Result<T>) -> Option<T> {
    let caller = std::panic::Location::caller();
    match result {
        Ok(answer) => Some(answer),
        Err(problem) => {
            let kind = problem.kind();
            let refusals = [
                Kind::NameConflict,
                Kind::NotFound,
                Kind::NotAFolder,
                Kind::IsAFolder,
                Kind::InvalidPath,
                Kind::QuotaExceeded,
                Kind::BlobDeleting,
                Kind::BlobMissing,
                Kind::UploadGone,
                Kind::LeaseLost,
            ];
            assert!(refusals.contains(&kind), "{caller}: {problem:?}");
            None
        }
    }
}

/// One account's client: whatever comes to its mind.
async fn client(store: Arc<dyn Store>, owner: Bytes, mut dice: Dice) {
    for _ in 0..CALLS {
        match dice.roll(7) {
            0 | 1 => {
                expected(store.commit_upload(direct(&owner, &mut dice)).await);
            }
            2 | 3 => announce(&*store, &owner, &mut dice).await,
            4 => {
                let path = dice.path();
                let delete = change::Change::Delete(DeleteRequest {
                    keep_ms: 0,
                    owner: owner.clone(),
                    path: path.clone(),
                    precondition: None,
                });
                let create = change::Change::CreateFolder(CreateFolderRequest {
                    owner: owner.clone(),
                    path,
                    parents: true,
                    precondition: None,
                });
                let changes = [delete.clone(), create, delete].map(|change| Change {
                    change: Some(change),
                });
                let request = ApplyRequest {
                    owner: owner.clone(),
                    changes: changes.to_vec(),
                };
                expected(store.apply(request).await);
            }
            5 => {
                let (from, to) = if dice.roll(2) == 0 {
                    let folder = |dice: &mut Dice| format!("/{}", dice.roll(3));
                    (folder(&mut dice), folder(&mut dice))
                } else {
                    (dice.path(), dice.path())
                };
                let request = CopyRequest {
                    owner: owner.clone(),
                    from,
                    to,
                    id: id(),
                    replace: dice.roll(2) == 0,
                    ..CopyRequest::default()
                };
                expected(store.copy(request).await);
            }
            _ => {
                let path = if dice.roll(4) == 0 {
                    format!("/{}", dice.roll(3))
                } else {
                    dice.path()
                };
                let request = DeleteRequest {
                    keep_ms: 0,
                    owner: owner.clone(),
                    path,
                    precondition: None,
                };
                expected(store.delete(request).await);
            }
        }
    }
}

fn direct(owner: &Bytes, dice: &mut Dice) -> CommitUploadRequest {
    let (content, size) = dice.content();
    CommitUploadRequest {
        id: id(),
        account_id: owner.clone(),
        path: dice.path(),
        size,
        on_conflict: dice.on_conflict(),
        content: Some(content),
        node: "node".to_owned(),
        // Sometimes only proved.
        staging_id: if dice.roll(4) == 0 {
            Bytes::new()
        } else {
            id()
        },
        ..CommitUploadRequest::default()
    }
}

/// Announces some uploads and finishes or cancels those that are to be sent.
async fn announce(store: &dyn Store, owner: &Bytes, dice: &mut Dice) {
    let mut entries = Vec::new();
    for _ in 0..=dice.roll(4) {
        let (digests, size) = dice.content();
        entries.push(BeginUpload {
            id: id(),
            path: dice.path(),
            size,
            digests: Some(digests).filter(|_| dice.roll(3) > 0),
            on_conflict: dice.on_conflict(),
            chunk_size: 1,
            ..BeginUpload::default()
        });
    }
    let request = BeginUploadsRequest {
        account_id: owner.clone(),
        node: "node".to_owned(),
        policy: InstantPolicy::Everyone.into(),
        lifetime_ms: 50,
        direct_limit: -1,
        max_open: 100,
        entries,
    };
    let Some(begun) = expected(store.begin_uploads(request).await) else {
        return;
    };
    for answer in begun.results {
        let (upload, staging_id) = match answer.result {
            Some(Answer::Uploading(upload)) => (upload, id()),
            Some(Answer::Challenge(challenge)) => {
                (challenge.upload.unwrap_or_default(), Bytes::new())
            }
            Some(Answer::Problem(problem)) => {
                let kind = Kind::from_slug(&problem.slug).unwrap_or(Kind::Internal);
                expected::<()>(Err(Problem::new(kind, problem.detail)));
                continue;
            }
            _ => continue,
        };
        if dice.roll(4) == 0 {
            let request = CancelUploadRequest {
                account_id: owner.clone(),
                id: upload.id,
            };
            expected(store.cancel_upload(request).await);
            continue;
        }
        let seed = u8::try_from(upload.size - 1_000).unwrap_or_default();
        let request = CommitUploadRequest {
            id: upload.id.clone(),
            account_id: owner.clone(),
            reserved: true,
            content: Some(Digests {
                blake3: vec![seed; 32].into(),
                ..Digests::default()
            }),
            node: "node".to_owned(),
            staging_id,
            ..CommitUploadRequest::default()
        };
        expected(store.commit_upload(request).await);
    }
}

/// What transfer-worker and the nodes do all the time. How many blobs it stored and removed.
async fn worker(
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    mut dice: Dice,
    stop: CancellationToken,
) -> [usize; 2] {
    let mut done = [0, 0];
    while !stop.is_cancelled() {
        clock.advance(7);
        let limit = u32::try_from(1 + dice.roll(20)).unwrap_or(1);
        expected(store.purge(PurgeRequest { limit }).await);
        let request = ExpireUploadsRequest {
            node: "node".to_owned(),
            limit,
            direct: false,
        };
        expected(store.expire_uploads(request).await);
        let request = ClaimTransfersRequest {
            limit,
            lease_ms: LEASE,
            worker: "worker".to_owned(),
            ..ClaimTransfersRequest::default()
        };
        let claimed = expected(store.claim_transfers(request).await).unwrap_or_default();
        for transfer in claimed.transfers {
            let blake3 = transfer.blob.unwrap_or_default().blake3;
            let fence = transfer.fence;
            if dice.roll(3) == 0 {
                let request = FailTransferRequest {
                    blameless: false,
                    blake3,
                    fence,
                    park: dice.roll(2) == 0,
                    ..FailTransferRequest::default()
                };
                expected(store.fail_transfer(request).await);
                continue;
            }
            let commits = vec![CommitTransfer {
                blake3,
                fence,
                ..CommitTransfer::default()
            }];
            let request = CommitTransfersRequest { commits };
            let stored = expected(store.commit_transfers(request).await).unwrap_or_default();
            done[0] += usize::from(stored.committed == [true]);
        }
        let request = ListStagedCopiesRequest::default();
        let copies = expected(store.list_staged_copies(request).await).unwrap_or_default();
        let request = ForgetStagedCopiesRequest {
            blobs: copies.blobs,
        };
        expected(store.forget_staged_copies(request).await);
        let request = ClaimGarbageRequest {
            grace_ms: 0,
            lease_ms: LEASE,
            limit,
        };
        let garbage = expected(store.claim_garbage(request).await).unwrap_or_default();
        for Garbage { blob, fence } in garbage.blobs {
            let blake3 = blob.unwrap_or_default().blake3;
            let request = ConfirmDeletedRequest { blake3, fence };
            done[1] += usize::from(expected(store.confirm_deleted(request).await).is_some());
        }
    }
    done
}

/// What must hold in every snapshot: counts of rows that contradict each other.
const CONTRADICTIONS: &[(&str, &str)] = &[
    (
        "a blob's count is not that of its entries",
        "SELECT COUNT(*) FROM blobs b WHERE refcount <>
            (SELECT COUNT(*) FROM entries WHERE blob_id = b.blake3)",
    ),
    (
        "an account uses something else than its files",
        "SELECT COUNT(*) FROM accounts a WHERE used_bytes <>
            (SELECT COALESCE(SUM(size), 0) FROM entries WHERE owner = a.id)",
    ),
    (
        "an account has reserved something else than its uploads",
        "SELECT COUNT(*) FROM accounts a WHERE reserved_bytes <>
            (SELECT COALESCE(SUM(size), 0) FROM uploads WHERE account = a.id AND status = 1)",
    ),
    (
        "an account is over its quota",
        "SELECT COUNT(*) FROM accounts WHERE used_bytes + reserved_bytes > quota_bytes",
    ),
    (
        "a file refers to content that is being removed",
        "SELECT COUNT(*) FROM entries e JOIN blobs b ON b.blake3 = e.blob_id WHERE b.state = 4",
    ),
    (
        "content that is not stored has no copy or no transfer",
        "SELECT COUNT(*) FROM blobs b LEFT JOIN transfers t ON t.blake3 = b.blake3
        WHERE b.state IN (1, 2) AND (b.staging_id IS NULL OR t.blake3 IS NULL)",
    ),
];

#[expect(clippy::unwrap_used, reason = "a question that fails is a failure")]
async fn contradictions(connection: &mut MySqlConnection) -> BTreeMap<&'static str, i64> {
    let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    sqlx::raw_sql(begin)
        .execute(&mut *connection)
        .await
        .unwrap();
    let mut found = BTreeMap::new();
    for (what, sql) in CONTRADICTIONS {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(*sql))
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        if count > 0 {
            found.insert(*what, count);
        }
    }
    sqlx::raw_sql("COMMIT").execute(connection).await.unwrap();
    found
}

/// Clients and workers on two stores, all at once on a few contents: nobody fails for contention,
/// and the books balance in every snapshot on the way.
#[tokio::test(flavor = "multi_thread")]
async fn books_balance() {
    let database = Database::new();
    let clock = Arc::new(ManualClock::default());
    let stores = [
        open(&database, clock.clone()).await,
        open(&database, clock.clone()).await,
    ];
    let mut clients = JoinSet::new();
    for number in 0..ACCOUNTS {
        let owner = id();
        let request = CreateAccountRequest {
            id: owner.clone(),
            username: number.to_string(),
            password_hash: "hash".to_owned(),
            quota_bytes: QUOTA,
            ..CreateAccountRequest::default()
        };
        stores[0].create_account(request).await.unwrap();
        // Each account comes through both stores at once.
        for (store, seed) in stores.iter().zip([1, 2]) {
            let dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (number * 2 + seed));
            clients.spawn(client(store.clone(), owner.clone(), dice));
        }
    }
    let stop = CancellationToken::new();
    let workers: JoinSet<_> = stores
        .iter()
        .zip([101, 102])
        .map(|(store, seed)| worker(store.clone(), clock.clone(), Dice(seed), stop.clone()))
        .collect();
    let mut connection = database.connect().await;
    while !clients.is_empty() {
        let found = contradictions(&mut connection).await;
        assert!(found.is_empty(), "{found:?}");
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
    }
    stop.cancel();
    for done in workers.join_all().await {
        assert!(done.iter().all(|count| *count > 0), "{done:?}");
    }
    let found = contradictions(&mut connection).await;
    assert!(found.is_empty(), "{found:?}");
    for store in stores {
        store.close().await;
    }
    database.remove().await;
}
