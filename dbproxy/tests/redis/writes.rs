//! Who sees which write, whatever Redis lost or delayed.

use cloudstore_proto::account::GetAccountRequest;

use super::{servers::Server, *};

/// Waits until something is so.
async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(done.is_ok(), "never: {what}");
}

/// A load that began before a write stores nothing after it, and nobody who asks after the write
/// joins it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_load_does_not_undo_a_write() {
    let nowhere = "redis+unix:///nowhere/redis.sock";
    let shared = shared_redis();
    for positions in [false, true] {
        for (url, other_process) in [(&*shared, false), (&*shared, true), (nowhere, false)] {
            let race = slow_load_against_write(url, other_process, positions);
            let done = tokio::time::timeout(Duration::from_secs(20), race).await;
            done.expect("who asks after the write waits for the load before it");
        }
    }
}

async fn slow_load_against_write(url: &str, other_process: bool, positions: bool) {
    let world = World::new().await;
    if !positions {
        world.spy.without_positions();
    }
    let [a, b] = [(); 2].map(|()| world.process(url));
    let writer = if other_process { &b } else { &a };
    let hold = world.spy.hold_stat();
    let slow = world.is_there(&a, "/folder");
    let write = async {
        hold.came.notified().await;
        world.mkdir(writer, "/folder").await;
        assert!(world.is_there(&a, "/folder").await);
        world.loads();
        hold.go.notify_one();
    };
    let (was_there, ()) = tokio::join!(slow, write);
    assert!(!was_there, "it asked before the write");
    assert!(world.is_there(&a, "/folder").await);
    assert!(world.is_there(&b, "/folder").await);
    if url == shared_redis() {
        assert_eq!(world.loads(), 0, "the newer entry is still there");
    }
}

/// A Redis that answers and takes no writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_full() {
    let server = Server::start().await;
    let world = World::new().await;
    world.spy.without_positions();
    let process = world.process(&server.url());
    world.mkdir(&process, "/folder").await;
    assert!(world.is_there(&process, "/folder").await);
    let mut redis = connect(&server.url()).await;
    let mut limit = async |bytes: u32| {
        let _: () = redis::cmd("CONFIG")
            .arg(&["SET", "maxmemory"])
            .arg(bytes)
            .query_async(&mut redis)
            .await
            .unwrap();
    };
    limit(1).await;
    world.remove(&process, "/folder").await;
    for _ in 0..3 {
        assert!(!world.is_there(&process, "/folder").await);
    }
    world.mkdir(&process, "/folder").await;
    assert!(world.is_there(&process, "/folder").await);
    limit(0).await;
    until("the cache is used again", async || {
        world.loads();
        assert!(world.is_there(&process, "/folder").await);
        world.loads() == 0
    })
    .await;
}

/// A write that Redis never heard of is seen by whoever sends its position, at once, and by
/// everybody when Redis has been told.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_redis_does_not_know_of() {
    let server = Server::start().await;
    let world = World::new().await;
    let other_name = server.dir().join("not-yet.sock");
    let writer = world.process(&format!("redis+unix://{}", other_name.display()));
    let reader = world.process(&server.url());
    let before = world.mkdir(&reader, "/folder").await;
    assert!(world.is_there(&reader, "/folder").await);
    world.loads();

    let position = world.remove(&writer, "/folder").await;
    assert!(!world.is_there(&writer, "/folder").await, "its own process");
    for _ in 0..2 {
        let answer = world.stat_at(&reader, "/folder", &before).await;
        assert!(
            answer.is_ok(),
            "the old entry serves those it is enough for"
        );
    }
    assert_eq!(
        world.loads(),
        1,
        "only the writer's process asked the database"
    );
    for _ in 0..3 {
        let answer = world.stat_at(&reader, "/folder", &position).await;
        assert_eq!(answer.unwrap_err().kind(), Kind::NotFound);
    }
    assert_eq!(world.loads(), 1, "and the new one those who asked for it");

    world.mkdir(&writer, "/folder").await;
    world.remove(&writer, "/folder").await;
    std::os::unix::fs::symlink(server.socket(), &other_name).unwrap();
    world.mkdir(&writer, "/folder").await;
    until("redis is told", async || {
        world.is_there(&reader, "/folder").await
    })
    .await;
    world.loads();
    until("the writer's process uses the cache again", async || {
        assert!(world.is_there(&writer, "/folder").await);
        world.loads() == 0
    })
    .await;
}

/// Redis goes back to what it knew before a write, as after a failover.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_the_last_write() {
    let server = Server::start().await;
    let world = World::new().await;
    let [a, b] = [(); 2].map(|()| world.process(&server.url()));
    world.mkdir(&a, "/folder").await;
    assert!(world.is_there(&a, "/folder").await);
    let mut redis = connect(&server.url()).await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut redis)
        .await
        .unwrap();
    let mut before = Vec::new();
    for key in keys {
        let value: Vec<u8> = redis::cmd("GET")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .unwrap();
        before.push((key, value));
    }
    assert_eq!(before.len(), 2, "{before:?}");
    let position = world.remove(&a, "/folder").await;
    for (key, value) in before {
        let set = redis::cmd("SET").arg(key).arg(value).to_owned();
        let _: () = set.query_async(&mut redis).await.unwrap();
    }
    assert!(
        world.is_there(&b, "/folder").await,
        "this is what it is about"
    );
    assert!(
        !world.is_there(&a, "/folder").await,
        "the process that wrote"
    );
    assert!(world.stat_at(&b, "/folder", &position).await.is_err());
}

/// Clients that send no position see their writes though replicas lag, at any process while Redis
/// works, and at the process that wrote without it.
#[tokio::test(flavor = "multi_thread")]
async fn positions_are_remembered_for_clients() {
    let server = Server::start().await;
    let world = World::new().await;
    let old = TempDir::new().unwrap();
    let replica = SqliteStore::open(old.path().join("db")).await.unwrap();
    world.spy.lag(replica);
    let [a, b] = [(); 2].map(|()| world.process(&server.url()));
    let alone = world.process("redis+unix:///nowhere/redis.sock");
    assert!(
        !world.is_there(&a, "/").await,
        "the replica has nothing yet"
    );
    let account = |process: &Arc<dyn Store>| {
        let (process, id) = (process.clone(), world.owner.clone());
        async move { process.get_account(GetAccountRequest { id }).await.is_ok() }
    };
    assert!(!account(&a).await);

    let position = world.mkdir(&a, "/folder").await;
    for process in [&a, &b] {
        assert!(world.is_there(process, "/folder").await);
        assert_eq!(world.spy.required().as_ref(), Some(&position));
        assert!(account(process).await);
        assert_eq!(world.spy.required().as_ref(), Some(&position));
    }
    assert!(!world.is_there(&alone, "/folder").await);
    assert!(!account(&alone).await);
    let position = world.mkdir(&alone, "/other").await;
    assert!(world.is_there(&alone, "/other").await && account(&alone).await);
    assert_eq!(world.spy.required(), Some(position));
    // What a client says goes before what is remembered.
    let get = GetAccountRequest {
        id: world.owner.clone(),
    };
    let call = position::scope(Some("0-1-0".to_owned()), a.get_account(get));
    assert!(call.await.0.is_ok());
    assert_eq!(world.spy.required().as_deref(), Some("0-1-0"));
}

/// Positions arrive in any order. Redis and the services agree on which of two is the later one.
#[tokio::test(flavor = "multi_thread")]
async fn the_later_position_is_kept() {
    let positions = [
        "0-1-9",
        "0-1-10",
        "0-1-010",
        "0-2-10",
        "0-1-5,1-1-9",
        "0-1-6,1-1-8",
        "0-1-6,1-1-9",
        "ab:1-5",
        "ab:1-50",
        "ac:1-5",
        "x",
        "1",
        "18446744073709551617",
        "18446744073709551616",
    ];
    let world = World::new().await;
    let writer = world.process(&shared_redis());
    // A process of its own for each read, or it would know by itself.
    for first in positions {
        for second in positions {
            let mut redis = connect(&shared_redis()).await;
            let _: () = redis::cmd("DEL")
                .arg(world.version_key())
                .query_async(&mut redis)
                .await
                .unwrap();
            for position in [first, second] {
                world.spy.set_position(position);
                world.mkdir(&writer, "/folder").await;
            }
            let covered = cloudstore_service::position::is_covered(second, first);
            let kept = if covered { first } else { second };
            let reader = world.process(&shared_redis());
            let get = GetAccountRequest {
                id: world.owner.clone(),
            };
            reader.get_account(get).await.unwrap();
            assert_eq!(
                world.spy.required().as_deref(),
                Some(kept),
                "{first} {second}"
            );
        }
    }
}

/// A caller that hangs up during its write does not keep Redis from being told of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up() {
    let world = World::new().await;
    let [a, b] = [(); 2].map(|()| world.process(&shared_redis()));
    assert!(!world.is_there(&b, "/folder").await);
    let hold = world.spy.hold_write();
    tokio::select! {
        _ = world.mkdir(&a, "/folder") => panic!("it cannot go on"),
        () = hold.came.notified() => {}
    }
    assert!(!world.is_there(&b, "/folder").await);
    hold.go.notify_one();
    until("the write is told", async || {
        world.is_there(&b, "/folder").await
    })
    .await;
}
