//! Names of every kind, and paths that are none.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{Raw, TestStack, User};

#[tokio::test(flavor = "multi_thread")]
async fn names_of_every_kind_survive() {
    let (_stack, user) = TestStack::with_user().await;
    let kinds = [
        "with space",
        " leading and trailing ",
        "ünïcödé",
        "名前",
        "🌻🦀",
        "עברית",
        "a%20b",
        "%2F",
        "100%",
        "q?a=b&c#d",
        "semi;colon",
        "back\\slash",
        "quote\"d",
        "apostrophe's",
        "-rf",
        "~",
        "..hidden",
        "...",
        ".profile",
        "a..b",
        "con",
        "NUL",
        "*",
        "<script>",
        "$(id)",
        "{x}",
        "[y]",
        "plus+plus",
        "a:b",
        "\u{200f}rtl",
        "\u{feff}bom",
    ];
    let long = "n".repeat(255);
    let wide = "ß".repeat(127);
    let all: BTreeSet<&str> = kinds.into_iter().chain([&*long, &*wide]).collect();
    for name in &all {
        let path = format!("/names/{name}");
        let file = user.put(&path, name.as_bytes()).await;
        assert_eq!(file.path, path);
        user.assert_content(&path, name.as_bytes()).await;
    }
    let listed: BTreeSet<String> = user.names("/names", "").await.into_iter().collect();
    assert_eq!(
        listed.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        all
    );
    for name in &all {
        let (from, to) = (format!("/names/{name}"), format!("/names/{name}/x"));
        user.rename(&from, &to).await.problem(409, "not-a-folder");
        user.remove(&from).await.status(204);
    }
    assert!(user.names("/names", "").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_the_same_in_every_unicode_form() {
    let (_stack, user) = TestStack::with_user().await;
    let (composed, decomposed) = ("/caf\u{e9}", "/cafe\u{301}");
    let file = user.put(decomposed, b"coffee").await;
    assert_eq!(file.path, composed);
    user.assert_content(composed, b"coffee").await;
    user.assert_content(decomposed, b"coffee").await;
    assert_eq!(user.names("/", "").await, ["caf\u{e9}"]);
    user.try_put(composed, b"tea").await.status(200);
    user.mkdir(decomposed).await.problem(409, "name-conflict");
    user.put("/cafe", b"another name").await;
    user.put("/CAF\u{c9}", b"case matters").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_have_one_form() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/a/b", b"x").await;
    for spelling in ["/a//b", "//a/b", "/a/b/", "/a///b//"] {
        user.assert_content(spelling, b"x").await;
        assert_eq!(user.stat(spelling).await.path, "/a/b");
    }
    let body = json!({ "path": "a/c", "size": 0 });
    let created: serde_json::Value = user.create(&body).await.json(201);
    assert_eq!(created["path"], "/a/c");
}

async fn refuses_path(user: &User, path: &str) {
    user.mkdir(path).await.problem(422, "invalid-path");
    user.create(&json!({ "path": path, "size": 1 }))
        .await
        .problem(422, "invalid-path");
    user.rename("/existing", path)
        .await
        .problem(422, "invalid-path");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_nobody_could_use_are_refused() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/existing", b"x").await;
    let long_name = format!("/{}", "n".repeat(256));
    let wide_name = format!("/{}", "ß".repeat(128));
    let long_path = format!("/{}", "d/".repeat(2_048));
    let deep = "/d".repeat(100);
    let rows = [
        "/a/../b",
        "..",
        "/..",
        "/a/..",
        "/.",
        "/a/./b",
        "/nul\0",
        "/new\nline",
        "/tab\t",
        "/\u{7f}",
        "/\u{85}",
        "/\u{1b}[31m",
        &long_name,
        &wide_name,
        &long_path,
        &deep,
        "",
        "/",
        "///",
    ];
    for path in rows {
        refuses_path(&user, path).await;
    }
    for path in ["/nul\0", "/new\nline", &long_name, &deep] {
        user.try_put(path, b"x").await.problem(422, "invalid-path");
        let large = vec![1; 9 << 20];
        user.try_put(path, &large)
            .await
            .problem(422, "invalid-path");
    }
    for path in ["/nul\0", "/new\nline", &long_name] {
        user.try_stat(path).await.problem(422, "invalid-path");
        user.download(path).await.problem(422, "invalid-path");
        user.remove(path).await.problem(422, "invalid-path");
    }
    assert_eq!(user.names("/", "").await, ["existing"]);
    assert_eq!(user.usage().await, (1, 0));
}

/// URL libraries resolve these before they send them; attackers do not use one.
#[tokio::test(flavor = "multi_thread")]
async fn dots_and_broken_escapes_in_the_address_are_refused() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/file", b"x").await;
    for (path, status) in [
        ("/..", 422),
        ("/../file", 422),
        ("/a/../file", 422),
        ("/%2e%2e/file", 422),
        ("/%2E./file", 422),
        ("/./file", 422),
        ("/a%2F..%2Ffile", 422),
        ("/%00", 422),
        ("/x%0d%0aset-cookie:%20a=b", 422),
        ("/%ff%fe", 422),
        ("/..%2f..%2f..%2fetc%2fpasswd", 422),
        ("/%c0%ae%c0%ae/", 422),
    ] {
        for route in [
            "GET /api/v1/content",
            "GET /api/v1/files",
            "DELETE /api/v1/files",
        ] {
            let mut raw = Raw::connect(&user.api.base).await;
            raw.head(&user, &format!("{route}{path}"), &[]).await;
            let answer = raw.answer().await;
            assert_eq!(answer.status, status, "{route}{path}: {}", answer.text());
            answer.problem(422, "invalid-path");
        }
        let mut raw = Raw::connect(&user.api.base).await;
        raw.head(
            &user,
            &format!("PUT /api/v1/content{path}"),
            &["content-length: 1"],
        )
        .await;
        raw.send(b"x").await;
        raw.answer().await.problem(422, "invalid-path");
    }
    user.assert_content("/file", b"x").await;
    assert_eq!(user.names("/", "").await, ["file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_entries_have_a_depth_limit_and_moved_ones_stay_reachable() {
    let (_stack, user) = TestStack::with_user().await;
    let deepest = "/d".repeat(63);
    user.mkdirs(&deepest).await.status(201);
    user.put(&format!("{deepest}/file"), b"deep").await;
    user.mkdir(&format!("{deepest}/e")).await.status(201);
    user.mkdir(&format!("{deepest}/e/f"))
        .await
        .problem(422, "invalid-path");
    user.try_put(&format!("{deepest}/e/f"), b"x")
        .await
        .problem(422, "invalid-path");
    user.mkdirs(&"/d".repeat(100))
        .await
        .problem(422, "invalid-path");

    let other = "/o".repeat(37);
    user.mkdirs(&other).await.status(201);
    user.rename("/d", &format!("{other}/d")).await.status(200);
    let moved = format!("{other}{deepest}");
    user.assert_content(&format!("{moved}/file"), b"deep").await;
    assert_eq!(user.names(&moved, "").await, ["e", "file"]);
    user.try_put(&format!("{moved}/file2"), b"x")
        .await
        .problem(422, "invalid-path");
    user.rename(&format!("{moved}/file"), "/up")
        .await
        .status(200);
    user.assert_content("/up", b"deep").await;
    user.remove("/o").await.status(204);
    user.usage_becomes(4, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_slashes_separate_names_like_plain_ones() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/a/b", b"x").await;
    user.get("/api/v1/content/a%2Fb").await.status(200);
}
