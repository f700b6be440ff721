//! The trash: what was deleted comes back as it was, or goes for good.

use cloudstore_proto::http::trash::Trash;
use serde_json::json;

use crate::support::{Local, TestStack, User};

async fn only_one(user: &User, path: &str) -> String {
    let trash = user.trash().await;
    assert_eq!(trash.len(), 1, "{trash:?}");
    assert_eq!(trash[0].path, path);
    trash[0].id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_comes_back_with_everything_in_it() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("a", 3_000_000);
    user.put("/docs/deep/a.bin", &content).await;
    user.put("/docs/b", b"b").await;
    let usage = user.usage().await;
    user.bin("/docs").await.status(204);
    user.try_stat("/docs").await.problem(404, "not-found");
    user.download("/docs/deep/a.bin")
        .await
        .problem(404, "not-found");
    user.bin("/docs").await.problem(404, "not-found");

    let trash = user.trash().await;
    assert_eq!(trash.len(), 1, "what was in it is not listed");
    let trashed = &trash[0];
    assert_eq!((&*trashed.path, &*trashed.name), ("/docs", "docs"));
    assert!(trashed.deleted_at < trashed.expires_at);
    user.restore(&trashed.id, &json!({})).await.status(200);
    user.assert_content("/docs/deep/a.bin", &content).await;
    user.assert_content("/docs/b", b"b").await;
    assert_eq!(user.usage().await, usage);
    assert!(user.trash().await.is_empty());
    // Who did not hear the answer asks again.
    user.restore(&trashed.id, &json!({})).await.status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_is_never_replaced() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/in/x.txt", b"old").await;
    user.bin("/in/x.txt").await.status(204);
    user.put("/in/x.txt", b"new").await;
    let id = only_one(&user, "/in/x.txt").await;
    user.restore(&id, &json!({}))
        .await
        .problem(409, "name-conflict");
    let replace = json!({ "on_conflict": "replace" });
    user.restore(&id, &replace)
        .await
        .problem(400, "malformed-request");
    user.restore(&id, &json!({ "path": "/../x" }))
        .await
        .problem(422, "invalid-path");
    let stranger = _stack.user().await;
    stranger
        .restore(&id, &json!({}))
        .await
        .problem(404, "not-found");

    let rename = json!({ "on_conflict": "rename" });
    user.restore(&id, &rename).await.status(200);
    user.assert_content("/in/x.txt", b"new").await;
    user.assert_content("/in/x (1).txt", b"old").await;

    // Its folder is gone for good: it is made again.
    user.bin("/in/x.txt").await.status(204);
    user.remove("/in").await.status(204);
    let id = only_one(&user, "/in/x.txt").await;
    user.restore(&id, &json!({})).await.status(200);
    user.assert_content("/in/x.txt", b"new").await;
    user.bin("/in/x.txt").await.status(204);
    let id = only_one(&user, "/in/x.txt").await;
    let elsewhere = json!({ "path": "/some/where/y" });
    user.restore(&id, &elsewhere).await.status(200);
    user.assert_content("/some/where/y", b"new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emptying_gives_the_room_back() {
    let (_stack, user) = TestStack::with_user().await;
    for name in ["a", "b", "c"] {
        user.put(&format!("/{name}"), &user.content(name, 1_000))
            .await;
        user.bin(&format!("/{name}")).await.status(204);
    }
    let names: Vec<_> = user.trash().await.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["c", "b", "a"], "last deleted first");
    let page = user.get("/api/v1/trash?limit=2").await;
    let page: Trash = page.json(200);
    let cursor = page.next_cursor.unwrap();
    let rest = user
        .get(&format!("/api/v1/trash?limit=2&cursor={cursor}"))
        .await;
    let rest: Trash = rest.json(200);
    assert_eq!((rest.entries.len(), rest.next_cursor), (1, None));
    user.get("/api/v1/trash?limit=0")
        .await
        .problem(400, "malformed-request");
    user.get("/api/v1/trash?cursor=x")
        .await
        .problem(400, "malformed-request");

    assert_eq!(user.usage().await, (3_000, 0), "it keeps its room");
    let one = &user.trash().await[0].id;
    let path = format!("/api/v1/trash/{one}");
    user.delete(&path).await.status(204);
    user.delete(&path).await.problem(404, "not-found");
    user.usage_becomes(2_000, 0).await;
    user.delete("/api/v1/trash").await.status(204);
    user.delete("/api/v1/trash").await.status(204);
    assert!(user.trash().await.is_empty());
    user.usage_becomes(0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_changes_and_webdav_delete_into_the_trash_too() {
    let (_stack, user) = TestStack::with_user().await;
    for name in ["kept", "gone", "dav"] {
        user.put(&format!("/{name}"), name.as_bytes()).await;
    }
    let changes = json!({ "changes": [
        { "op": "delete", "path": "/kept" },
        { "op": "delete", "path": "/gone", "permanent": true },
    ]});
    user.post("/api/v1/changes", &changes).await.status(200);
    user.delete("/dav/dav").await.status(204);
    let names: Vec<_> = user.trash().await.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["dav", "kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_time_ends_and_operators_say_when() {
    let local = Local::with(|config| config.trash.trash_retention = 1).await;
    let user = local.user().await;
    user.put("/x", &user.content("x", 1_000)).await;
    user.bin("/x").await.status(204);
    user.usage_becomes(0, 0).await;
    assert!(user.trash().await.is_empty());

    let local = Local::with(|config| config.trash.trash_retention = 0).await;
    let user = local.user().await;
    user.put("/x", b"x").await;
    user.bin("/x").await.status(204);
    assert!(user.trash().await.is_empty(), "there is none");
    user.usage_becomes(0, 0).await;
}
