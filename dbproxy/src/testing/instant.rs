//! Content that is known already: what needs no sending, what needs a proof.

use super::*;

async fn with_policy(
    f: &Fixture,
    owner: &Bytes,
    policy: InstantPolicy,
    entry: BeginUpload,
) -> Answer {
    let request = BeginUploadsRequest {
        policy: policy.into(),
        ..begin(owner, vec![entry])
    };
    f.store
        .begin_uploads(request)
        .await
        .unwrap()
        .results
        .remove(0)
        .result
        .unwrap()
}

/// Instant for the account's own content, a challenge for others', nothing for the rest.
pub async fn instant(f: Fixture) {
    let owner = f.account(10 * SIZE).await;
    let stranger = f.account(10 * SIZE).await;
    f.put(&owner, "/a", 1).await.unwrap();

    let entry = declare("/deep/copy", blake3(1));
    let copy = instant_file(f.begin(&owner, vec![entry.clone()]).await.remove(0));
    assert_eq!((&*copy.path, &copy.id), ("/deep/copy", &entry.id));
    assert_eq!(f.stat(&owner, "/deep/copy").await.unwrap(), copy);
    assert_eq!(
        f.bytes(&owner).await,
        (2 * SIZE, 0),
        "every reference counts"
    );
    let same = instant_file(f.begin(&owner, vec![entry]).await.remove(0));
    assert_eq!(same, copy, "repeated call");
    for rule in [OnConflict::Fail, OnConflict::Replace, OnConflict::Rename] {
        for policy in [
            InstantPolicy::Off,
            InstantPolicy::Account,
            InstantPolicy::Everyone,
        ] {
            let entry = BeginUpload {
                on_conflict: rule.into(),
                ..declare("/a", blake3(1))
            };
            let there = instant_file(with_policy(&f, &owner, policy, entry).await);
            assert_eq!(
                (&*there.path, there.version),
                ("/a", 1),
                "the path holds it already"
            );
        }
    }
    assert_eq!(f.bytes(&owner).await, (2 * SIZE, 0));

    let known = || declare("/theirs", blake3(1));
    for policy in [InstantPolicy::Off, InstantPolicy::Account] {
        let answer = with_policy(&f, &stranger, policy, known()).await;
        let Answer::Uploading(upload) = answer else {
            panic!("{answer:?}")
        };
        f.cancel(&stranger, &upload.id).await.unwrap();
    }
    let off = with_policy(&f, &owner, InstantPolicy::Off, declare("/b", blake3(1))).await;
    assert!(matches!(off, Answer::Uploading(_)), "{off:?}");
    let own = with_policy(&f, &owner, InstantPolicy::Account, declare("/c", blake3(1))).await;
    assert_eq!(instant_file(own).path, "/c");

    let answer = with_policy(&f, &stranger, InstantPolicy::Everyone, known()).await;
    let (upload, candidate) = challenge_of(answer);
    assert_eq!(
        (&candidate.blake3, &*candidate.node),
        (&digests(1).blake3, NODE)
    );
    assert_eq!(
        f.bytes(&stranger).await,
        (0, SIZE),
        "reserved until it is proved"
    );
    assert_eq!(kind(f.stat(&stranger, "/theirs").await), Kind::NotFound);
    let proved = CommitUploadRequest {
        staging_id: Bytes::new(),
        ..complete(&upload, 1)
    };
    let done = f.store.commit_upload(proved).await.unwrap();
    assert!(!done.took_staged_copy);
    assert_eq!(done.file.unwrap().path, "/theirs");
    assert_eq!(f.bytes(&stranger).await, (SIZE, 0));
    let held = with_policy(
        &f,
        &stranger,
        InstantPolicy::Account,
        declare("/x", blake3(1)),
    )
    .await;
    assert_eq!(instant_file(held).path, "/x", "held now");
    let missing = CommitUploadRequest {
        staging_id: Bytes::new(),
        ..commit(&owner, "/m", 99)
    };
    assert_eq!(
        kind(f.store.commit_upload(missing).await),
        Kind::BlobMissing
    );

    let direct = BeginUploadsRequest {
        direct_limit: SIZE,
        ..begin(
            &owner,
            vec![
                declare("/n1", blake3(50)),
                announce("/n2"),
                BeginUpload {
                    size: SIZE + 1,
                    ..announce("/n3")
                },
                declare("/n4", blake3(1)),
            ],
        )
    };
    let results = f.store.begin_uploads(direct).await.unwrap().results;
    let answers: Vec<_> = results
        .into_iter()
        .map(|result| result.result.unwrap())
        .collect();
    assert!(matches!(answers[0], Answer::Direct(_)), "small and new");
    assert!(
        matches!(answers[1], Answer::Direct(_)),
        "small and undeclared"
    );
    assert!(matches!(answers[2], Answer::Uploading(_)), "too long");
    assert!(matches!(answers[3], Answer::Instant(_)), "known");
}

/// Who failed to prove possession is offered nobody else's content for a while.
pub async fn blocks(f: Fixture) {
    const MINUTE: i64 = 60_000;
    let owner = f.account(10 * SIZE).await;
    let (guesser, other) = (f.account(10 * SIZE).await, f.account(10 * SIZE).await);
    f.put(&owner, "/a", 1).await.unwrap();
    f.put(&guesser, "/mine", 2).await.unwrap();
    let known = async |account: &Bytes| {
        let policy = InstantPolicy::Everyone;
        let answer = with_policy(&f, account, policy, declare("/x", blake3(1))).await;
        let (upload, is_known) = match answer {
            Answer::Challenge(challenge) => (challenge.upload.unwrap(), true),
            Answer::Uploading(upload) => (upload, false),
            other => panic!("{other:?}"),
        };
        f.cancel(account, &upload.id).await.unwrap();
        is_known
    };
    let block = async |account: &Bytes, for_ms: i64| {
        let request = BlockInstantRequest {
            account_id: account.clone(),
            for_ms,
        };
        f.peer.block_instant(request).await
    };
    assert!(known(&guesser).await);
    block(&guesser, MINUTE).await.unwrap();
    assert!(!known(&guesser).await);
    assert!(known(&other).await, "it concerns one account");
    let own = declare("/own", blake3(2));
    let own = with_policy(&f, &guesser, InstantPolicy::Everyone, own).await;
    assert_eq!(instant_file(own).path, "/own", "own content stays instant");

    block(&guesser, MINUTE / 2).await.unwrap();
    f.clock.advance(MINUTE - 1);
    assert!(!known(&guesser).await, "a shorter block ends none");
    f.clock.advance(1);
    assert!(known(&guesser).await);
    assert_eq!(kind(block(&id(), MINUTE).await), Kind::NotFound);
}

/// Which digests find content, and which only seem to.
pub async fn lookups(f: Fixture) {
    let owner = f.account(100 * SIZE).await;
    let stranger = f.account(100 * SIZE).await;
    let full = |path: &str, seed: u8| CommitUploadRequest {
        content: Some(digests(seed)),
        ..commit(&owner, path, seed)
    };
    f.store.commit_upload(full("/a", 1)).await.unwrap();
    let only_sha256 = Digests {
        sha256: digests(1).sha256,
        ..Digests::default()
    };
    let only_sha1 = Digests {
        sha1: digests(1).sha1,
        ..Digests::default()
    };

    instant_file(
        f.begin(&owner, vec![declare("/b", only_sha256.clone())])
            .await
            .remove(0),
    );
    challenge_of(
        f.begin(&stranger, vec![declare("/b", only_sha256.clone())])
            .await
            .remove(0),
    );
    challenge_of(
        f.begin(&stranger, vec![declare("/c", only_sha1.clone())])
            .await
            .remove(0),
    );
    let (upload, _) = challenge_of(
        f.begin(&owner, vec![declare("/d", only_sha1.clone())])
            .await
            .remove(0),
    );
    assert_eq!(upload.path, "/d", "SHA-1 alone decides nothing");
    let (upload, _) = challenge_of(
        f.begin(&owner, vec![declare("/a", only_sha1.clone())])
            .await
            .remove(0),
    );
    let other = CommitUploadRequest {
        content: Some(Digests {
            sha1: digests(1).sha1,
            ..blake3(7)
        }),
        ..complete(&upload, 7)
    };
    let conflict = f.store.commit_upload(other).await;
    assert_eq!(kind(conflict), Kind::NameConflict, "it was a collision");
    let same = CommitUploadRequest {
        staging_id: Bytes::new(),
        ..complete(&upload, 1)
    };
    assert_eq!(
        f.store
            .commit_upload(same)
            .await
            .unwrap()
            .file
            .unwrap()
            .version,
        1
    );

    let unknown = [
        BeginUpload {
            size: SIZE + 1,
            ..declare("/u1", blake3(1))
        },
        declare(
            "/u2",
            Digests {
                sha256: digests(2).sha256,
                ..blake3(1)
            },
        ),
        declare(
            "/u3",
            Digests {
                sha1: digests(2).sha1,
                ..only_sha256.clone()
            },
        ),
        declare(
            "/u4",
            Digests {
                blake3: digests(2).blake3,
                ..digests(1)
            },
        ),
        announce("/u5"),
    ];
    for answer in f.begin(&owner, unknown.to_vec()).await {
        assert!(matches!(answer, Answer::Uploading(_)), "{answer:?}");
    }

    // A collision: two blobs under one SHA-1.
    let twin = CommitUploadRequest {
        content: Some(Digests {
            sha1: digests(1).sha1,
            ..blake3(3)
        }),
        ..commit(&owner, "/twin", 3)
    };
    let twin = f.store.commit_upload(twin).await.unwrap().file.unwrap();
    assert_eq!(twin.blob.unwrap().blake3, digests(3).blake3, "two blobs");
    let answer = f
        .begin(&stranger, vec![declare("/e", only_sha1)])
        .await
        .remove(0);
    assert!(
        matches!(answer, Answer::Uploading(_)),
        "ambiguous: {answer:?}"
    );

    // Digests that transfer-worker finds are looked up as well.
    f.put(&owner, "/late", 4).await.unwrap();
    let late = Digests {
        sha256: digests(4).sha256,
        ..Digests::default()
    };
    let answer = f
        .begin(&owner, vec![declare("/l1", late.clone())])
        .await
        .remove(0);
    assert!(
        matches!(answer, Answer::Uploading(_)),
        "not known yet: {answer:?}"
    );
    f.store_blob(4).await;
    instant_file(f.begin(&owner, vec![declare("/l2", late)]).await.remove(0));
    let blob = f.stat(&owner, "/late").await.unwrap().blob.unwrap();
    assert_eq!(
        (blob.sha256, blob.sha1),
        (digests(4).sha256, digests(4).sha1)
    );
}
