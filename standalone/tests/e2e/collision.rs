//! SHA-1 finds content and never identifies it: real collisions stay two files.

use cloudstore_proto::http::{Completed, Created, Digests};
use serde_json::json;
use sha1::Digest as _;

use crate::support::{Local, User, collision_file, prove};

const PAIRS: [[&str; 2]; 2] = [
    ["shattered-1.pdf", "shattered-2.pdf"],
    ["sha-mbles-1.bin", "sha-mbles-2.bin"],
];

fn sha1(content: &[u8]) -> Digests {
    let sha1 = hex::encode(sha1::Sha1::digest(content));
    Digests {
        sha1: Some(sha1),
        ..Digests::default()
    }
}

/// Does whatever the server asks for, as an honest client that knows only the SHA-1.
async fn upload(user: &User, path: &str, content: &[u8]) {
    let body = json!({ "path": path, "size": content.len(), "digests": sha1(content) });
    match user.create(&body).await.json(201) {
        Created::Instant { .. } => {}
        Created::Uploading { upload } => {
            user.finish(&upload, content).await;
        }
        Created::Challenge { challenge, upload } => {
            let answer = user.prove(&upload.id, &prove(&challenge, content)).await;
            if answer.status == 201 {
                assert!(answer.json::<Completed>(201).file.instant);
            } else {
                answer.problem(403, "proof-failed");
                user.finish(&upload, content).await;
            }
        }
        other => panic!("unexpected {other:?}"),
    }
    user.assert_content(path, content).await;
}

fn pair([first, second]: [&str; 2]) -> [Vec<u8>; 2] {
    let pair = [collision_file(first), collision_file(second)];
    assert_ne!(pair[0], pair[1]);
    assert_eq!(pair[0].len(), pair[1].len());
    assert_eq!(sha1(&pair[0]), sha1(&pair[1]), "a collision");
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collision_of_one_account_is_two_blobs() {
    let local = Local::start().await;
    for names in PAIRS {
        let pair = pair(names);
        // Chance decides which windows a challenge asks for: once is not enough.
        for round in 0..12 {
            let user = local.user().await;
            for (name, content) in names.iter().zip(&pair) {
                upload(&user, &format!("/{round}/{name}"), content).await;
                if round == 0 {
                    let file = user.stored(&format!("/{round}/{name}")).await;
                    assert_eq!(file.sha1, sha1(content).sha1);
                }
            }
            for (name, content) in names.iter().zip(&pair) {
                user.assert_content(&format!("/{round}/{name}"), content)
                    .await;
            }
        }
    }
    assert_eq!(local.objects().blobs.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collision_of_two_accounts_is_two_blobs() {
    let local = Local::start().await;
    let owner = local.user().await;
    for names in PAIRS {
        let [first, second] = pair(names);
        upload(&owner, &format!("/{}", names[0]), &first).await;
        for _ in 0..12 {
            let user = local.user().await;
            upload(&user, &format!("/{}", names[1]), &second).await;
            owner
                .assert_content(&format!("/{}", names[0]), &first)
                .await;
        }
        owner.stored(&format!("/{}", names[0])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collision_in_a_batch_is_two_blobs() {
    let local = Local::start().await;
    let user = local.user().await;
    let [first, second] = pair(PAIRS[0]);
    upload(&user, "/first", &first).await;
    let entry = json!({ "path": "/second", "size": second.len(), "digests": sha1(&second) });
    let answer = user
        .post("/api/v1/uploads/batch", &json!({ "entries": [entry] }))
        .await;
    let created: cloudstore_proto::http::CreatedUploads = answer.json(200);
    match &created.results[0] {
        Created::Instant { file } => {
            panic!("SHA-1 alone made {} the other file's content", file.path)
        }
        Created::Direct => {
            user.put("/second", &second).await;
        }
        Created::Challenge { challenge, upload } => {
            user.prove(&upload.id, &prove(challenge, &second))
                .await
                .problem(403, "proof-failed");
            user.finish(upload, &second).await;
        }
        other => panic!("unexpected {other:?}"),
    }
    user.assert_content("/second", &second).await;
    user.assert_content("/first", &first).await;
}
