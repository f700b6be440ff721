//! What was lost and is sent again, and what was done and is asked for again.

use super::*;

/// Content whose copy could not be moved is not there: at its own path as well it is taken anew.
pub async fn mending(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a", 1).await.unwrap();
    let claimed = f.claim(&[]).await.remove(0);
    let request = FailTransferRequest {
        blake3: digests(1).blake3,
        fence: claimed.fence,
        error: "the disk is gone".to_owned(),
        park: true,
        ..FailTransferRequest::default()
    };
    f.store.fail_transfer(request).await.unwrap();
    let again = declare("/a", blake3(1));
    let upload = f.upload(&owner, again).await;
    let mended = f.store.commit_upload(complete(&upload, 1)).await.unwrap();
    assert!(mended.took_staged_copy);
    let blob = f.stat(&owner, "/a").await.unwrap().blob.unwrap();
    assert_eq!(blob.staging_id, upload.id);
    assert_eq!(mended.file.unwrap().blob, Some(blob));
    assert_eq!(f.bytes(&owner).await, (SIZE, 0), "counted once");
    let moved = f.claim(&[]).await.remove(0);
    assert_eq!(
        (moved.attempts, moved.blob.unwrap().staging_id),
        (0, upload.id)
    );

    let spare = f.put(&owner, "/a", 1).await.unwrap();
    assert!(!spare.took_staged_copy, "there is a good copy");
}

/// A change that was made under a condition does not fail by it when its answer was lost.
pub async fn repeated_conditions(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a", 1).await.unwrap();
    let request = CommitUploadRequest {
        on_conflict: OnConflict::Replace.into(),
        precondition: Some(Precondition {
            if_match: Some(precondition::Match {
                any: false,
                blake3: vec![digests(1).blake3],
            }),
            ..Precondition::default()
        }),
        ..commit(&owner, "/a", 2)
    };
    let first = f.store.commit_upload(request.clone()).await.unwrap();
    let again = f.store.commit_upload(request.clone()).await.unwrap();
    assert_eq!((&again.file, again.took_staged_copy), (&first.file, true));
    let other = CommitUploadRequest {
        id: id(),
        staging_id: id(),
        ..request
    };
    assert_eq!(
        kind(f.store.commit_upload(other).await),
        Kind::PreconditionFailed,
        "somebody else's change"
    );
}
