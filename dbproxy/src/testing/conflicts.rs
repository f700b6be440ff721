//! Paths that are taken, and calls that come again.

use super::*;

async fn put(f: &Fixture, owner: &Bytes, path: &str, seed: u8, rule: OnConflict) -> Result<Entry> {
    let request = CommitUploadRequest {
        on_conflict: rule.into(),
        ..commit(owner, path, seed)
    };
    Ok(f.store.commit_upload(request).await?.file.unwrap())
}

/// The conflict rules, early and late.
pub async fn conflicts(f: Fixture) {
    let owner = f.account(1 << 20).await;
    f.put(&owner, "/a.txt", 1).await.unwrap();
    f.mkdir(&owner, "/folder", false).await.unwrap();
    f.put(&owner, "/known", 9).await.unwrap();

    let declared = |path: &str, rule: OnConflict, seed: u8| BeginUpload {
        on_conflict: rule.into(),
        ..declare(path, blake3(seed))
    };
    let answers = f
        .begin(
            &owner,
            vec![
                declared("/a.txt", OnConflict::Fail, 2),
                declared("/a.txt", OnConflict::Unspecified, 9),
                declared("/folder", OnConflict::Replace, 2),
                declared("/folder", OnConflict::Rename, 9),
                declared("/a.txt/x", OnConflict::Replace, 2),
                BeginUpload {
                    path: "/../x".to_owned(),
                    ..announce("/")
                },
                BeginUpload {
                    size: -1,
                    ..announce("/x")
                },
                announce("/a.txt"),
            ],
        )
        .await;
    let slugs: Vec<&str> = answers.iter().map(slug).collect();
    assert_eq!(
        slugs,
        [
            "name-conflict",
            "name-conflict",
            "is-a-folder",
            "is-a-folder",
            "not-a-folder",
            "invalid-path",
            "malformed-request",
            "name-conflict",
        ]
    );
    assert_eq!(f.bytes(&owner).await, (2 * SIZE, 0), "nothing was reserved");

    let late = f.upload(&owner, announce("/late")).await;
    f.put(&owner, "/late", 3).await.unwrap();
    assert_eq!(
        kind(f.store.commit_upload(complete(&late, 4)).await),
        Kind::NameConflict
    );
    assert_eq!(
        f.get_upload(&owner, &late.id).await.unwrap().status(),
        UploadStatus::Uploading
    );
    let same = f.store.commit_upload(complete(&late, 3)).await.unwrap();
    assert_eq!(
        same.file.unwrap().version,
        1,
        "the same content is no conflict"
    );
    assert_eq!(
        f.bytes(&owner).await,
        (3 * SIZE, 0),
        "the reservation is settled"
    );

    assert_eq!(
        kind(put(&f, &owner, "/a.txt", 2, OnConflict::Fail).await),
        Kind::NameConflict
    );
    assert_eq!(
        put(&f, &owner, "/a.txt", 1, OnConflict::Fail)
            .await
            .unwrap()
            .version,
        1
    );
    for number in 1..=3 {
        let renamed = put(&f, &owner, "/a.txt", 2, OnConflict::Rename)
            .await
            .unwrap();
        assert_eq!(renamed.path, format!("/a ({number}).txt"));
    }
    f.rm(&owner, "/a (2).txt").await.unwrap();
    let renamed = put(&f, &owner, "/a.txt", 2, OnConflict::Rename)
        .await
        .unwrap();
    assert_eq!(renamed.path, "/a (2).txt", "the first free one");
    let answer = f
        .begin(&owner, vec![declared("/a.txt", OnConflict::Rename, 9)])
        .await
        .remove(0);
    assert_eq!(instant_file(answer).path, "/a (4).txt");
    let answer = f
        .begin(&owner, vec![declared("/a.txt", OnConflict::Replace, 9)])
        .await
        .remove(0);
    let replaced = instant_file(answer);
    assert_eq!((&*replaced.path, replaced.version), ("/a.txt", 2));
    let long = format!("/{}.txt", "\u{e9}".repeat(125));
    put(&f, &owner, &long, 1, OnConflict::Fail).await.unwrap();
    let renamed = put(&f, &owner, &long, 2, OnConflict::Rename).await.unwrap();
    assert!(
        f.stat(&owner, &renamed.path).await.is_ok(),
        "a cut name is addressable"
    );
}

/// A call that is repeated because its answer was lost has one effect, and never tells its caller
/// to remove the copy that the blob lives on.
pub async fn repeated_calls(f: Fixture) {
    let owner = f.account(10 * SIZE).await;
    let upload = f.upload(&owner, announce("/a")).await;
    let request = complete(&upload, 1);
    let first = f.store.commit_upload(request.clone()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(f.store.commit_upload(request.clone()).await.unwrap(), first);
    }
    assert_eq!(f.bytes(&owner).await, (SIZE, 0));

    for rule in [OnConflict::Fail, OnConflict::Replace, OnConflict::Rename] {
        let path = format!("/{rule:?}");
        if rule != OnConflict::Fail {
            f.put(&owner, &path, 2).await.unwrap();
        }
        let used = f.bytes(&owner).await.0;
        let seed = 10 + u8::try_from(i32::from(rule)).unwrap();
        let request = CommitUploadRequest {
            on_conflict: rule.into(),
            ..commit(&owner, &path, seed)
        };
        let first = f.store.commit_upload(request.clone()).await.unwrap();
        assert!(first.took_staged_copy);
        let grown = f.bytes(&owner).await.0;
        assert_eq!(
            grown,
            if rule == OnConflict::Replace {
                used
            } else {
                used + SIZE
            }
        );
        let again = f.store.commit_upload(request).await.unwrap();
        assert_eq!((&again.file, again.took_staged_copy), (&first.file, true));
        assert_eq!(f.bytes(&owner).await.0, grown, "counted once");
    }

    let entry = BeginUpload {
        size: 2 * SIZE,
        ..announce("/b")
    };
    let first = f.upload(&owner, entry.clone()).await;
    let reserved = f.bytes(&owner).await.1;
    assert_eq!(f.upload(&owner, entry.clone()).await, first);
    assert_eq!(f.bytes(&owner).await.1, reserved, "reserved once");
    let reused = BeginUpload {
        path: "/c".to_owned(),
        ..entry
    };
    assert_eq!(
        slug(&f.begin(&owner, vec![reused]).await[0]),
        "upload-gone",
        "another upload"
    );

    f.rm(&owner, "/a").await.unwrap();
    assert_eq!(
        kind(f.store.commit_upload(request).await),
        Kind::UploadGone,
        "the file is gone"
    );
    assert!(
        f.get_upload(&owner, &upload.id)
            .await
            .unwrap()
            .file
            .is_none()
    );
}
