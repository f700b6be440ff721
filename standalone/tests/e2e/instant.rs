//! Instant uploads: content that the server already has is not sent again, against proof.

use cloudstore_proto::http::{Challenge, Completed, Created, Digests, File, Upload};
use serde_json::json;

use crate::support::{Local, TestStack, User, digests, prove};

const MIB: usize = 1 << 20;

async fn create(user: &User, path: &str, size: usize, digests: &Digests) -> Created {
    let body = json!({ "path": path, "size": size, "digests": digests });
    user.create(&body).await.json(201)
}

async fn challenged(
    user: &User,
    path: &str,
    size: usize,
    digests: &Digests,
) -> (Challenge, Upload) {
    match create(user, path, size, digests).await {
        Created::Challenge { challenge, upload } => (challenge, upload),
        other => panic!("expected a challenge, got {other:?}"),
    }
}

async fn uploading(user: &User, path: &str, size: usize, digests: &Digests) -> Upload {
    match create(user, path, size, digests).await {
        Created::Uploading { upload } => upload,
        other => panic!("expected an ordinary upload, got {other:?}"),
    }
}

async fn instant(user: &User, path: &str, size: usize, digests: &Digests) -> File {
    match create(user, path, size, digests).await {
        Created::Instant { file } => file,
        other => panic!("expected an instant upload, got {other:?}"),
    }
}

fn only_blake3(content: &[u8]) -> Digests {
    Digests {
        blake3: digests(content).blake3,
        ..Digests::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_content_is_instant() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("own", 3 * MIB);
    let first = user.put("/first", &content).await;
    let file = instant(&user, "/sub/second", content.len(), &only_blake3(&content)).await;
    assert!(file.instant);
    assert_eq!(
        (&*file.path, file.size, &file.blake3),
        ("/sub/second", first.size, &first.blake3)
    );
    assert_ne!(file.id, first.id);
    user.assert_content("/sub/second", &content).await;
    assert_eq!(
        user.usage().await,
        (2 * content.len() as u64, 0),
        "each file counts"
    );

    let again = instant(&user, "/first", content.len(), &only_blake3(&content)).await;
    assert_eq!(again.id, first.id, "the path holds exactly this content");
    assert_eq!(user.usage().await, (2 * content.len() as u64, 0));

    user.remove("/first").await.status(204);
    user.assert_content("/sub/second", &content).await;
    user.usage_becomes(content.len() as u64, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_digest_finds_content_once_it_is_known() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("found", 2 * MIB + 9);
    user.put("/found", &content).await;
    let file = user.stored("/found").await;
    let all = digests(&content);
    assert_eq!(
        (&file.sha256, &file.sha1),
        (&all.sha256, &all.sha1),
        "computed on the way"
    );
    let sha256 = Digests {
        sha256: all.sha256.clone(),
        ..Digests::default()
    };
    instant(&user, "/by-sha256", content.len(), &sha256).await;
    instant(&user, "/by-all", content.len(), &all).await;
    uploading(&user, "/other-size", content.len() + 1, &sha256).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instant_uploads_obey_conflict_rules() {
    let (_stack, user) = TestStack::with_user().await;
    let (old, new) = (user.content("old", 1_000), user.content("new", 2_000));
    user.put("/taken.txt", &old).await;
    user.put("/source", &new).await;
    let body = |rule: &str| {
        let digests = only_blake3(&new);
        json!({ "path": "/taken.txt", "size": 2_000, "digests": digests, "on_conflict": rule })
    };
    user.create(&body("fail"))
        .await
        .problem(409, "name-conflict");
    user.assert_content("/taken.txt", &old).await;
    let Created::Instant { file } = user.create(&body("rename")).await.json(201) else {
        panic!("instant")
    };
    assert_eq!(file.path, "/taken (1).txt");
    let Created::Instant { file } = user.create(&body("replace")).await.json(201) else {
        panic!("instant")
    };
    assert_eq!(file.path, "/taken.txt");
    user.assert_content("/taken.txt", &new).await;
    user.assert_content("/taken (1).txt", &new).await;
    user.usage_becomes(6_000, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_proves_possession_need_not_send_the_content() {
    let (stack, owner) = TestStack::with_user().await;
    // Below and above the size up to which the whole content is asked for; staged and stored.
    for (index, size) in [1, 1_000, 256 * 1024, 256 * 1024 + 1, 5 * MIB + 3]
        .into_iter()
        .enumerate()
    {
        let content = owner.content(&format!("{size}"), size);
        let path = format!("/shared-{size}");
        owner.put(&path, &content).await;
        if index % 2 == 0 {
            owner.stored(&path).await;
        }
        let user = stack.user().await;
        let (challenge, upload) = challenged(&user, "/mine", size, &only_blake3(&content)).await;
        assert_eq!(challenge.nonce.len(), 64);
        let asked: u64 = challenge.windows.iter().map(|[_, len]| len).sum();
        if size <= 256 * 1024 {
            assert_eq!(asked, size as u64, "all of it");
        } else {
            assert_eq!((challenge.windows.len(), asked), (64, 64 * 4_096));
        }
        assert_eq!(
            user.usage().await,
            (0, size as u64),
            "its room is reserved meanwhile"
        );
        let proof = prove(&challenge, &content);
        let file = user
            .prove(&upload.id, &proof)
            .await
            .json::<Completed>(201)
            .file;
        assert!(file.instant);
        user.assert_content("/mine", &content).await;
        assert_eq!(user.usage().await, (size as u64, 0));
        let again = user
            .prove(&upload.id, &proof)
            .await
            .json::<Completed>(201)
            .file;
        assert_eq!(again.id, file.id, "a lost answer can be asked for again");
        owner.assert_content(&path, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_proof_means_an_ordinary_upload() {
    let (stack, owner) = TestStack::with_user().await;
    let content = owner.content("secret", 9 * MIB);
    owner.put("/secret", &content).await;
    let user = stack.user().await;
    let (challenge, upload) =
        challenged(&user, "/mine", content.len(), &only_blake3(&content)).await;
    assert_eq!(upload.missing, [[0, 1]]);
    user.prove(&upload.id, &"0".repeat(64))
        .await
        .problem(403, "proof-failed");
    // A challenge can be answered once, so that nobody guesses window by window.
    user.prove(&upload.id, &prove(&challenge, &content))
        .await
        .problem(403, "proof-failed");
    user.try_stat("/mine").await.problem(404, "not-found");
    user.try_complete(&upload.id)
        .await
        .problem(409, "incomplete");
    user.finish(&upload, &content).await;
    user.assert_content("/mine", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_may_ignore_its_challenge() {
    let (stack, owner) = TestStack::with_user().await;
    let content = owner.content("ignored", 3 * MIB);
    owner.put("/ignored", &content).await;
    let user = stack.user().await;
    let (_, upload) = challenged(&user, "/mine", content.len(), &only_blake3(&content)).await;
    user.finish(&upload, &content).await;
    user.assert_content("/mine", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_tenths_of_a_file_are_no_proof() {
    let (stack, owner) = TestStack::with_user().await;
    for size in [100_000, 4 * MIB] {
        let content = owner.content(&format!("{size}"), size);
        owner.put(&format!("/whole-{size}"), &content).await;
        for (name, missing) in [
            ("beginning", 0..size / 10),
            ("middle", size / 2..size / 2 + size / 10),
            ("end", size - size / 10..size),
        ] {
            // One each: who failed once gets no challenge for a while.
            let user = stack.user().await;
            let mut most = content.clone();
            most[missing].fill(0);
            let (challenge, upload) =
                challenged(&user, &format!("/{name}"), size, &only_blake3(&content)).await;
            user.prove(&upload.id, &prove(&challenge, &most))
                .await
                .problem(403, "proof-failed");
            user.try_stat(&format!("/{name}"))
                .await
                .problem(404, "not-found");
            user.cancel(&upload.id).await.status(204);
            assert_eq!(user.usage().await, (0, 0));
            let again = user
                .create(
                    &json!({ "path": "/again", "size": size, "digests": only_blake3(&content) }),
                )
                .await;
            let Created::Uploading { .. } = again.json(201) else {
                panic!("guessing must not go on")
            };
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_are_fresh_and_short_lived() {
    let (stack, owner) = TestStack::with_user().await;
    let content = owner.content("fresh", MIB);
    owner.put("/fresh", &content).await;
    let (one, two) = (stack.user().await, stack.user().await);
    let (first, of_one) = challenged(&one, "/x", MIB, &only_blake3(&content)).await;
    let (second, of_two) = challenged(&two, "/x", MIB, &only_blake3(&content)).await;
    assert_ne!(first.nonce, second.nonce);
    assert_ne!(first.windows, second.windows);
    for challenge in [&first, &second] {
        let parse = |text: &str| {
            let format = &time::format_description::well_known::Rfc3339;
            time::OffsetDateTime::parse(text, format).unwrap()
        };
        let left = parse(&challenge.expires_at) - time::OffsetDateTime::now_utc();
        assert!(left.is_positive() && left.whole_seconds() <= 60, "{left}");
    }
    two.prove(&of_two.id, &prove(&first, &content))
        .await
        .problem(403, "proof-failed");
    one.prove(&of_one.id, &prove(&first, &content))
        .await
        .status(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_proofs_and_proofs_of_nothing() {
    let (stack, owner) = TestStack::with_user().await;
    let content = owner.content("malformed", MIB);
    owner.put("/malformed", &content).await;
    let user = stack.user().await;
    let (challenge, upload) = challenged(&user, "/x", MIB, &only_blake3(&content)).await;
    for proof in ["", "00", &"0".repeat(63), &"0".repeat(65), &"zz".repeat(32)] {
        user.prove(&upload.id, proof)
            .await
            .problem(422, "invalid-fields");
    }
    let path = format!("/api/v1/uploads/{}/proof", upload.id);
    user.post(&path, &json!({ "evidence": "x" }))
        .await
        .problem(422, "invalid-fields");
    // None of them was an answer.
    user.prove(&upload.id, &prove(&challenge, &content))
        .await
        .status(201);

    let plain = user.begin("/plain", 100).await;
    user.prove(&plain.id, &"0".repeat(64))
        .await
        .problem(403, "proof-failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn proven_content_outlives_its_first_owner() {
    let (stack, owner) = TestStack::with_user().await;
    let content = owner.content("inherited", MIB + 1);
    owner.put("/first", &content).await;
    let user = stack.user().await;
    let (challenge, upload) = challenged(&user, "/x", MIB + 1, &only_blake3(&content)).await;
    user.prove(&upload.id, &prove(&challenge, &content))
        .await
        .status(201);
    owner.remove("/first").await.status(204);
    owner.usage_becomes(0, 0).await;
    user.stored("/x").await;
    user.assert_content("/x", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_while_somebody_proves_never_leaves_a_broken_file() {
    let (stack, owner) = TestStack::with_user().await;
    for round in 0..10 {
        let content = owner.content(&format!("race {round}"), 300_000);
        owner.put("/race", &content).await;
        let user = stack.user().await;
        let (challenge, upload) =
            challenged(&user, "/x", content.len(), &only_blake3(&content)).await;
        let proof = prove(&challenge, &content);
        let (removed, proven) = tokio::join!(owner.remove("/race"), user.prove(&upload.id, &proof));
        removed.status(204);
        if proven.status != 201 {
            proven.problem(403, "proof-failed");
            user.finish(&upload, &content).await;
        }
        user.assert_content("/x", &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_off_recognises_nothing() {
    let local = Local::with(|config| config.upload.instant = cloudstore_upload::Instant::Off).await;
    let user = local.user().await;
    let content = user.content("off", MIB);
    user.put("/off", &content).await;
    user.stored("/off").await;
    let upload = uploading(&user, "/again", MIB, &digests(&content)).await;
    user.finish(&upload, &content).await;
    user.assert_content("/again", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_account_recognises_only_own_content() {
    let account = cloudstore_upload::Instant::Account;
    let local = Local::with(|config| config.upload.instant = account).await;
    let (user, other) = (local.user().await, local.user().await);
    let content = user.content("account", MIB);
    user.put("/mine", &content).await;
    user.stored("/mine").await;
    instant(&user, "/again", MIB, &digests(&content)).await;

    // To somebody else it looks exactly like content that nobody has.
    let known = uploading(&other, "/x", MIB, &digests(&content)).await;
    let unknown = uploading(&other, "/y", MIB, &digests(b"nobody has this")).await;
    assert_eq!(
        (known.missing, known.received),
        (unknown.missing, unknown.received)
    );
    let known = other.unfinished(&known.id).await;
    other.finish(&known, &content).await;
    other.assert_content("/x", &content).await;
}
