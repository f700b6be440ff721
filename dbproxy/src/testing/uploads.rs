//! Uploads from reservation to file, their quota, their end, and staged copies.

use super::*;

/// The life of an upload, in every direction.
pub async fn uploads(f: Fixture) {
    let owner = f.account(10 * SIZE).await;
    let stranger = f.account(10 * SIZE).await;
    let entry = BeginUpload {
        mtime_ms: 5,
        ..declare("/a/b", blake3(1))
    };
    let upload = f.upload(&owner, entry.clone()).await;
    assert_eq!(
        (&upload.id, &*upload.path, upload.size),
        (&entry.id, "/a/b", SIZE)
    );
    assert_eq!(
        (upload.status(), upload.mtime_ms),
        (UploadStatus::Uploading, 5)
    );
    assert_eq!((upload.chunk_size, &*upload.node), (1 << 20, NODE));
    assert_eq!(upload.digests, Some(blake3(1)));
    assert_eq!(upload.expires_at_ms, f.clock.now_ms() + 3_600_000);
    assert_eq!(f.bytes(&owner).await, (0, SIZE), "reserved");
    assert_eq!(f.get_upload(&owner, &upload.id).await.unwrap(), upload);
    assert_eq!(
        kind(f.get_upload(&stranger, &upload.id).await),
        Kind::NotFound
    );
    assert_eq!(kind(f.get_upload(&owner, &id()).await), Kind::NotFound);
    assert_eq!(kind(f.cancel(&stranger, &upload.id).await), Kind::NotFound);
    let foreign = CommitUploadRequest {
        account_id: stranger.clone(),
        ..complete(&upload, 1)
    };
    assert_eq!(kind(f.store.commit_upload(foreign).await), Kind::NotFound);
    assert_eq!(
        kind(f.stat(&owner, "/a").await),
        Kind::NotFound,
        "folders come with the file"
    );

    let wrong = complete(&upload, 2);
    assert_eq!(
        kind(f.store.commit_upload(wrong).await),
        Kind::DigestMismatch
    );
    let done = f.store.commit_upload(complete(&upload, 1)).await.unwrap();
    assert!(done.took_staged_copy);
    let file = done.file.clone().unwrap();
    assert_eq!(
        (&*file.path, file.modified_at_ms, &*file.media_type),
        ("/a/b", 5, "text/plain")
    );
    assert_eq!(f.bytes(&owner).await, (SIZE, 0), "settled");
    let completed = f.get_upload(&owner, &upload.id).await.unwrap();
    assert_eq!(completed.status(), UploadStatus::Completed);
    assert_eq!(completed.file, Some(file));
    assert_eq!(kind(f.cancel(&owner, &upload.id).await), Kind::UploadGone);

    let cancelled = f.upload(&owner, announce("/c")).await;
    for _ in 0..2 {
        f.cancel(&owner, &cancelled.id).await.unwrap();
    }
    assert_eq!(f.bytes(&owner).await, (SIZE, 0), "released once");
    assert_eq!(
        kind(f.store.commit_upload(complete(&cancelled, 3)).await),
        Kind::UploadGone
    );
    assert_eq!(f.bytes(&owner).await, (SIZE, 0));

    let mut open = Vec::new();
    for number in 0..5 {
        open.push(f.upload(&owner, announce(&format!("/open/{number}"))).await);
    }
    let list = |after: Bytes, limit| ListUploadsRequest {
        account_id: owner.clone(),
        after,
        limit,
    };
    let page = f
        .store
        .list_uploads(list(Bytes::new(), 3))
        .await
        .unwrap()
        .uploads;
    assert_eq!(page, open[..3], "oldest first, unfinished only");
    let page = f
        .store
        .list_uploads(list(page[2].id.clone(), 0))
        .await
        .unwrap()
        .uploads;
    assert_eq!(page, open[3..]);
}

async fn expire(f: &Fixture, node: &str) -> Vec<Bytes> {
    end(f, node, false).await
}

async fn end(f: &Fixture, node: &str, direct: bool) -> Vec<Bytes> {
    let request = ExpireUploadsRequest {
        node: node.to_owned(),
        limit: 0,
        direct,
    };
    f.store.expire_uploads(request).await.unwrap().ids
}

/// Expired uploads end and give their room back; finished ones are forgotten in the end.
pub async fn expiry(f: Fixture) {
    const DAY: i64 = 24 * 3_600 * 1_000;
    let owner = f.account(10 * SIZE).await;
    let expiring = f.upload(&owner, announce("/a")).await;
    let completed = f.upload(&owner, announce("/b")).await;
    let cancelled = f.upload(&owner, announce("/c")).await;
    f.store
        .commit_upload(complete(&completed, 1))
        .await
        .unwrap();
    f.cancel(&owner, &cancelled.id).await.unwrap();
    assert!(expire(&f, NODE).await.is_empty(), "not yet");
    let direct = BeginUpload {
        chunk_size: 0,
        ..announce("/e")
    };
    let lost = f.upload(&owner, direct).await;
    assert!(end(&f, "another node", true).await.is_empty());
    assert!(expire(&f, NODE).await.is_empty());
    assert_eq!(
        end(&f, NODE, true).await,
        std::slice::from_ref(&lost.id),
        "direct uploads end before their time"
    );
    assert_eq!(
        kind(f.store.commit_upload(complete(&lost, 9)).await),
        Kind::UploadGone
    );
    assert_eq!(f.bytes(&owner).await, (SIZE, SIZE));
    f.clock.advance(3_600_000);
    assert!(
        expire(&f, "another node").await.is_empty(),
        "its own node's business"
    );
    assert_eq!(expire(&f, NODE).await, std::slice::from_ref(&expiring.id));
    assert!(expire(&f, NODE).await.is_empty(), "once");
    assert_eq!(
        f.bytes(&owner).await,
        (SIZE, 0),
        "the reservation is released"
    );
    let status = f.get_upload(&owner, &expiring.id).await.unwrap().status();
    assert_eq!(status, UploadStatus::Expired);
    assert_eq!(
        kind(f.store.commit_upload(complete(&expiring, 2)).await),
        Kind::UploadGone
    );
    f.cancel(&owner, &expiring.id).await.unwrap();
    assert_eq!(f.bytes(&owner).await, (SIZE, 0));
    assert!(
        f.get_upload(&owner, &completed.id)
            .await
            .unwrap()
            .file
            .is_some()
    );

    f.clock.advance(DAY);
    assert!(expire(&f, "another node").await.is_empty());
    for upload in [&expiring, &completed, &cancelled] {
        assert_eq!(
            kind(f.get_upload(&owner, &upload.id).await),
            Kind::NotFound,
            "forgotten"
        );
    }
    assert!(f.stat(&owner, "/b").await.is_ok(), "the file stays");

    let long = BeginUploadsRequest {
        lifetime_ms: 3 * DAY,
        ..begin(&owner, vec![announce("/d")])
    };
    let answer = f
        .store
        .begin_uploads(long)
        .await
        .unwrap()
        .results
        .remove(0)
        .result;
    let Some(Answer::Uploading(upload)) = answer else {
        panic!("not an upload: {answer:?}")
    };
    f.store.commit_upload(complete(&upload, 3)).await.unwrap();
    f.clock.advance(3 * DAY - 1);
    expire(&f, NODE).await;
    assert!(
        f.get_upload(&owner, &upload.id).await.is_ok(),
        "readable until it expires"
    );
    f.clock.advance(1);
    expire(&f, NODE).await;
    assert_eq!(kind(f.get_upload(&owner, &upload.id).await), Kind::NotFound);
}

/// Used plus reserved bytes never exceed the quota, and every refusal leaves nothing behind.
pub async fn quota(f: Fixture) {
    let owner = f.account(3 * SIZE).await;
    let entries = (0..4)
        .map(|number| announce(&format!("/{number}")))
        .collect();
    let answers = f.begin(&owner, entries).await;
    assert!(
        answers[..3]
            .iter()
            .all(|answer| matches!(answer, Answer::Uploading(_)))
    );
    assert_eq!(slug(&answers[3]), "quota-exceeded");
    assert_eq!(f.bytes(&owner).await, (0, 3 * SIZE));
    assert_eq!(
        kind(f.put(&owner, "/new/folder/x", 1).await),
        Kind::QuotaExceeded
    );
    assert_eq!(
        kind(f.stat(&owner, "/new").await),
        Kind::NotFound,
        "nothing is left behind"
    );
    assert!(f.claim(&[]).await.is_empty(), "not even a blob");
    for (answer, seed) in answers[..3].iter().zip(1..) {
        let Answer::Uploading(upload) = answer else {
            panic!("{answer:?}")
        };
        f.store.commit_upload(complete(upload, seed)).await.unwrap();
    }
    assert_eq!(f.bytes(&owner).await, (3 * SIZE, 0));

    let replace = |size: i64, seed: u8| CommitUploadRequest {
        size,
        on_conflict: OnConflict::Replace.into(),
        ..commit(&owner, "/0", seed)
    };
    assert_eq!(
        kind(f.store.commit_upload(replace(SIZE + 1, 7)).await),
        Kind::QuotaExceeded
    );
    f.store.commit_upload(replace(SIZE, 8)).await.unwrap();
    f.store.commit_upload(replace(1, 9)).await.unwrap();
    assert_eq!(
        f.bytes(&owner).await,
        (2 * SIZE + 1, 0),
        "the difference counts"
    );
    f.put(&owner, "/copy", 2)
        .await
        .expect_err("a copy counts, too");
    f.rm(&owner, "/1").await.unwrap();
    assert_eq!(
        f.bytes(&owner).await,
        (2 * SIZE + 1, 0),
        "until it is purged"
    );
    f.purge_all(0).await;
    assert_eq!(f.bytes(&owner).await, (SIZE + 1, 0));

    let direct = BeginUploadsRequest {
        direct_limit: 10 * SIZE,
        ..begin(
            &owner,
            vec![
                BeginUpload {
                    size: 2 * SIZE,
                    ..announce("/big")
                },
                announce("/ok"),
            ],
        )
    };
    let results = f.store.begin_uploads(direct).await.unwrap().results;
    assert_eq!(slug(results[0].result.as_ref().unwrap()), "quota-exceeded");
    assert!(
        matches!(results[1].result, Some(Answer::Direct(_))),
        "{results:?}"
    );
    assert_eq!(
        f.bytes(&owner).await,
        (SIZE + 1, 0),
        "nothing is reserved for it"
    );

    let capped = BeginUploadsRequest {
        max_open: 1,
        ..begin(
            &owner,
            vec![
                BeginUpload {
                    size: 0,
                    ..announce("/x")
                },
                BeginUpload {
                    size: 0,
                    ..announce("/y")
                },
            ],
        )
    };
    let results = f.store.begin_uploads(capped.clone()).await.unwrap().results;
    assert!(matches!(results[0].result, Some(Answer::Uploading(_))));
    assert_eq!(
        slug(results[1].result.as_ref().unwrap()),
        "too-many-uploads"
    );
    let again = BeginUploadsRequest {
        entries: vec![announce("/z")],
        ..capped
    };
    let results = f.store.begin_uploads(again).await.unwrap().results;
    assert_eq!(
        slug(results[0].result.as_ref().unwrap()),
        "too-many-uploads"
    );
}

async fn resolve(f: &Fixture, ids: &[Bytes]) -> Vec<i32> {
    let request = ResolveStagingRequest { ids: ids.to_vec() };
    f.store.resolve_staging(request).await.unwrap().uses
}

/// What each staged id is good for.
pub async fn staging(f: Fixture) {
    const UPLOAD: i32 = StagingUse::Upload as i32;
    const BLOB: i32 = StagingUse::Blob as i32;
    const UNREFERENCED: i32 = StagingUse::Unreferenced as i32;
    let owner = f.account(10 * SIZE).await;
    let first = f.upload(&owner, announce("/a")).await;
    let second = f.upload(&owner, announce("/b")).await;
    let cancelled = f.upload(&owner, announce("/c")).await;
    f.cancel(&owner, &cancelled.id).await.unwrap();
    let ids = [first.id.clone(), id(), second.id.clone(), cancelled.id];
    assert_eq!(
        resolve(&f, &ids).await,
        [UPLOAD, UNREFERENCED, UPLOAD, UNREFERENCED]
    );
    f.store.commit_upload(complete(&first, 1)).await.unwrap();
    let second = f.store.commit_upload(complete(&second, 1)).await.unwrap();
    assert!(!second.took_staged_copy, "the content was there");
    assert_eq!(
        resolve(&f, &ids[..3]).await,
        [BLOB, UNREFERENCED, UNREFERENCED]
    );
    assert!(resolve(&f, &[]).await.is_empty());
}

/// Uploads whose length is told later, those that are parts, and what protocols leave at them.
pub async fn lengths(f: Fixture) {
    let owner = f.account(10 * SIZE).await;
    let entry = BeginUpload {
        size: 0,
        deferred: true,
        note: "ключ dmFsdWU=".to_owned(),
        ..announce("/a")
    };
    let upload = f.upload(&owner, entry.clone()).await;
    assert_eq!((upload.deferred, &upload.note), (true, &entry.note));
    assert_eq!(f.get_upload(&owner, &upload.id).await.unwrap(), upload);
    assert_eq!(f.bytes(&owner).await, (0, 0), "nothing is reserved yet");
    assert_eq!(
        kind(f.store.commit_upload(complete(&upload, 1)).await),
        Kind::LengthUnknown
    );

    let resize = |at_least, at_most, is_length| ResizeUploadRequest {
        account_id: owner.clone(),
        id: upload.id.clone(),
        at_least,
        at_most,
        is_length,
    };
    for _ in 0..2 {
        let grown = f.store.resize_upload(resize(1, 4 * SIZE, false)).await;
        assert_eq!(grown.unwrap().size, 4 * SIZE, "as much as wanted, once");
        assert_eq!(f.bytes(&owner).await, (0, 4 * SIZE));
    }
    let grown = f.store.resize_upload(resize(5 * SIZE, 99 * SIZE, false));
    assert_eq!(grown.await.unwrap().size, 10 * SIZE, "as much as there is");
    for is_length in [false, true] {
        let refused = f.store.resize_upload(resize(10 * SIZE + 1, 0, is_length));
        assert_eq!(kind(refused.await), Kind::QuotaExceeded);
    }
    assert_eq!(f.bytes(&owner).await, (0, 10 * SIZE), "never above it");
    for _ in 0..2 {
        let sized = f.store.resize_upload(resize(SIZE, 0, true)).await.unwrap();
        assert_eq!((sized.size, sized.deferred), (SIZE, false));
        assert_eq!(f.bytes(&owner).await, (0, SIZE), "settled");
    }
    for (size, is_length) in [(SIZE + 1, true), (SIZE, false)] {
        let again = f.store.resize_upload(resize(size, size, is_length)).await;
        assert_eq!(kind(again), Kind::WrongLength, "it is told once");
    }
    let stranger = f.account(SIZE).await;
    let foreign = ResizeUploadRequest {
        account_id: stranger,
        ..resize(SIZE, 0, true)
    };
    assert_eq!(kind(f.store.resize_upload(foreign).await), Kind::NotFound);
    f.store.commit_upload(complete(&upload, 1)).await.unwrap();
    assert_eq!(f.bytes(&owner).await, (SIZE, 0));
    let done = f.get_upload(&owner, &upload.id).await.unwrap();
    assert_eq!(done.note, entry.note, "found again with the file");
    assert_eq!(done.digests, Some(blake3(1)), "what it became");
    let late = f.store.resize_upload(resize(SIZE, 0, true)).await;
    assert_eq!(kind(late), Kind::UploadGone);

    let cancelled = BeginUpload {
        id: id(),
        path: "/b".to_owned(),
        ..entry
    };
    let cancelled = f.upload(&owner, cancelled).await;
    let grow = ResizeUploadRequest {
        id: cancelled.id.clone(),
        ..resize(SIZE, 2 * SIZE, false)
    };
    f.store.resize_upload(grow).await.unwrap();
    f.cancel(&owner, &cancelled.id).await.unwrap();
    assert_eq!(f.bytes(&owner).await, (SIZE, 0), "given back");

    let part = BeginUpload {
        part: true,
        ..announce("/part")
    };
    let part = f.upload(&owner, part).await;
    assert!(f.get_upload(&owner, &part.id).await.unwrap().part);
    assert_eq!(
        kind(f.store.commit_upload(complete(&part, 2)).await),
        Kind::Forbidden,
        "a part never becomes a file"
    );
}
