//! Reads of own writes whatever the replica does, lost servers, unconfirmed commits, and
//! transactions that meet in a circle, on real servers.
#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

#[path = "support/proxy.rs"]
mod proxy;
mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloudstore_dbproxy::{MySqlStore, Store, SystemClock, position};
use cloudstore_proto::{
    account::{CreateAccountRequest, GetAccountRequest},
    file::{CreateFolderRequest, DeleteRequest, EntryKind, PurgeRequest, StatRequest},
    upload::{CommitUploadRequest, Digests, OnConflict},
};
use cloudstore_service::{Kind, testing::server};
use sqlx::{
    ConnectOptions as _, Connection as _, MySqlConnection, Row as _, mysql::MySqlConnectOptions,
    raw_sql,
};
use tokio::{task::JoinSet, time::timeout};
use uuid::Uuid;

use proxy::{Next, Proxy};
use support::{Carrier, Database};

/// Longest wait for what the servers do by themselves, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// The share of reads that replicas have to answer.
const MOST: f64 = 0.9;
const TASKS: usize = 16;
const PAIRS: usize = 1_000;
const SIZE: i64 = 10;

/// Only one test at a time may stop replication, in whatever process.
struct Replication {
    admin: MySqlConnection,
    _lock: MySqlConnection,
}

impl Replication {
    async fn acquire() -> Self {
        let mut lock = Database::admin("MYSQL_PRIMARY_ADMIN_URL").await;
        let held: Option<i64> =
            sqlx::query_scalar("SELECT GET_LOCK('cloudstore_test_replication', 240)")
                .fetch_one(&mut lock)
                .await
                .unwrap();
        assert_eq!(held, Some(1), "another test holds replication for too long");
        let mut running = Self {
            admin: Database::admin("MYSQL_REPLICA_ADMIN_URL").await,
            _lock: lock,
        };
        // One that was killed may have left it stopped.
        running.start().await;
        running
    }

    async fn stop(&mut self) -> Stopped {
        let guard = Stopped;
        raw_sql("STOP SLAVE SQL_THREAD")
            .execute(&mut self.admin)
            .await
            .unwrap();
        guard
    }

    async fn start(&mut self) {
        raw_sql("START SLAVE")
            .execute(&mut self.admin)
            .await
            .unwrap();
    }
}

/// Starts the thread again, whatever becomes of the test.
struct Stopped;

impl Drop for Stopped {
    fn drop(&mut self) {
        let start = async {
            let mut admin = Database::admin("MYSQL_REPLICA_ADMIN_URL").await;
            raw_sql("START SLAVE").execute(&mut admin).await
        };
        tokio::task::block_in_place(|| {
            let started = tokio::runtime::Handle::current().block_on(start);
            assert!(started.is_ok() || std::thread::panicking(), "{started:?}");
        });
    }
}

async fn replicas(store: &MySqlStore, count: usize) {
    let mut healthy = store.healthy_replicas();
    let reached = timeout(PATIENCE, healthy.wait_for(|healthy| *healthy == count)).await;
    assert!(reached.is_ok(), "{count} healthy replicas");
}

fn id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}

async fn account(store: &dyn Store) -> Bytes {
    let id = id();
    let request = CreateAccountRequest {
        id: id.clone(),
        username: hex::encode(&id),
        password_hash: "hash".to_owned(),
        quota_bytes: 1 << 40,
        ..CreateAccountRequest::default()
    };
    store.create_account(request).await.unwrap().id
}

fn folder(owner: &Bytes, path: String) -> CreateFolderRequest {
    CreateFolderRequest {
        owner: owner.clone(),
        path,
        parents: false,
        precondition: None,
    }
}

fn stat(owner: &Bytes, path: &str) -> StatRequest {
    StatRequest {
        owner: owner.clone(),
        path: path.to_owned(),
    }
}

/// Many clients that write and read what they wrote.
async fn write_and_read(store: &Arc<MySqlStore>) {
    let clients: JoinSet<()> = (0..TASKS)
        .map(|task| {
            let client = Carrier::new(store.clone());
            async move {
                let owner = account(&*client).await;
                for number in 0..PAIRS.div_ceil(TASKS) {
                    let path = format!("/{task} {number}");
                    let made = client.create_folder(folder(&owner, path.clone())).await;
                    let found = client.stat(stat(&owner, &path)).await;
                    assert_eq!(found.unwrap(), made.unwrap());
                }
            }
        })
        .collect();
    clients.join_all().await;
}

/// Waits until replicas answer most reads of what was just written. They may still be busy with
/// what other tests write.
async fn replicas_answer_most(store: &Arc<MySqlStore>) {
    let most = async { while share_of_replicas(store, write_and_read(store)).await < MOST {} };
    let reached = timeout(PATIENCE, most).await;
    assert!(reached.is_ok(), "replicas answer less than {MOST}");
}

/// The share of reads that replicas answer while `work` is done.
async fn share_of_replicas(store: &Arc<MySqlStore>, work: impl Future<Output = ()>) -> f64 {
    let before = store.answered_reads();
    work.await;
    let after = store.answered_reads();
    let (replica, primary) = (after.0 - before.0, after.1 - before.1);
    #[expect(clippy::cast_precision_loss, reason = "there are a few thousand")]
    let share = replica as f64 / (replica + primary) as f64;
    share
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_answer_reads_of_own_writes() {
    let _replication = Replication::acquire().await;
    let database = Database::new();
    let store = database.open(Arc::new(SystemClock)).await;
    replicas(&store, 1).await;
    replicas_answer_most(&store).await;
    store.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_hides_no_write() {
    let mut replication = Replication::acquire().await;
    let database = Database::new();
    let store = database.open(Arc::new(SystemClock)).await;
    replicas(&store, 1).await;
    let stopped = replication.stop().await;
    write_and_read(&store).await;
    replicas(&store, 0).await;
    write_and_read(&store).await;
    drop(stopped);
    replicas(&store, 1).await;
    replicas_answer_most(&store).await;
    store.close().await;
    database.remove().await;
}

/// A proxy to a server, and the address through it.
async fn proxy_to(name: &str) -> (Proxy, String) {
    let options: MySqlConnectOptions = server(name).parse().unwrap();
    let direct = format!("{}:{}", options.get_host(), options.get_port());
    let proxy = Proxy::start(direct.clone()).await;
    let through = server(name).replace(&direct, &proxy.address.to_string());
    (proxy, through)
}

/// A store whose primary is reached through a proxy, and maybe through another address, too.
async fn behind_proxy(database: &Database, second: Option<String>) -> (Arc<MySqlStore>, Proxy) {
    let (proxy, through) = proxy_to("MYSQL_PRIMARY_URL").await;
    let mut config = database.config();
    config.primaries = [through].into_iter().chain(second).collect();
    let store = MySqlStore::connect(config, Arc::new(SystemClock)).await;
    (Arc::new(store.unwrap()), proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_says_nothing_holds_up_few_reads() {
    let _replication = Replication::acquire().await;
    let database = Database::new();
    let (proxy, through) = proxy_to("MYSQL_REPLICA_URL").await;
    let mut config = database.config();
    config.replicas = vec![through];
    let store = MySqlStore::connect(config, Arc::new(SystemClock)).await;
    let store = Arc::new(store.unwrap());
    let client = Carrier::new(store.clone());
    let owner = account(&*client).await;
    replicas(&store, 1).await;
    client.stat(stat(&owner, "/")).await.unwrap();
    let faults: [fn(&Proxy, bool); 2] = [Proxy::set_stalled, |proxy, down| proxy.set_up(!down)];
    for down in faults {
        down(&proxy, true);
        let asked = Instant::now();
        for _ in 0..100 {
            client.stat(stat(&owner, "/")).await.unwrap();
            store.stat(stat(&owner, "/")).await.unwrap();
        }
        assert!(asked.elapsed() < Duration::from_secs(20), "{asked:?}");
        replicas(&store, 0).await;
        down(&proxy, false);
        replicas(&store, 1).await;
        let share = share_of_replicas(&store, async {
            store.stat(stat(&owner, "/")).await.unwrap();
        });
        assert!(share.await > 0.0, "it is used again");
    }
    store.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_are_not_confirmed() {
    let database = Database::new();
    let (store, proxy) = behind_proxy(&database, None).await;
    let client = Carrier::new(store.clone());
    let owner = account(&*client).await;

    // Lost on the way there or back: nobody can tell, so the caller has to repeat it.
    for (next, path) in [(Next::IsLost, "/lost"), (Next::IsNotConfirmed, "/done")] {
        proxy.next_commit(next);
        let request = commit(&owner, path, 1);
        let refused = client.commit_upload(request.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable, "{path}");
        let repeated = client.commit_upload(request.clone()).await.unwrap();
        let file = repeated.file.unwrap();
        assert_eq!((&file.id, &*file.path), (&request.id, path));
        // The repetition may have written nothing; its position covers the first one all the same.
        assert_eq!(client.stat(stat(&owner, path)).await.unwrap(), file);
    }
    let account = client.get_account(GetAccountRequest { id: owner }).await;
    assert_eq!(account.unwrap().used_bytes, 2 * SIZE, "counted once");
    check_books(&database).await;
    store.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_primary_takes_only_the_writes_with_it() {
    let _replication = Replication::acquire().await;
    let database = Database::new();
    let (store, proxy) = behind_proxy(&database, None).await;
    let client = Carrier::new(store.clone());
    let owner = account(&*client).await;
    replicas(&store, 1).await;
    client.stat(stat(&owner, "/")).await.unwrap();

    proxy.set_up(false);
    let asked = Instant::now();
    let refused = client.create_folder(folder(&owner, "/a".to_owned())).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
    assert!(asked.elapsed() < Duration::from_secs(10));
    client.stat(stat(&owner, "/")).await.unwrap();
    store.stat(stat(&owner, "/")).await.unwrap();
    store.check().await.unwrap();
    // What no replica can have is not made up.
    let future = Some("0-1-999999999999".to_owned());
    let (unseen, _) = position::scope(future, store.stat(stat(&owner, "/"))).await;
    assert_eq!(unseen.unwrap_err().kind(), Kind::Unavailable);

    // A process that starts now serves reads, too.
    let mut config = database.config();
    let port = format!("mysql://nobody:nothing@{}", proxy.address);
    config.primaries = vec![port];
    let late = MySqlStore::connect(config, Arc::new(SystemClock))
        .await
        .unwrap();
    late.stat(stat(&owner, "/")).await.unwrap();
    late.close().await;

    proxy.set_up(true);
    let again = async {
        while client
            .create_folder(folder(&owner, "/a".to_owned()))
            .await
            .is_err()
        {}
    };
    timeout(PATIENCE, again).await.unwrap();
    assert!(client.stat(stat(&owner, "/a")).await.is_ok());
    store.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_follow_the_primary() {
    let database = Database::new();
    // The first address goes down; the replica is read-only and never becomes the primary.
    let others = server("MYSQL_PRIMARY_URL");
    let (store, proxy) = behind_proxy(&database, Some(others)).await;
    let client = Carrier::new(store.clone());
    let owner = account(&*client).await;
    let before = proxy.commits.load(std::sync::atomic::Ordering::SeqCst);
    assert!(before > 0, "the first address is preferred");
    proxy.set_up(false);
    for number in 0..20 {
        let path = format!("/{number}");
        client
            .create_folder(folder(&owner, path.clone()))
            .await
            .unwrap();
        client.stat(stat(&owner, &path)).await.unwrap();
    }
    store.close().await;

    let mut config = database.config();
    config.primaries.insert(0, server("MYSQL_REPLICA_URL"));
    let store = MySqlStore::connect(config, Arc::new(SystemClock))
        .await
        .unwrap();
    store
        .create_folder(folder(
            &owner,
            "/read-only servers are passed over".to_owned(),
        ))
        .await
        .unwrap();
    store.close().await;
    let late = store
        .create_folder(folder(&owner, "/late".to_owned()))
        .await;
    assert_eq!(late.unwrap_err().kind(), Kind::Unavailable);
    database.remove().await;
}

fn commit(owner: &Bytes, path: &str, seed: u8) -> CommitUploadRequest {
    CommitUploadRequest {
        id: id(),
        account_id: owner.clone(),
        path: path.to_owned(),
        size: SIZE,
        on_conflict: OnConflict::Replace.into(),
        media_type: "text/plain".to_owned(),
        content: Some(Digests {
            blake3: vec![seed; 32].into(),
            ..Digests::default()
        }),
        node: "node".to_owned(),
        staging_id: id(),
        ..CommitUploadRequest::default()
    }
}

/// A connection to the database on the primary.
async fn connection(database: &Database) -> MySqlConnection {
    let options: MySqlConnectOptions = server("MYSQL_PRIMARY_URL").parse().unwrap();
    let options = options.database(&database.name).disable_statement_logging();
    options.connect().await.unwrap()
}

/// References and used bytes are what the entries say.
async fn check_books(database: &Database) {
    let mut connection = connection(database).await;
    let wrong: i64 = sqlx::query_scalar(
        "SELECT CAST(count(*) AS SIGNED) FROM blobs b WHERE b.refcount <>
            (SELECT count(*) FROM entries e WHERE e.blob_id = b.blake3)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(wrong, 0, "blobs with another number of references");
    let wrong: i64 = sqlx::query_scalar(
        "SELECT CAST(count(*) AS SIGNED) FROM accounts a WHERE a.reserved_bytes <> 0
            OR a.used_bytes <> (SELECT coalesce(sum(e.size), 0) FROM entries e
                WHERE e.owner = a.id)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(wrong, 0, "accounts with other sums");
}

/// How many deadlocks the primary has seen.
async fn deadlocks(database: &Database) -> u64 {
    let row = raw_sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        .fetch_one(&mut connection(database).await)
        .await
        .unwrap();
    row.get_unchecked::<String, _>(1).parse().unwrap()
}

/// Somebody who locks the same blobs in the wrong order, so that there are deadlocks.
async fn lock_backwards(database: &Database, rounds: u8) {
    let mut connection = connection(database).await;
    for round in 0..rounds {
        let (first, second) = (vec![round % 3 + 2; 32], vec![1; 32]);
        let locked = async {
            let mut transaction = connection.begin().await?;
            for blake3 in [first, second] {
                sqlx::query("SELECT blake3 FROM blobs WHERE blake3 = ? FOR UPDATE")
                    .bind(blake3)
                    .fetch_optional(&mut *transaction)
                    .await?;
                tokio::task::yield_now().await;
            }
            transaction.commit().await
        };
        // Sometimes this one is the victim.
        let _: sqlx::Result<()> = locked.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_meet_in_a_circle() {
    const WRITERS: u8 = 12;
    const ROUNDS: u8 = 20;
    let database = Arc::new(Database::new());
    let store = database.open(Arc::new(SystemClock)).await;
    let before = deadlocks(&database).await;
    let owners = [account(&*store).await, account(&*store).await];
    let mut work: JoinSet<()> = (0..WRITERS)
        .map(|writer| {
            let (store, owner) = (store.clone(), owners[usize::from(writer % 2)].clone());
            async move {
                for round in 0..ROUNDS {
                    // Few names and few contents: files replace each other all the time.
                    let path = format!("/{}", (writer + round) % 5);
                    let seed = 1 + (writer * 7 + round) % 4;
                    let made = store.commit_upload(commit(&owner, &path, seed)).await;
                    let file = made.unwrap().file.unwrap();
                    assert_eq!(file.kind(), EntryKind::File);
                    if round % 3 == 0 {
                        let owner = owner.clone();
                        let delete = DeleteRequest {
                            keep_ms: 0,
                            precondition: None,
                            owner,
                            path,
                        };
                        // Another writer may have been faster.
                        let _ = store.delete(delete).await;
                        store.purge(PurgeRequest { limit: 0 }).await.unwrap();
                    }
                }
            }
        })
        .collect();
    for _ in 0..2 {
        let database = database.clone();
        work.spawn(async move { lock_backwards(&database, 200).await });
    }
    work.join_all().await;
    assert!(
        deadlocks(&database).await > before,
        "there was nothing to repeat"
    );
    check_books(&database).await;
    store.close().await;
    database.remove().await;
}
