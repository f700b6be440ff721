//! Trees that are copied and moved, and folders with many members.

use std::collections::BTreeSet;

use super::texts;
use crate::support::{Local, TestStack, encode, send};

/// No byte is moved, and each of the two lives by itself.
#[tokio::test]
async fn a_tree_is_copied_and_moved() {
    let (_stack, user) = TestStack::with_user().await;
    let paths = ["/t/a", "/t/b/c", "/t/b/\u{e9} #?%&<d>", "/t/b/e/f"];
    let content = |path: &str| user.content(path, 5_000);
    for folder in ["/t", "/t/b", "/t/b/e", "/t/b/empty"] {
        send(user.dav("MKCOL", folder)).await.status(201);
    }
    for path in paths {
        user.dav_put(path, &content(path)).await.status(201);
    }
    let used = user.usage().await.0;
    user.transplant("COPY", "/t", "/copy").await.status(201);
    assert_eq!(user.usage().await.0, 2 * used, "copies take room");
    user.transplant("MOVE", "/t", "/moved").await.status(201);
    for path in paths {
        for top in ["/copy", "/moved"] {
            let path_there = path.replacen("/t", top, 1);
            let answer = user.dav_get(&path_there).await.status(200);
            crate::support::assert_same(&answer.body, &content(path));
        }
        user.dav_get(path).await.status(404);
    }
    let listing = user.propfind("/moved/b", "1", "").await;
    let found: BTreeSet<_> = texts(&listing, "href")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let expected = ["/", "/c", "/\u{e9} #?%&<d>", "/e/", "/empty/"];
    let expected = expected.map(|name| format!("/dav/moved/b{}", encode(name)));
    assert_eq!(found, BTreeSet::from(expected));

    user.dav_put("/copy/a", b"other").await.status(204);
    let original = user.dav_get("/moved/a").await.status(200);
    crate::support::assert_same(&original.body, &content("/t/a"));
    // In the place of a whole tree, at once.
    user.transplant("MOVE", "/copy", "/moved").await.status(204);
    assert_eq!(&user.dav_get("/moved/a").await.body[..], b"other");
    send(user.dav("DELETE", "/moved")).await.status(204);
    user.delete("/api/v1/trash").await.status(204);
    user.usage_becomes(0, 0).await;
}

/// More members than a page holds, each of them once.
#[tokio::test]
async fn a_large_folder_is_listed() {
    let (_stack, user) = TestStack::with_user().await;
    let create = |n: usize| serde_json::json!({ "op": "create_folder", "path": format!("/d/{n}") });
    user.mkdir("/d").await.status(201);
    let changes: Vec<_> = (0..700).map(create).collect();
    let body = serde_json::json!({ "changes": changes });
    user.post("/api/v1/changes", &body).await.status(200);
    let listing = user.propfind("/d", "1", "").await;
    let names: BTreeSet<_> = texts(&listing, "href").into_iter().collect();
    assert_eq!(names.len(), 701);
    assert_eq!(texts(&listing, "href").len(), 701);
    assert!(listing.ends_with("</D:multistatus>\n"));
}

/// Copies count like everything else.
#[tokio::test]
async fn a_copy_beyond_the_quota() {
    let local = Local::with(|config| config.account.quota_bytes = 10_000).await;
    let user = local.user().await;
    user.dav_put("/a", &user.content("a", 6_000))
        .await
        .status(201);
    let refused = user.transplant("COPY", "/a", "/b").await.status(507);
    assert!(refused.text().contains("<D:quota-not-exceeded/>"));
    let refused = user
        .dav_put("/c", &user.content("c", 6_000))
        .await
        .status(507);
    assert!(refused.text().contains("<D:quota-not-exceeded/>"));
    user.dav_get("/b").await.status(404);
    let answer = user
        .propfind(
            "/",
            "0",
            "<D:propfind xmlns:D=\"DAV:\"><D:prop><D:quota-available-bytes/>\
            <D:quota-used-bytes/></D:prop></D:propfind>",
        )
        .await;
    assert_eq!(texts(&answer, "quota-available-bytes"), ["4000"]);
    assert_eq!(texts(&answer, "quota-used-bytes"), ["6000"]);
}
