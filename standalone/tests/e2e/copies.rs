//! Copies of files and folders: new entries for the same content.

use cloudstore_proto::http::{Entry, File, Folder};
use serde_json::json;

use crate::support::{Answer, Local, TestStack, User};

async fn copy(user: &User, from: &str, to: &str, on_conflict: &str) -> Answer {
    let body = json!({ "from": from, "to": to, "on_conflict": on_conflict });
    user.post("/api/v1/copies", &body).await
}

/// The path of a copy that has to be made.
async fn copied(user: &User, from: &str, to: &str, on_conflict: &str) -> String {
    match copy(user, from, to, on_conflict).await.json(201) {
        Entry::File(File { path, .. }) | Entry::Folder(Folder { path, .. }) => path,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_an_entry_of_its_own() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("original", 1_500_000);
    let original = user.put("/a/grüße €.txt", &content).await;
    let body = json!({ "from": "/a/grüße €.txt", "to": "/b.txt" });
    let file: File = user.post("/api/v1/copies", &body).await.json(201);
    assert_ne!(file.id, original.id);
    assert_eq!(
        (&*file.path, &file.blake3, &file.modified_at, file.size),
        (
            "/b.txt",
            &original.blake3,
            &original.modified_at,
            original.size
        )
    );
    assert_eq!(user.usage().await, (3_000_000, 0), "copies take room");
    user.remove("/a").await.status(204);
    user.usage_becomes(1_500_000, 0).await;
    user.assert_content("/b.txt", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_copied_with_everything_in_it() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/a/b/c/file", b"file").await;
    user.put("/a/empty", b"").await;
    user.mkdirs("/a/b/nothing").await.status(201);
    user.mkdir("/other").await.status(201);
    assert_eq!(
        copied(&user, "/a", "/other/copy", "fail").await,
        "/other/copy"
    );
    user.put("/a/later", b"later").await;
    assert_eq!(user.names("/other/copy", "").await, ["b", "empty"]);
    assert_eq!(user.names("/other/copy/b", "").await, ["c", "nothing"]);
    user.assert_content("/other/copy/b/c/file", b"file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_to_do_with_what_is_there() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/a/file.txt", b"new").await;
    user.put("/b/file.txt", b"old one").await;
    for to in ["/b/file.txt", "/b"] {
        copy(&user, "/a/file.txt", to, "fail")
            .await
            .problem(409, "name-conflict");
    }
    let renamed = copied(&user, "/a/file.txt", "/b/file.txt", "rename").await;
    assert_eq!(renamed, "/b/file (1).txt");
    assert_eq!(copied(&user, "/a", "/a", "rename").await, "/a (1)");
    copied(&user, "/a/file.txt", "/b/file.txt", "replace").await;
    user.assert_content("/b/file.txt", b"new").await;
    copied(&user, "/a", "/b", "replace").await;
    assert_eq!(user.names("/b", "").await, ["file.txt"]);
    user.usage_becomes(3 * 3, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_make_no_sense() {
    let (stack, user) = TestStack::with_user().await;
    user.put("/a/b/file", b"content").await;
    let stranger = stack.user().await;
    copy(&stranger, "/a/b/file", "/mine", "fail")
        .await
        .problem(404, "not-found");
    for (from, to, on_conflict, status, slug) in [
        ("/a", "/a/b/c", "fail", 422, "invalid-path"),
        ("/a", "/a", "fail", 409, "name-conflict"),
        ("/a", "/a", "replace", 422, "invalid-path"),
        ("/a/b", "/a", "replace", 422, "invalid-path"),
        ("/nothing", "/x", "fail", 404, "not-found"),
        ("/a/b/file", "/nowhere/x", "fail", 404, "not-found"),
        ("/a/b/file", "/a/b/file/x", "fail", 409, "not-a-folder"),
        ("/", "/x", "fail", 422, "invalid-path"),
        ("/a", "/", "replace", 422, "invalid-path"),
        ("/a", "/../x", "fail", 422, "invalid-path"),
        ("/a", "/x", "sometimes", 422, "invalid-fields"),
    ] {
        let refused = copy(&user, from, to, on_conflict).await.any_problem();
        let told = (refused.status, refused.slug());
        assert_eq!(told, (status, slug), "{from} to {to}: {}", refused.detail);
    }
    assert_eq!(user.names("/", "").await, ["a"], "nothing came of it");
    let request = user
        .request(reqwest::Method::POST, "/api/v1/copies")
        .header("if-match", format!("\"{}\"", "0".repeat(64)))
        .json(&json!({ "from": "/a/b/file", "to": "/x" }));
    crate::support::send(request)
        .await
        .problem(412, "precondition-failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_stay_within_the_quota() {
    let local = Local::with(|config| config.account.quota_bytes = 250).await;
    let user = local.user().await;
    user.put("/a/one", &[1; 50]).await;
    user.put("/a/two", &[2; 50]).await;
    copied(&user, "/a", "/b", "fail").await;
    copy(&user, "/a", "/c", "fail")
        .await
        .problem(413, "quota-exceeded");
    assert_eq!(user.names("/", "").await, ["a", "b"], "all or nothing");
    assert_eq!(user.usage().await, (200, 0));
}
