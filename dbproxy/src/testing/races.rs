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

/// Two accounts commit the same new content through two processes at once: one blob with two
/// references and one transfer, and exactly one of the staged copies is taken.
pub async fn same_content_of_two(f: Fixture) {
    let owners = [f.account(1 << 30).await, f.account(1 << 30).await];
    for seed in 1..=20 {
        let calls = [&f.store, &f.peer].into_iter().zip(&owners);
        let answers = all(calls.map(|(store, owner)| {
            let request = commit(owner, &format!("/{seed}/file"), seed);
            let store = store.clone();
            async move { store.commit_upload(request).await.unwrap() }
        }))
        .await;
        let taken = answers.iter().filter(|answer| answer.took_staged_copy);
        assert_eq!(taken.count(), 1, "round {seed}");
        let copies: Vec<Blob> = answers
            .into_iter()
            .map(|answer| answer.file.unwrap().blob.unwrap())
            .collect();
        assert_eq!(copies[0].staging_id, copies[1].staging_id, "one copy");
        let claimed = f.claim(&[]).await;
        assert_eq!(claimed.len(), 1, "one transfer");
        assert!(f.commit_transfer(seed, claimed[0].fence).await);
    }
    for (owner, garbage) in [(&owners[0], 0), (&owners[1], 20)] {
        assert_eq!(f.bytes(owner).await, (20 * SIZE, 0));
        for seed in 1..=20 {
            f.rm(owner, &format!("/{seed}")).await.unwrap();
        }
        f.purge_all(0).await;
        f.clock.advance(1);
        assert_eq!(f.claim_garbage(0).await.len(), garbage, "two references");
    }
}

/// Commits of one account through two processes at once: exactly as many as the quota has room for.
pub async fn quota_of_two(f: Fixture) {
    let owner = f.account(7 * SIZE + SIZE / 2).await;
    let answers = all((0..24).map(|number: u8| {
        let store = if number.is_multiple_of(2) {
            &f.store
        } else {
            &f.peer
        };
        let (store, owner) = (store.clone(), owner.clone());
        async move {
            let path = format!("/{}/{number}", number % 3);
            if number < 12 {
                let request = commit(&owner, &path, number);
                return store.commit_upload(request).await.map(|_| ());
            }
            let request = begin(&owner, vec![announce(&path)]);
            let answer = store.begin_uploads(request).await?.results.remove(0);
            match answer.result.unwrap() {
                Answer::Uploading(upload) => {
                    let request = complete(&upload, number);
                    store.commit_upload(request).await.map(|_| ())
                }
                refused => {
                    assert_eq!(slug(&refused), Kind::QuotaExceeded.slug());
                    Err(crate::rules::quota_exceeded())
                }
            }
        }
    }))
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 7);
    for problem in refused {
        assert_eq!(kind(problem), Kind::QuotaExceeded);
    }
    assert_eq!(f.bytes(&owner).await, (7 * SIZE, 0));
}

/// Deleting and purging through one process against an instant upload of the same content, by its
/// owner and by somebody who proved to have it, through another.
pub async fn removal_against_instant(f: Fixture) {
    let owner = f.account(1 << 30).await;
    let other = f.account(1 << 30).await;
    let mut outcomes = [0, 0];
    for round in 0..30 {
        f.put(&owner, "/victim", 1).await.unwrap();
        f.clock.advance(1);
        let remove = {
            let (store, owner) = (f.peer.clone(), owner.clone());
            tokio::spawn(async move {
                let path = "/victim".to_owned();
                let request = DeleteRequest {
                    keep_ms: 0,
                    owner,
                    path,
                    precondition: None,
                };
                store.delete(request).await.unwrap();
                while store.purge(PurgeRequest { limit: 1 }).await.unwrap().more {}
                let request = ClaimGarbageRequest {
                    grace_ms: 0,
                    lease_ms: LEASE,
                    limit: 0,
                };
                store.claim_garbage(request).await.unwrap().blobs
            })
        };
        let instant = {
            let store = f.store.clone();
            let request = begin(&owner, vec![declare(&format!("/{round}"), blake3(1))]);
            tokio::spawn(async move { store.begin_uploads(request).await.unwrap() })
        };
        let proved = {
            let store = f.store.clone();
            let request = CommitUploadRequest {
                staging_id: Bytes::new(),
                ..commit(&other, &format!("/{round}"), 1)
            };
            tokio::spawn(async move { store.commit_upload(request).await })
        };
        let claimed = remove.await.unwrap();
        let answer = instant.await.unwrap().results.remove(0).result.unwrap();
        let proved = proved.await.unwrap();
        let mut files = Vec::new();
        match answer {
            Answer::Instant(entry) => files.push((&owner, entry.path)),
            Answer::Challenge(Challenge { upload, .. }) => {
                f.cancel(&owner, &upload.unwrap().id).await.unwrap();
            }
            Answer::Uploading(upload) => {
                f.cancel(&owner, &upload.id).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
        match proved {
            Ok(answer) => files.push((&other, answer.file.unwrap().path)),
            Err(problem) => assert_eq!(problem.kind(), Kind::BlobMissing),
        }
        outcomes[usize::from(files.is_empty())] += 1;
        assert!(
            files.is_empty() || claimed.is_empty(),
            "round {round}: {files:?} refer to what is being removed"
        );
        for (owner, path) in files {
            let blob = f.stat(owner, &path).await.unwrap().blob.unwrap();
            assert_ne!(blob.state(), BlobState::Deleting);
            f.rm(owner, &path).await.unwrap();
        }
        f.purge_all(0).await;
        f.clock.advance(2 * LEASE);
        let claimed = f.claim_garbage(0).await;
        assert_eq!(claimed.len(), 1, "nothing refers to it any more");
        f.confirm(1, claimed[0].fence).await.unwrap();
    }
    assert_eq!(f.bytes(&owner).await, (0, 0), "{outcomes:?}");
    assert_eq!(f.bytes(&other).await, (0, 0));
}

/// A staged copy is called unreferenced while the commit that refers to it is on its way through
/// another process: only one of them may succeed.
///
/// Not for stores of one process, whose caller does not ask for what it is about to commit.
pub async fn resolved_or_committed(f: Fixture) {
    let owner = f.account(1 << 30).await;
    for seed in 0..100 {
        let request = commit(&owner, &format!("/{seed}"), seed);
        let ids = vec![request.staging_id.clone()];
        let commit = {
            let store = f.store.clone();
            tokio::spawn(async move { store.commit_upload(request).await })
        };
        let resolve = {
            let store = f.peer.clone();
            let request = ResolveStagingRequest { ids };
            tokio::spawn(async move { store.resolve_staging(request).await.unwrap().uses })
        };
        let (committed, uses) = (commit.await.unwrap(), resolve.await.unwrap());
        match committed {
            Ok(_) => assert_eq!(uses, [StagingUse::Blob as i32], "round {seed}"),
            Err(problem) => {
                assert_eq!(problem.kind(), Kind::UploadGone);
                assert_eq!(uses, [StagingUse::Unreferenced as i32], "round {seed}");
            }
        }
    }
}
