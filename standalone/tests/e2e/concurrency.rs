//! The same content from many sides at once: one blob, as many references.

use cloudstore_proto::http::{Created, File};
use futures::future::join_all;
use serde_json::json;

use crate::support::{Local, Objects, User, digests, eventually, fixed_content, prove};

const MIB: usize = 1 << 20;

/// Uploads one content in one of every way there is.
async fn upload_somehow(user: &User, way: usize, path: &str, content: &[u8]) -> File {
    match way % 4 {
        0 => user.put(path, content).await,
        1 => user.upload(path, content).await,
        _ => {
            let body = json!({ "path": path, "size": content.len(), "digests": digests(content) });
            match user.create(&body).await.json(201) {
                Created::Instant { file } => file,
                Created::Uploading { upload } => user.finish(&upload, content).await,
                Created::Challenge { challenge, upload } if way % 4 == 2 => {
                    let answer = user.prove(&upload.id, &prove(&challenge, content)).await;
                    answer.json::<cloudstore_proto::http::Completed>(201).file
                }
                Created::Challenge { upload, .. } => user.finish(&upload, content).await,
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn twenty_uploads(len: usize) {
    let local = Local::with(|config| config.transfer.staged_grace = 0).await;
    let content = fixed_content("the same for all", len);
    let users = join_all((0..5).map(|_| local.user())).await;
    let uploads = (0..20).map(|i| {
        let (user, content) = (&users[i % 5], &content);
        async move { upload_somehow(user, i / 5 + i, &format!("/copy-{i}"), content).await }
    });
    let files = join_all(uploads).await;
    let blake3 = digests(&content).blake3.unwrap();
    assert!(files.iter().all(|file| file.blake3 == blake3));
    for (i, user) in users.iter().enumerate() {
        assert_eq!(
            user.usage().await,
            (4 * len as u64, 0),
            "each reference counts"
        );
        for copy in (i..20).step_by(5) {
            user.stored(&format!("/copy-{copy}")).await;
        }
    }
    local.nothing_staged().await;
    let outboards = if len > MIB {
        vec![blake3.clone()]
    } else {
        Vec::new()
    };
    assert_eq!(
        local.objects(),
        Objects {
            blobs: vec![blake3],
            outboards
        },
        "one object"
    );
    assert!(local.temporary_files().is_empty());
    for i in 0..20 {
        users[i % 5]
            .assert_content(&format!("/copy-{i}"), &content)
            .await;
    }
    // Every reference but one goes; the last one still has everything.
    for i in 0..19 {
        users[i % 5].remove(&format!("/copy-{i}")).await.status(204);
    }
    for user in &users[..4] {
        user.usage_becomes(0, 0).await;
    }
    users[4].usage_becomes(len as u64, 0).await;
    users[4].assert_content("/copy-19", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_uploads_of_one_small_content_are_one_blob() {
    twenty_uploads(50_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_uploads_of_one_large_content_are_one_blob() {
    twenty_uploads(9 * MIB + 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_comes_and_goes_and_is_always_whole() {
    let local = Local::with(|config| {
        config.transfer.staged_grace = 0;
        config.transfer.garbage_grace = 0;
    })
    .await;
    let content = fixed_content("coming and going", 40_000);
    let users = join_all((0..4).map(|_| local.user())).await;
    let rounds = users.iter().enumerate().map(|(i, user)| {
        let content = &content;
        async move {
            for round in 0..40 {
                let path = format!("/{round}");
                upload_somehow(user, i + round, &path, content).await;
                user.assert_content(&path, content).await;
                user.remove(&path).await.status(204);
            }
        }
    });
    join_all(rounds).await;
    for user in &users {
        user.usage_becomes(0, 0).await;
    }
    eventually(
        "the object is deleted with its last reference",
        async || (local.objects() == Objects::default() && local.staged().is_empty()).then_some(()),
    )
    .await;
    users[0].put("/again", &content).await;
    users[0].stored("/again").await;
    users[0].assert_content("/again", &content).await;
}
