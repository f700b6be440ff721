//! What is read most.

use super::{servers::Server, *};

const HALF_LIFE_MS: i64 = 6 * 3_600 * 1_000;

fn blob(number: u32) -> Bytes {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Bytes::copy_from_slice(&id)
}

async fn record(store: &Arc<dyn Store>, counts: impl IntoIterator<Item = (u32, u32)>) {
    let count = |(number, reads)| ReadCount {
        blake3: blob(number),
        reads,
    };
    let counts = counts.into_iter().map(count).collect();
    let recorded = store.record_reads(RecordReadsRequest { counts }).await;
    recorded.unwrap();
}

async fn hottest(store: &Arc<dyn Store>, limit: u32) -> Vec<HotBlob> {
    let hot = store.hot_blobs(HotBlobsRequest { limit }).await;
    hot.unwrap().blobs
}

fn close(score: f64, expected: f64) -> bool {
    (score - expected).abs() < expected * 0.01
}

/// Lets time pass, as the ranking sees it.
async fn age(world: &World, url: &str, ms: i64) {
    let mut redis = connect(url).await;
    let _: i64 = redis::cmd("DECRBY")
        .arg(format!("{}{{hot}}:since", world.prefix))
        .arg(ms)
        .query_async(&mut redis)
        .await
        .unwrap();
}

/// Counts add up, halve in six hours, and survive being scaled down.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_most() {
    let server = Server::start().await;
    let world = World::new().await;
    let [a, b] = [(); 2].map(|()| world.process(&server.url()));
    assert!(hottest(&a, 10).await.is_empty());
    record(&a, [(1, 100), (2, 300)]).await;
    record(&b, [(1, 300), (3, 1)]).await;
    let hot = hottest(&b, 2).await;
    assert_eq!((&hot[0].blake3, &hot[1].blake3), (&blob(1), &blob(2)));
    assert_eq!(hot.len(), 2);
    assert!(
        close(hot[0].score, 400.0) && close(hot[1].score, 300.0),
        "{hot:?}"
    );

    age(&world, &server.url(), HALF_LIFE_MS).await;
    record(&a, [(2, 100)]).await;
    let hot = hottest(&a, 10).await;
    let scores: Vec<_> = hot.iter().map(|hot| hot.score).collect();
    assert_eq!(hot[0].blake3, blob(2), "a fresh read counts for more");
    for (score, expected) in scores.into_iter().zip([250.0, 200.0, 0.5]) {
        assert!(close(score, expected), "{score} is not {expected}");
    }
    age(&world, &server.url(), 40 * HALF_LIFE_MS).await;
    record(&a, [(4, 1)]).await;
    let hot = hottest(&a, 10).await;
    assert_eq!(hot[0].blake3, blob(4));
    assert!(close(hot[0].score, 1.0), "{hot:?}");
    assert!(close(hot[1].score, 250.0 / 40_f64.exp2()), "{hot:?}");
    assert!(hottest(&a, 0).await.is_empty());
}

/// The ranking has an end, and those read least are beyond it.
#[tokio::test(flavor = "multi_thread")]
async fn the_ranking_is_bounded() {
    let server = Server::start().await;
    let world = World::new().await;
    let store = world.process(&server.url());
    for batch in 0..11 {
        let numbers = batch * 1_000..(batch + 1) * 1_000;
        record(&store, numbers.map(|number| (number, 20_000 - number))).await;
    }
    let mut redis = connect(&server.url()).await;
    let kept: u32 = redis::cmd("ZCARD")
        .arg(format!("{}{{hot}}", world.prefix))
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(kept, 10_000);
    let hot = hottest(&store, 10_000).await;
    let numbers = (0..10_000).map(blob);
    assert!(hot.into_iter().map(|hot| hot.blake3).eq(numbers));
}

/// Without Redis nothing is counted, and nothing fails.
#[tokio::test(flavor = "multi_thread")]
async fn no_ranking_without_redis() {
    let world = World::new().await;
    let store = world.process("redis+unix:///nowhere/redis.sock");
    record(&store, [(1, 1)]).await;
    assert!(hottest(&store, 10).await.is_empty());
}
