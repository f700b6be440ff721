//! The replica: behind, gone, and at work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cloudstore_proto::http::{Entry, Listing};
use cloudstore_stack_tests::{Stack, Writer, servers::on_replica, stack::DATABASES};
use cloudstore_testkit::{Client, client::attempt, eventually};
use tokio::{task::JoinSet, time::sleep};

/// What the requirement says.
const CLIENTS: usize = 16;
/// What the requirement says.
const PAIRS: u64 = 1_000;
/// Reads of each client for each of its writes, when there is much to read.
const READS: u64 = 20;
/// Writes of each client then.
const ROUNDS: u64 = 4;
/// What the requirement says.
const REPLICA_SHARE: f64 = 0.9;
/// How long dbproxy may take to see that the replica is out or back.
const NOTICED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_their_own_writes() {
    let stack = Stack::up().await;
    let ejected = stack
        .sum(&DATABASES, "dbproxy_replica_ejections_total", &[])
        .await;
    let done = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for client in accounts(&stack).await {
        clients.spawn(pairs(client, done.clone()));
    }
    let at = async |pairs: u64| {
        while done.load(Ordering::Relaxed) < pairs {
            sleep(Duration::from_millis(10)).await;
        }
    };
    at(PAIRS / 5).await;
    on_replica("STOP SLAVE SQL_THREAD").await;
    at(PAIRS / 2).await;
    on_replica("START SLAVE SQL_THREAD").await;
    at(PAIRS / 2 + PAIRS / 10).await;
    stack.kill(&["mysql-replica"]).await;
    at(PAIRS * 4 / 5).await;
    stack.start(&["mysql-replica"]).await;
    clients.join_all().await;
    // Both noticed both times.
    let now = stack
        .sum(&DATABASES, "dbproxy_replica_ejections_total", &[])
        .await;
    assert!(
        now >= ejected + 2.0 * DATABASES.len() as f64,
        "ejected {} times",
        now - ejected
    );
    is_readmitted(&stack).await;
}

async fn accounts(stack: &Stack) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::register(stack.url(), number).await);
    }
    clients
}

/// Writes and reads at once: new files, and one that is replaced again and again.
async fn pairs(client: Client, done: Arc<AtomicU64>) {
    loop {
        let number = done.fetch_add(1, Ordering::Relaxed);
        if number >= PAIRS {
            return;
        }
        let path = match number % 2 {
            0 => format!("/pairs/{number}"),
            _ => "/pairs/same".to_owned(),
        };
        let content = Writer::content(100);
        let put = attempt(client.put(&path, &content)).await;
        let put = put.unwrap_or_else(|broken| panic!("{broken:#?}"));
        assert!(matches!(put.status, 200 | 201), "{}", put.text());
        reads(&client, &path, &content.hex(), "I5").await;
    }
}

async fn reads(client: &Client, path: &str, blake3: &str, why: &str) {
    let read = attempt(client.get(&format!("/api/v1/files{path}"))).await;
    let read = read.unwrap_or_else(|broken| panic!("{broken:#?}"));
    assert_eq!(read.status, 200, "{why}: {path}: {}", read.text());
    match read.json::<Listing>().entry {
        Entry::File(file) => assert_eq!(file.blake3, blake3, "{why}: {path}"),
        other => panic!("{path}: {other:?}"),
    }
}

/// Both instances of dbproxy read from the replica again, without anybody's help.
async fn is_readmitted(stack: &Stack) {
    let client = Client::register(stack.url(), 0).await;
    let content = Writer::content(10);
    assert!(attempt(client.put("/folder/file", &content)).await.is_ok());
    for instance in DATABASES {
        let replica = [("pool", "replica")];
        let before = stack
            .metrics(instance)
            .await
            .sum("dbproxy_reads_total", &replica);
        let read = async || {
            reads(&client, "/folder/file", &content.hex(), "I5").await;
            let listed = attempt(client.get("/api/v1/files/folder")).await;
            assert!(listed.is_ok_and(|answer| answer.status == 200));
            let now = stack
                .metrics(instance)
                .await
                .sum("dbproxy_reads_total", &replica);
            if now > before {
                Ok(())
            } else {
                Err(format!("{instance} does not read from it"))
            }
        };
        eventually(NOTICED, read).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_answer_most_reads() {
    let stack = Stack::up().await;
    let clients = accounts(&stack).await;
    let count = async |pool| {
        let labels = [("pool", pool)];
        stack.sum(&DATABASES, "dbproxy_reads_total", &labels).await
    };
    let before = (count("primary").await, count("replica").await);
    let mut readers = JoinSet::new();
    for client in clients {
        readers.spawn(reader(client));
    }
    readers.join_all().await;
    let primary = count("primary").await - before.0;
    let replica = count("replica").await - before.1;
    println!("{primary} reads on the primary, {replica} on the replica");
    assert!(primary + replica >= 100.0, "hardly anything was read");
    assert!(
        replica >= REPLICA_SHARE * (primary + replica),
        "{replica} and {primary}"
    );
}

/// Writes one file, then reads the folder and all files in it.
async fn reader(client: Client) {
    let mut files = Vec::new();
    for round in 0..ROUNDS {
        let (path, content) = (format!("/read/{round}"), Writer::content(1_000));
        let put = attempt(client.put(&path, &content)).await;
        assert!(put.is_ok_and(|answer| answer.status == 201));
        files.push((path, content.hex()));
        for number in 0..READS {
            let (path, blake3) = &files[usize::try_from(number).unwrap() % files.len()];
            reads(&client, path, blake3, "I5").await;
            if number % 4 == 0 {
                let listed = attempt(client.get("/api/v1/files/read")).await;
                let listed = listed.unwrap().json::<Listing>();
                assert_eq!(
                    listed.entries.map(|entries| entries.len()),
                    Some(files.len())
                );
            }
        }
    }
}
