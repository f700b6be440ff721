//! What becomes of content: purging entries, removing blobs, forgetting staged copies.

use super::*;

/// Deleted trees give back references, quota and rows, in bounded steps.
pub async fn purge(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for folder in 0..3 {
        for file in 0..4 {
            f.put(&owner, &format!("/t/{folder}/x/{file}"), 1)
                .await
                .unwrap();
        }
    }
    f.put(&owner, "/keep", 2).await.unwrap();
    f.rm(&owner, "/t/0/x/0").await.unwrap();
    f.rm(&owner, "/t").await.unwrap();
    assert_eq!(f.bytes(&owner).await, (13 * SIZE, 0), "counts until purged");
    f.clock.advance(1);
    assert!(f.claim_garbage(0).await.is_empty(), "still referred to");
    assert_eq!(f.purge_all(2).await, 12 + 1 + 3 + 3);
    assert_eq!(f.bytes(&owner).await, (SIZE, 0));
    assert_eq!(f.purge_all(2).await, 0);
    let garbage = f.claim_garbage(0).await;
    assert_eq!(garbage.len(), 1);
    assert_eq!(garbage[0].blob.as_ref().unwrap().blake3, digests(1).blake3);
    assert!(f.stat(&owner, "/keep").await.is_ok());
}

/// Blobs without references: grace, claim, revival, removal, and coming back.
pub async fn garbage(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let remove = async |path: &str| {
        f.rm(&owner, path).await.unwrap();
        f.purge_all(0).await;
    };
    f.put(&owner, "/a", 1).await.unwrap();
    f.store_blob(1).await;
    remove("/a").await;
    f.clock.advance(99);
    assert!(f.claim_garbage(100).await.is_empty(), "grace");
    let revived = f.put(&owner, "/a", 1).await.unwrap();
    assert!(!revived.took_staged_copy);
    assert_eq!(
        revived.file.unwrap().blob.unwrap().state(),
        BlobState::Stored
    );
    f.clock.advance(1_000);
    assert!(
        f.claim_garbage(100).await.is_empty(),
        "it is referred to again"
    );

    let replace = CommitUploadRequest {
        on_conflict: OnConflict::Replace.into(),
        ..commit(&owner, "/a", 2)
    };
    f.store.commit_upload(replace).await.unwrap();
    f.clock.advance(100);
    let claimed = f.claim_garbage(100).await;
    assert_eq!(claimed.len(), 1, "replacing drops the reference at once");
    let blob = claimed[0].blob.clone().unwrap();
    assert_eq!(
        (&blob.blake3, blob.state()),
        (&digests(1).blake3, BlobState::Deleting)
    );
    assert!(f.claim_garbage(100).await.is_empty(), "claimed");

    assert_eq!(kind(f.put(&owner, "/b", 1).await), Kind::BlobDeleting);
    let proved = CommitUploadRequest {
        staging_id: Bytes::new(),
        ..commit(&owner, "/b", 1)
    };
    assert_eq!(kind(f.store.commit_upload(proved).await), Kind::BlobMissing);
    let probe = f
        .begin(&owner, vec![declare("/b", blake3(1))])
        .await
        .remove(0);
    assert!(
        matches!(probe, Answer::Uploading(_)),
        "not offered any more: {probe:?}"
    );
    assert_eq!(kind(f.stat(&owner, "/b").await), Kind::NotFound);

    f.clock.advance(LEASE);
    let again = f.claim_garbage(100).await;
    assert!(
        again[0].fence > claimed[0].fence,
        "the first worker is gone"
    );
    assert_eq!(kind(f.confirm(1, claimed[0].fence).await), Kind::LeaseLost);
    f.confirm(1, again[0].fence).await.unwrap();
    assert_eq!(
        kind(f.confirm(1, again[0].fence).await),
        Kind::LeaseLost,
        "done already"
    );
    let back = f.put(&owner, "/b", 1).await.unwrap();
    assert!(back.took_staged_copy, "new again");
    assert_eq!(back.file.unwrap().blob.unwrap().state(), BlobState::Staged);
    assert_eq!(kind(f.confirm(1, again[0].fence).await), Kind::LeaseLost);
    let transfer = &f.claim(&[digests(1).blake3]).await[0];
    assert!(transfer.fence > again[0].fence, "fences never repeat");

    // A transfer under way holds removal up for as long as its lease lasts.
    remove("/b").await;
    f.clock.advance(100);
    assert!(f.claim_garbage(100).await.is_empty());
    f.clock.advance(LEASE);
    assert_eq!(f.claim_garbage(100).await.len(), 1);
    assert!(
        !f.commit_transfer(1, transfer.fence).await,
        "the late worker changes nothing"
    );
    // One that only waits ends.
    remove("/a").await;
    f.clock.advance(100);
    assert_eq!(f.claim_garbage(100).await.len(), 1);
    assert!(f.claim(&[]).await.is_empty());
}

/// Staged copies go after the grace, and only those that are meant.
pub async fn staged_copies(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let list = async |grace_ms: i64| {
        let request = ListStagedCopiesRequest {
            grace_ms,
            limit: 0,
            except_nodes: Vec::new(),
        };
        f.store.list_staged_copies(request).await.unwrap().blobs
    };
    let forget = async |blobs: Vec<Blob>| {
        f.store
            .forget_staged_copies(ForgetStagedCopiesRequest { blobs })
            .await
            .unwrap();
    };
    f.put(&owner, "/a", 1).await.unwrap();
    let staged = f
        .put(&owner, "/b", 2)
        .await
        .unwrap()
        .file
        .unwrap()
        .blob
        .unwrap();
    f.store_blob(1).await;
    assert!(list(50).await.is_empty());
    f.clock.advance(50);
    let copies = list(50).await;
    assert_eq!(copies.len(), 1);
    assert_eq!(
        (&copies[0].blake3, &*copies[0].node),
        (&digests(1).blake3, NODE)
    );
    forget(vec![
        Blob {
            staging_id: id(),
            ..copies[0].clone()
        },
        staged,
    ])
    .await;
    assert_eq!(
        list(50).await,
        copies,
        "another copy, and one that is not stored yet"
    );
    assert_eq!(f.stat(&owner, "/b").await.unwrap().blob.unwrap().node, NODE);
    for _ in 0..2 {
        forget(copies.clone()).await;
    }
    assert!(list(50).await.is_empty());
    let blob = f.stat(&owner, "/a").await.unwrap().blob.unwrap();
    assert_eq!((&*blob.node, blob.staging_id.len()), ("", 0));
    assert_eq!(blob.state(), BlobState::Stored);
    assert!(!f.put(&owner, "/c", 1).await.unwrap().took_staged_copy);
}

/// Staged copies on nodes that are known to be away are left for later.
pub async fn other_nodes(f: Fixture) {
    let owner = f.account(1 << 20).await;
    for (seed, node) in [(1, "node-a"), (2, "node-b"), (3, "node-b "), (4, "node-c")] {
        let request = CommitUploadRequest {
            node: node.to_owned(),
            ..commit(&owner, &format!("/{seed}"), seed)
        };
        f.store.commit_upload(request).await.unwrap();
        f.store_blob(seed).await;
        f.clock.advance(1);
    }
    let seeds = async |except: &[&str], limit: u32| -> Vec<u8> {
        let request = ListStagedCopiesRequest {
            grace_ms: 1,
            limit,
            except_nodes: except.iter().map(|node| (*node).to_owned()).collect(),
        };
        let copies = f.store.list_staged_copies(request).await.unwrap().blobs;
        copies.iter().map(|blob| blob.blake3[0]).collect()
    };
    assert_eq!(seeds(&[], 0).await, [1, 2, 3, 4], "longest stored first");
    assert_eq!(seeds(&["node-b"], 0).await, [1, 3, 4], "exactly this name");
    assert_eq!(seeds(&["node-a", "node-b"], 1).await, [3], "not in the way");
    assert_eq!(seeds(&["NODE-A", "nobody"], 0).await, [1, 2, 3, 4]);
    assert!(
        seeds(&["node-a", "node-b", "node-b ", "node-c"], 0)
            .await
            .is_empty()
    );
}

/// Which blobs have a row, whatever their state, in the order of the question.
pub async fn known_blobs(f: Fixture) {
    let owner = f.account(1 << 20).await;
    let known = async |seeds: &[u8]| -> Vec<bool> {
        let request = FindBlobsRequest {
            blake3: seeds.iter().map(|seed| digests(*seed).blake3).collect(),
        };
        f.store.find_blobs(request).await.unwrap().known
    };
    assert!(known(&[]).await.is_empty());
    assert_eq!(known(&[1, 2]).await, [false, false]);
    f.put(&owner, "/a", 1).await.unwrap();
    f.put(&owner, "/b", 3).await.unwrap();
    f.store_blob(3).await;
    assert_eq!(known(&[3, 2, 1, 3]).await, [true, false, true, true]);
    f.rm(&owner, "/b").await.unwrap();
    f.purge_all(0).await;
    f.clock.advance(1);
    let garbage = f.claim_garbage(0).await.remove(0);
    assert_eq!(known(&[3]).await, [true], "until its row is gone");
    f.confirm(3, garbage.fence).await.unwrap();
    assert_eq!(known(&[1, 3]).await, [true, false]);
}
