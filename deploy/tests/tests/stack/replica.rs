//! The replica: behind, gone, and at work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use cloudstore_proto::http::{Entry, Listing};
use cloudstore_stack_tests::{Stack, Writer, servers::on_replica, stack::DATABASES};
use cloudstore_testkit::{Client, client::attempt, eventually};
use tokio::{task::JoinSet, time::Instant};

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
/// How long it is counted what the services read by themselves.
const IDLE: Duration = Duration::from_secs(3);
/// Far longer than a few hundred pairs take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long dbproxy may take to see that the replica is out or back.
const NOTICED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_their_own_writes() {
    let stack = Stack::up().await;
    let work = Arc::new(Work::default());
    let mut clients = JoinSet::new();
    for client in accounts(&stack).await {
        clients.spawn(pairs(client, work.clone()));
    }
    work.passes(PAIRS / 4).await;
    let before = ejections(&stack).await;
    on_replica("STOP SLAVE SQL_THREAD").await;
    is_ejected(&stack, before).await;
    println!("out since its SQL thread stopped, at pair {}", work.pairs());
    work.passes(PAIRS / 4).await;
    on_replica("START SLAVE SQL_THREAD").await;
    is_readmitted(&stack).await;
    println!("back at pair {}", work.pairs());
    let before = ejections(&stack).await;
    stack.kill(&["mysql-replica"]).await;
    is_ejected(&stack, before).await;
    println!("out since it was killed, at pair {}", work.pairs());
    work.passes(PAIRS / 4).await;
    stack.start(&["mysql-replica"]).await;
    is_readmitted(&stack).await;
    println!("back at pair {}", work.pairs());
    work.passes(PAIRS / 4).await;
    work.ends.store(true, Ordering::Relaxed);
    clients.join_all().await;
}

/// What the clients do together.
#[derive(Default)]
struct Work {
    done: AtomicU64,
    ends: AtomicBool,
}

impl Work {
    fn pairs(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Until so many more writes were read.
    async fn passes(&self, pairs: u64) {
        let goal = self.pairs() + pairs;
        let passed = async || match self.pairs() {
            done if done >= goal => Ok(()),
            done => Err(format!("{done} of {goal}")),
        };
        eventually(PATIENCE, passed).await;
    }
}

async fn ejections(stack: &Stack) -> Vec<f64> {
    let mut ejections = Vec::new();
    for instance in DATABASES {
        let metrics = stack.metrics(instance).await;
        ejections.push(metrics.sum("dbproxy_replica_ejections_total", &[]));
    }
    ejections
}

/// Both instances of dbproxy read from it no more.
async fn is_ejected(stack: &Stack, before: Vec<f64>) {
    let both = async || {
        let now = ejections(stack).await;
        match now.iter().zip(&before).all(|(now, before)| now > before) {
            true => Ok(()),
            false => Err(format!("ejections: {now:?} after {before:?}")),
        }
    };
    eventually(NOTICED, both).await;
}

async fn accounts(stack: &Stack) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::register(stack.url(), number).await);
    }
    clients
}

/// Writes and reads at once: new files, and one that is replaced again and again.
async fn pairs(client: Client, work: Arc<Work>) {
    while !work.ends.load(Ordering::Relaxed) {
        let number = work.done.fetch_add(1, Ordering::Relaxed);
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
    // The services read for themselves as well, however quickly clients do.
    let idle = [count("primary").await, count("replica").await];
    tokio::time::sleep(IDLE).await;
    let before = [count("primary").await, count("replica").await];
    let begin = Instant::now();
    let mut readers = JoinSet::new();
    for client in clients {
        readers.spawn(reader(client));
    }
    readers.join_all().await;
    let after = [count("primary").await, count("replica").await];
    let times = begin.elapsed().as_secs_f64() / IDLE.as_secs_f64();
    let [primary, replica] =
        [0, 1].map(|pool| after[pool] - before[pool] - (before[pool] - idle[pool]) * times);
    println!("{primary:.0} reads on the primary, {replica:.0} on the replica");
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
