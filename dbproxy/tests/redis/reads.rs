//! What is cached, and how often the database is asked.

use futures::future::join_all;

use super::*;

/// Entries that only a write changes are loaded once for all processes.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_loaded_once() {
    let world = World::new().await;
    let [a, b] = [(); 2].map(|()| world.process(&shared_redis()));
    world.mkdir(&a, "/folder").await;
    let entry = world.stat(&a, "/folder").await.unwrap();
    for process in [&a, &b, &a] {
        assert_eq!(world.stat(process, "/folder").await.unwrap(), entry);
    }
    assert_eq!(world.loads(), 1);
    world.mkdir(&b, "/other").await;
    assert_eq!(world.stat(&a, "/folder").await.unwrap(), entry);
    assert_eq!(world.loads(), 1, "a write ends every entry of its account");
    assert!(!world.is_there(&a, "/nothing").await);
    assert!(!world.is_there(&b, "/nothing").await);
    assert_eq!(world.loads(), 1, "that there is nothing is known, too");
    let stranger = StatRequest {
        owner: id(),
        path: "/folder".to_owned(),
    };
    assert_eq!(b.stat(stranger).await.unwrap_err().kind(), Kind::NotFound);
}

/// Files are cached from the moment when nothing but a write changes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_cached_when_it_has_settled() {
    let world = World::new().await;
    let process = world.process(&shared_redis());
    let blake3 = Bytes::from_static(&[7; 32]);
    let put = CommitUploadRequest {
        id: id(),
        account_id: world.owner.clone(),
        path: "/file".to_owned(),
        size: 5,
        content: Some(Digests {
            blake3: blake3.clone(),
            ..Digests::default()
        }),
        node: "node".to_owned(),
        staging_id: id(),
        ..CommitUploadRequest::default()
    };
    process.commit_upload(put).await.unwrap();
    let states = async |expected: BlobState| {
        world.loads();
        for _ in 0..3 {
            let blob = world.stat(&process, "/file").await.unwrap().blob.unwrap();
            assert_eq!(blob.state(), expected);
        }
        world.loads()
    };
    assert_eq!(states(BlobState::Staged).await, 3);
    let claim = ClaimTransfersRequest {
        blake3: vec![blake3.clone()],
        lease_ms: 60_000,
        ..ClaimTransfersRequest::default()
    };
    let claimed = process.claim_transfers(claim).await.unwrap().transfers;
    assert_eq!(states(BlobState::Transferring).await, 3);
    let commits = vec![CommitTransfer {
        blake3: blake3.clone(),
        fence: claimed[0].fence,
        sha256: vec![1; 32].into(),
        sha1: vec![1; 20].into(),
    }];
    let commit = CommitTransfersRequest { commits };
    process.commit_transfers(commit).await.unwrap();
    assert_eq!(states(BlobState::Stored).await, 3, "with a staged copy");
    let list = ListStagedCopiesRequest::default();
    let blobs = process.list_staged_copies(list).await.unwrap().blobs;
    assert_eq!(blobs.len(), 1);
    let forget = ForgetStagedCopiesRequest { blobs };
    process.forget_staged_copies(forget).await.unwrap();
    assert_eq!(states(BlobState::Stored).await, 1);
}

/// Many who ask for one entry at the same time are one load, with Redis and without.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_readers_are_one_load() {
    for url in [
        shared_redis(),
        "redis+unix:///nowhere/redis.sock".to_owned(),
    ] {
        let world = World::new().await;
        let process = world.process(&url);
        world.mkdir(&process, "/folder").await;
        let hold = world.spy.hold_stat();
        let readers = join_all((0..50).map(|_| world.stat(&process, "/folder")));
        let release = async {
            hold.came.notified().await;
            // By then everybody has asked Redis, or waits for the answer to the same question.
            tokio::time::sleep(10 * BUDGET).await;
            hold.go.notify_one();
        };
        let (answers, ()) = tokio::join!(readers, release);
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
        assert_eq!(world.loads(), 1, "{url}");
    }
}

/// That something is not there ends with the write that makes it, wherever that is.
#[tokio::test(flavor = "multi_thread")]
async fn absence_ends_with_the_write() {
    let world = World::new().await;
    let [a, b] = [(); 2].map(|()| world.process(&shared_redis()));
    for (number, writer) in [&a, &b, &a].into_iter().enumerate() {
        let path = format!("/{number}");
        for process in [&a, &b, &a] {
            assert!(!world.is_there(process, &path).await);
        }
        assert_eq!(world.loads(), 1);
        world.mkdir(writer, &path).await;
        assert!(world.is_there(&a, &path).await && world.is_there(&b, &path).await);
        world.remove(writer, &path).await;
        assert!(!world.is_there(&a, &path).await && !world.is_there(&b, &path).await);
        world.loads();
    }
    // Also that an account is not there.
    let owner = id();
    let root = StatRequest {
        owner: owner.clone(),
        path: "/".to_owned(),
    };
    assert!(a.stat(root.clone()).await.is_err());
    b.create_account(account(&owner)).await.unwrap();
    assert!(a.stat(root).await.is_ok());
}

/// What is left when a part of Redis' memory was lost counts for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn entries_without_a_version_do_not_count() {
    let world = World::new().await;
    let process = world.process(&shared_redis());
    world.mkdir(&process, "/folder").await;
    assert!(world.is_there(&process, "/folder").await);
    let mut redis = connect(&shared_redis()).await;
    let _: () = redis::cmd("DEL")
        .arg(world.version_key())
        .query_async(&mut redis)
        .await
        .unwrap();
    // Behind the back of every process, and without a word to Redis.
    world
        .remove(&(world.spy.clone() as Arc<dyn Store>), "/folder")
        .await;
    assert!(!world.is_there(&process, "/folder").await);
    for garbage in ["", "x", "\u{0}not a version and not an entry"] {
        let _: () = redis::cmd("SET")
            .arg(world.version_key())
            .arg(garbage)
            .query_async(&mut redis)
            .await
            .unwrap();
        assert!(!world.is_there(&process, "/folder").await);
    }
}

/// Keys that expire leave the cached list, and a new key ends it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_known_at_once() {
    use cloudstore_proto::account::{ListKeysRequest, PublicKey, PublishKeyRequest};
    let world = World::new().await;
    let [a, b] = [(); 2].map(|()| world.process(&shared_redis()));
    for count in 1..=3 {
        let key = PublicKey {
            kid: format!("key {count}"),
            public_key: vec![count; 32].into(),
            expires_at_ms: i64::MAX / 2,
        };
        let publish = PublishKeyRequest { key: Some(key) };
        a.publish_key(publish).await.unwrap();
        for process in [&b, &a] {
            let list = process.list_keys(ListKeysRequest {}).await.unwrap();
            assert_eq!(list.keys.len(), usize::from(count));
        }
    }
}
