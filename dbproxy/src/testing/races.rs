//! What must hold when many callers come at once.

use std::future::Future;

use tokio::task::JoinSet;

use super::*;

async fn all<T: Send + 'static>(
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    calls.into_iter().collect::<JoinSet<_>>().join_all().await
}

/// 20 commits of one content at once are one blob with 20 references.
pub async fn many_references(f: Fixture) {
    let owner = f.account(20 * SIZE).await;
    let answers = all((0..20).map(|number| {
        let request = commit(&owner, &format!("/one/folder/{number}"), 1);
        let store = f.store.clone();
        async move { store.commit_upload(request).await.unwrap() }
    }))
    .await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.took_staged_copy)
            .count(),
        1
    );
    assert_eq!(f.bytes(&owner).await, (20 * SIZE, 0));
    assert_eq!(f.claim(&[]).await.len(), 1, "one blob, one transfer");
    f.clock.advance(2 * LEASE);
    for number in 0..20 {
        assert!(
            f.claim_garbage(0).await.is_empty(),
            "{number} references are gone"
        );
        f.rm(&owner, &format!("/one/folder/{number}"))
            .await
            .unwrap();
        f.purge_all(0).await;
    }
    assert_eq!(f.claim_garbage(0).await.len(), 1, "the last one is gone");

    // One name, many contents: one wins.
    let answers = all((0..20).map(|seed| {
        let request = commit(&owner, "/name", 100 + seed);
        let store = f.store.clone();
        async move { store.commit_upload(request).await.is_ok() }
    }))
    .await;
    assert_eq!(answers.into_iter().filter(|won| *won).count(), 1);
    assert_eq!(f.bytes(&owner).await, (SIZE, 0));
}

/// 64 parallel mixtures of begin, commit, direct commit and cancel never exceed the quota.
pub async fn quota_under_load(f: Fixture) {
    let owner = f.account(10 * SIZE).await;
    let store = f.store.clone();
    let watched = owner.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let watch = tokio::spawn(async move {
        while stopped.try_recv().is_err() {
            let account = store
                .get_account(GetAccountRequest {
                    id: watched.clone(),
                })
                .await;
            let account = account.unwrap();
            assert!(account.used_bytes + account.reserved_bytes <= account.quota_bytes);
            assert!(account.used_bytes >= 0 && account.reserved_bytes >= 0);
        }
    });
    let taken = all((0..64).map(|number: u8| {
        let (store, owner) = (f.store.clone(), owner.clone());
        async move {
            let path = format!("/{number}");
            if number % 4 == 3 {
                return store
                    .commit_upload(commit(&owner, &path, number))
                    .await
                    .is_ok();
            }
            let request = begin(&owner, vec![announce(&path)]);
            let answer = store
                .begin_uploads(request)
                .await
                .unwrap()
                .results
                .remove(0)
                .result;
            let Some(Answer::Uploading(upload)) = answer else {
                return false;
            };
            if number.is_multiple_of(4) {
                let id = upload.id;
                store
                    .cancel_upload(CancelUploadRequest {
                        account_id: owner,
                        id,
                    })
                    .await
                    .unwrap();
                return false;
            }
            store
                .commit_upload(complete(&upload, number))
                .await
                .unwrap();
            true
        }
    }))
    .await;
    stop.send(()).unwrap();
    watch.await.unwrap();
    let files = i64::try_from(taken.into_iter().filter(|file| *file).count()).unwrap();
    assert!(files > 0);
    assert_eq!(
        f.bytes(&owner).await,
        (files * SIZE, 0),
        "what is used is what is there"
    );
}

/// New references against removal: a reference never points to a blob that goes.
pub async fn removal_against_references(f: Fixture) {
    let owner = f.account(1 << 30).await;
    for round in 0..30 {
        f.put(&owner, "/victim", 1).await.unwrap();
        f.rm(&owner, "/victim").await.unwrap();
        f.purge_all(0).await;
        f.clock.advance(2 * LEASE);
        let claim = {
            let store = f.store.clone();
            let request = ClaimGarbageRequest {
                grace_ms: 0,
                lease_ms: LEASE,
                limit: 0,
            };
            tokio::spawn(async move { store.claim_garbage(request).await.unwrap().blobs })
        };
        let refer = {
            let store = f.store.clone();
            let request = commit(&owner, &format!("/new/{round}"), 1);
            tokio::spawn(async move { store.commit_upload(request).await })
        };
        let (claimed, referred) = (claim.await.unwrap(), refer.await.unwrap());
        match referred {
            Ok(answer) => {
                assert!(claimed.is_empty(), "the reference came first");
                let path = answer.file.unwrap().path;
                assert!(f.stat(&owner, &path).await.unwrap().blob.is_some());
                f.rm(&owner, &path).await.unwrap();
                f.purge_all(0).await;
                f.clock.advance(2 * LEASE);
                let claimed = f.claim_garbage(0).await;
                f.confirm(1, claimed[0].fence).await.unwrap();
            }
            Err(problem) => {
                assert_eq!(problem.kind(), Kind::BlobDeleting);
                f.confirm(1, claimed[0].fence).await.unwrap();
                assert!(f.put(&owner, "/again", 1).await.unwrap().took_staged_copy);
                f.rm(&owner, "/again").await.unwrap();
                f.purge_all(0).await;
                f.clock.advance(2 * LEASE);
                let claimed = f.claim_garbage(0).await;
                f.confirm(1, claimed[0].fence).await.unwrap();
            }
        }
    }
}
