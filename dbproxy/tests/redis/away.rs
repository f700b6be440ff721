//! Redis that is slow, flushed, stopped, gone, or more than one server.

use std::time::Instant;

use super::{
    servers::{Cluster, Sentinel, Server},
    *,
};

/// Far more than a cache that works takes to be used again.
const BACK: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_to_make_sense_and_nobody_has_to_be_there() {
    let world = World::new().await;
    let bad = CachedStore::new(world.spy.clone(), RedisConfig::new("redis+sentinel://host"));
    assert_eq!(bad.err().unwrap().kind(), Kind::InvalidFields);
    for url in [
        "redis://127.0.0.1:1",
        "redis+unix:///nowhere/redis.sock",
        "redis+sentinel://127.0.0.1:1/main",
        "redis+cluster://127.0.0.1:1",
    ] {
        let store = world.process_within(url, BUDGET);
        world.mkdir(&store, "/folder").await;
        assert!(world.is_there(&store, "/folder").await);
        world.remove(&store, "/folder").await;
        assert!(!world.is_there(&store, "/folder").await);
        store.check().await.unwrap();
    }
}

/// The same answers without Redis.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_without_redis() {
    contract::<1>("redis+unix:///nowhere/redis.sock", BUDGET).await;
}

/// The same answers while Redis is flushed all the time.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_while_redis_is_flushed() {
    let server = Server::start().await;
    let mut redis = connect(&server.url()).await;
    let flushing = tokio::spawn(async move {
        loop {
            let _: () = redis::cmd("FLUSHALL")
                .query_async(&mut redis)
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    contract::<2>(&server.url(), PATIENCE).await;
    assert!(!flushing.is_finished());
    flushing.abort();
}

/// The same answers while Redis stalls, goes on, dies and comes back empty.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_while_redis_fails() {
    let mut server = Server::start().await;
    let url = server.url();
    let failing = async {
        // Shorter and longer than the budget, and than the pause of the breaker.
        for phase in [20, 90, 300, 1_500].into_iter().cycle() {
            let phase = Duration::from_millis(phase);
            server.stall().await;
            tokio::time::sleep(phase).await;
            server.go_on().await;
            tokio::time::sleep(phase).await;
            server.kill().await;
            tokio::time::sleep(phase).await;
            server.restart().await;
            tokio::time::sleep(phase).await;
        }
    };
    tokio::select! {
        () = async {
            for _ in 0..3 {
                contract::<1>(&url, BUDGET).await;
            }
        } => {}
        () = failing => {}
    }
}

/// A server that answers nobody costs its budget a few times, not every call.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_redis_is_not_waited_for() {
    let server = Server::start().await;
    let world = World::new().await;
    let budget = Duration::from_millis(500);
    let process = world.process_within(&server.url(), budget);
    world.mkdir(&process, "/folder").await;
    assert!(world.is_there(&process, "/folder").await);
    world.loads();
    server.stall().await;
    let start = Instant::now();
    for number in 0..100 {
        if number % 10 == 0 {
            world.mkdir(&process, "/folder").await;
        }
        assert!(world.is_there(&process, "/folder").await);
    }
    // It is asked some five times. The rest is for a busy disk.
    assert!(start.elapsed() < 50 * budget, "{:?}", start.elapsed());
    assert_eq!(world.loads(), 100);
    server.go_on().await;
    comes_back(&world, &process).await;
}

/// The cache is used again after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_redis_is_used_again() {
    let mut server = Server::start().await;
    let world = World::new().await;
    let process = world.process(&server.url());
    world.mkdir(&process, "/folder").await;
    assert!(world.is_there(&process, "/folder").await);
    // Between two calls: the first one after it finds a dead connection, and a new server.
    server.kill().await;
    server.restart().await;
    world.loads();
    assert!(world.is_there(&process, "/folder").await);
    assert!(world.is_there(&process, "/folder").await);
    assert_eq!(world.loads(), 1, "the dead connection was replaced at once");
    server.kill().await;
    for _ in 0..20 {
        assert!(world.is_there(&process, "/folder").await);
    }
    world.remove(&process, "/folder").await;
    assert!(!world.is_there(&process, "/folder").await);
    world.mkdir(&process, "/folder").await;
    server.restart().await;
    comes_back(&world, &process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_sentinels() {
    let sentinel = Sentinel::start().await;
    everything_works(&sentinel.url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster() {
    let cluster = Cluster::start().await;
    everything_works(&cluster.url).await;
}

/// Entries, versions, positions and the ranking, on a Redis of whatever kind.
async fn everything_works(url: &str) {
    for _ in 0..5 {
        // Accounts are in slots of their own.
        let world = World::new().await;
        let [a, b] = [(); 2].map(|()| world.process(url));
        let position = world.mkdir(&a, "/folder").await;
        comes_back(&world, &a).await;
        comes_back(&world, &b).await;
        assert_eq!(world.spy.required(), Some(position));
        world.remove(&b, "/folder").await;
        assert!(!world.is_there(&a, "/folder").await);
        let count = ReadCount {
            blake3: vec![1; 32].into(),
            reads: 1,
        };
        let counts = vec![count];
        a.record_reads(RecordReadsRequest { counts }).await.unwrap();
        let hot = b.hot_blobs(HotBlobsRequest { limit: 5 }).await.unwrap();
        assert_eq!(hot.blobs.len(), 1);
    }
}

/// Waits until a folder is answered from the cache.
async fn comes_back(world: &World, process: &Arc<dyn Store>) {
    let start = Instant::now();
    loop {
        assert!(world.is_there(process, "/folder").await);
        world.loads();
        assert!(world.is_there(process, "/folder").await);
        if world.loads() == 0 {
            return;
        }
        assert!(start.elapsed() < BACK, "the cache is never used again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
