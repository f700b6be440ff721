//! From an upload to a file: digests, names, conflicts, times.

use cloudstore_proto::http::{Digests, UploadState};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{TestStack, assert_same, digests, part};

/// The server's choice for files of ordinary size.
const CHUNK: usize = 8 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn completing_again_gives_the_same_file() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("twice", CHUNK + 5);
    let upload = user.begin("/twice", content.len()).await;
    user.put_parts(&upload, [0, 1], &content).await;
    let files = join_all((0..8).map(|_| user.complete(&upload.id))).await;
    let again = user.complete(&upload.id).await;
    for file in &files {
        assert_eq!((&file.id, &file.path), (&again.id, &again.path));
    }
    let UploadState::Completed { file } = user.upload_state(&upload.id).await else {
        panic!("it is completed")
    };
    assert_eq!(file.id, again.id);
    assert_eq!(
        user.usage().await,
        (content.len() as u64, 0),
        "counted once"
    );
    assert_eq!(user.names("/", "").await, ["twice"]);
    user.put_chunk(&upload.id, 0, part(&upload, 0, &content))
        .await
        .problem(410, "upload-gone");
    user.cancel(&upload.id).await.problem(410, "upload-gone");
    user.assert_content("/twice", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_digests_are_verified_before_completion() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("declared", CHUNK + 3);
    let right = digests(&content);
    let wrong = digests(b"something else");
    let rows = [
        Digests {
            blake3: wrong.blake3.clone(),
            ..Digests::default()
        },
        Digests {
            sha256: wrong.sha256.clone(),
            ..Digests::default()
        },
        Digests {
            sha1: wrong.sha1.clone(),
            ..Digests::default()
        },
        Digests {
            sha1: wrong.sha1.clone(),
            ..right.clone()
        },
    ];
    for digests in rows {
        let body = json!({ "path": "/declared", "size": content.len(), "digests": digests });
        let created: Value = user.create(&body).await.json(201);
        assert_eq!(created["status"], "uploading");
        let upload = user.unfinished(created["id"].as_str().unwrap()).await;
        user.put_parts(&upload, [1, 0], &content).await;
        user.try_complete(&upload.id)
            .await
            .problem(422, "digest-mismatch");
        user.try_stat("/declared").await.problem(404, "not-found");
        user.cancel(&upload.id).await.status(204);
    }
    let body = json!({ "path": "/declared", "size": content.len(), "digests": right });
    let created: Value = user.create(&body).await.json(201);
    let upload = user.unfinished(created["id"].as_str().unwrap()).await;
    let file = user.finish(&upload, &content).await;
    assert_eq!(
        (file.sha256, file.sha1),
        (right.sha256, right.sha1),
        "known at once"
    );
    assert_eq!(user.usage().await, (content.len() as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_may_be_written_in_capitals() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("capitals", 100);
    let blake3 = digests(&content).blake3.unwrap().to_uppercase();
    let body = json!({ "path": "/c", "size": 100, "digests": { "blake3": blake3 } });
    let created: Value = user.create(&body).await.json(201);
    let upload = user.unfinished(created["id"].as_str().unwrap()).await;
    user.finish(&upload, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_checked_when_the_upload_begins_and_when_it_ends() {
    let (_stack, user) = TestStack::with_user().await;
    let (one, two) = (user.content("one", 1_000), user.content("two", 1_000));
    let first = user.begin("/dir/name.txt", one.len()).await;
    let second = user.begin("/dir/name.txt", two.len()).await;
    user.finish(&first, &one).await;
    user.put_part(&second, 0, &two).await;
    user.try_complete(&second.id)
        .await
        .problem(409, "name-conflict");
    user.try_complete(&second.id)
        .await
        .problem(409, "name-conflict");
    assert_eq!(
        user.unfinished(&second.id).await.received,
        1_000,
        "what was sent is kept"
    );
    let body = json!({ "path": "/dir/name.txt", "size": 5 });
    user.create(&body).await.problem(409, "name-conflict");

    user.rename("/dir/name.txt", "/dir/moved.txt")
        .await
        .status(200);
    user.complete(&second.id).await;
    user.assert_content("/dir/name.txt", &two).await;
    user.assert_content("/dir/moved.txt", &one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflict_rules_of_an_upload() {
    let (_stack, user) = TestStack::with_user().await;
    let contents = ["old", "new", "third"].map(|label| user.content(label, 2_000));
    let old = user.upload("/c/a.tar.gz", &contents[0]).await;
    let begin = async |rule: &str, size: usize| {
        let body = json!({ "path": "/c/a.tar.gz", "size": size, "on_conflict": rule });
        let created: Value = user.create(&body).await.json(201);
        user.unfinished(created["id"].as_str().unwrap()).await
    };
    let upload = begin("replace", 2_000).await;
    user.assert_content("/c/a.tar.gz", &contents[0]).await;
    user.finish(&upload, &contents[1]).await;
    user.assert_content("/c/a.tar.gz", &contents[1]).await;

    let upload = begin("rename", 2_000).await;
    let renamed = user.finish(&upload, &contents[2]).await;
    assert_ne!(renamed.path, old.path);
    assert!(
        renamed.path.starts_with("/c/a") && renamed.path.ends_with(".gz"),
        "{renamed:?}"
    );
    assert!(renamed.path.contains("(1)"), "{renamed:?}");
    user.assert_content(&renamed.path, &contents[2]).await;
    user.assert_content("/c/a.tar.gz", &contents[1]).await;
    user.usage_becomes(4_000, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_cannot_take_the_place_of_folders_or_lie_in_files() {
    let (_stack, user) = TestStack::with_user().await;
    user.mkdirs("/folder/sub").await.status(201);
    user.put("/file", b"content").await;
    for rule in ["fail", "replace", "rename"] {
        let body = json!({ "path": "/folder", "size": 5, "on_conflict": rule });
        user.create(&body).await.problem(409, "is-a-folder");
    }
    let body = json!({ "path": "/file/below", "size": 5, "on_conflict": "replace" });
    user.create(&body).await.problem(409, "not-a-folder");
    assert_eq!(user.usage().await, (7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_file_is_kept() {
    let (_stack, user) = TestStack::with_user().await;
    let body = json!({ "path": "/old", "size": 0, "mtime": "2001-02-03T04:05:06.789+01:00" });
    let created: Value = user.create(&body).await.json(201);
    let file = user.complete(created["id"].as_str().unwrap()).await;
    assert_eq!(file.modified_at, "2001-02-03T03:05:06.789Z");
    let download = user.download("/old").await.status(200);
    assert_eq!(
        download.header("last-modified"),
        "Sat, 03 Feb 2001 03:05:06 GMT"
    );
    assert_same(&download.body, b"");
}
