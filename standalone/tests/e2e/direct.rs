//! Uploads in one request: `curl -T`.

use cloudstore_proto::http::{File, Uploads};
use futures::future::join_all;
use reqwest::Method;

use crate::support::{
    Answer, Local, Raw, TestStack, User, digests, eventually, send, sha256_field, streamed,
};

const MIB: usize = 1 << 20;

async fn put(user: &User, path_and_query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let path = format!("/api/v1/content{path_and_query}");
    let mut request = user.request(Method::PUT, &path).body(body.to_vec());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_with_and_without_a_known_length() {
    let (_stack, user) = TestStack::with_user().await;
    for size in [
        0,
        1,
        4_096,
        MIB - 1,
        MIB,
        MIB + 1,
        8 * MIB,
        8 * MIB + 1,
        20 * MIB + 77,
    ] {
        let content = user.content(&format!("known {size}"), size);
        let path = format!("/known/{size}");
        let file = user.put(&path, &content).await;
        assert_eq!((&*file.path, file.size), (&*path, size as u64));
        assert_eq!(Some(file.blake3), digests(&content).blake3);
        user.assert_content(&path, &content).await;

        let content = user.content(&format!("unknown {size}"), size);
        let path = format!("/unknown/{size}");
        let request = user
            .content_request(Method::PUT, &path)
            .body(streamed(&content));
        let file: File = send(request).await.json(201);
        assert_eq!(file.size, size as u64);
        user.assert_content(&path, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn putting_again_replaces() {
    let (_stack, user) = TestStack::with_user().await;
    let (old, new) = (user.content("old", 5_000), user.content("new", 7_000));
    user.try_put("/a/b/c.txt", &old).await.status(201);
    let file: File = user.try_put("/a/b/c.txt", &new).await.json(200);
    assert_eq!(file.size, 7_000);
    user.assert_content("/a/b/c.txt", &new).await;
    assert_eq!(user.names("/a/b", "").await, ["c.txt"]);
    user.usage_becomes(7_000, 0).await;
    let same: File = user.try_put("/a/b/c.txt", &new).await.json(200);
    assert_eq!((same.id, same.blake3), (file.id, file.blake3));
    user.usage_becomes(7_000, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflict_rules() {
    let (_stack, user) = TestStack::with_user().await;
    let (old, new) = (user.content("old", 500), user.content("new", 500));
    put(&user, "/n.txt?on_conflict=fail", &[], &old)
        .await
        .status(201);
    put(&user, "/n.txt?on_conflict=fail", &[], &new)
        .await
        .problem(409, "name-conflict");
    user.assert_content("/n.txt", &old).await;
    let renamed: File = put(&user, "/n.txt?on_conflict=rename", &[], &new)
        .await
        .json(201);
    assert_eq!(renamed.path, "/n (1).txt");
    let again: File = put(
        &user,
        "/n.txt?on_conflict=rename",
        &[],
        &user.content("3", 3),
    )
    .await
    .json(201);
    assert_eq!(again.path, "/n (2).txt");
    user.assert_content("/n.txt", &old).await;
    put(&user, "/n.txt?on_conflict=replace", &[], &new)
        .await
        .status(200);
    user.assert_content("/n.txt", &new).await;
    for query in [
        "on_conflict=maybe",
        "on_conflict=",
        "other=1",
        "on_conflict=fail&on_conflict=fail",
    ] {
        let answer = put(&user, &format!("/n.txt?{query}"), &[], &old).await;
        answer.problem(400, "malformed-request");
    }
    put(&user, "/n.txt?mtime=yesterday", &[], &old)
        .await
        .problem(422, "invalid-fields");
    let dated: File = put(&user, "/dated?mtime=2020-01-01T00:00:00Z", &[], &old)
        .await
        .json(201);
    assert_eq!(dated.modified_at, "2020-01-01T00:00:00.000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_obey_the_same_rules() {
    let (_stack, user) = TestStack::with_user().await;
    let (old, new) = (user.content("old", 9 * MIB), user.content("new", 9 * MIB));
    user.put("/large", &old).await;
    put(&user, "/large?on_conflict=fail", &[], &new)
        .await
        .problem(409, "name-conflict");
    user.assert_content("/large", &old).await;
    let file: File = put(&user, "/large", &[], &new).await.json(200);
    assert_eq!(Some(file.blake3), digests(&new).blake3);
    user.assert_content("/large", &new).await;
    user.usage_becomes(9 * MIB as u64, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_files_do_not_take_each_others_place() {
    let (_stack, user) = TestStack::with_user().await;
    user.mkdirs("/folder/sub").await.status(201);
    user.put("/file", b"content").await;
    user.try_put("/folder", b"x")
        .await
        .problem(409, "is-a-folder");
    user.try_put("/file/below", b"x")
        .await
        .problem(409, "not-a-folder");
    let large = user.content("large", 9 * MIB);
    user.try_put("/folder", &large)
        .await
        .problem(409, "is-a-folder");
    user.try_put("/file/below", &large)
        .await
        .problem(409, "not-a-folder");
    user.usage_becomes(7, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repr_digest_is_verified() {
    let local = Local::start().await;
    let user = local.user().await;
    for size in [3_000, 9 * MIB] {
        let content = user.content(&format!("digest {size}"), size);
        let path = format!("/digest-{size}");
        let wrong = sha256_field(b"something else");
        put(&user, &path, &[("repr-digest", &wrong)], &content)
            .await
            .problem(422, "digest-mismatch");
        put(&user, &path, &[("repr-digest", "sha-256=:?:")], &content)
            .await
            .problem(400, "malformed-request");
        user.try_stat(&path).await.problem(404, "not-found");
        user.usage_becomes(0, 0).await;
        local.nothing_staged().await;
    }
    let content = user.content("right", 3_000);
    let right = sha256_field(&content);
    let file: File = put(&user, "/right", &[("repr-digest", &right)], &content)
        .await
        .json(201);
    assert_eq!(file.sha256, digests(&content).sha256);
    assert_eq!(user.download("/right").await.header("repr-digest"), right);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_and_compressed_bodies_are_refused() {
    let (_stack, user) = TestStack::with_user().await;
    let range = [("content-range", "bytes 0-2/10")];
    put(&user, "/part", &range, b"abc")
        .await
        .problem(400, "malformed-request");
    for encoding in ["gzip", "deflate", "zstd"] {
        put(&user, "/part", &[("content-encoding", encoding)], b"abc")
            .await
            .problem(415, "unsupported-media-type");
    }
    user.try_stat("/part").await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_types_are_told_or_guessed() {
    let (_stack, user) = TestStack::with_user().await;
    let rows = [
        ("/photo.jpeg", None, "image/jpeg"),
        (
            "/told",
            Some("text/plain; charset=utf-8"),
            "text/plain; charset=utf-8",
        ),
        (
            "/curl.png",
            Some("application/x-www-form-urlencoded"),
            "image/png",
        ),
        ("/nothing", None, "application/octet-stream"),
        ("/nonsense.txt", Some("nonsense"), "text/plain"),
    ];
    for (path, told, expected) in rows {
        let headers: Vec<_> = told
            .map(|told| ("content-type", told))
            .into_iter()
            .collect();
        let file: File = put(&user, path, &headers, b"x").await.json(201);
        assert_eq!(file.media_type, expected, "{path}");
        assert_eq!(user.download(path).await.header("content-type"), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_is_asked_for_only_when_it_is_wanted() {
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("continue", 10_000);
    let expect = "expect: 100-continue";
    let mut raw = Raw::connect(&user.api.base).await;
    raw.head(
        &user,
        "PUT /api/v1/content/expected",
        &["content-length: 10000", expect],
    )
    .await;
    assert_eq!(raw.read_head().await.status, 100, "the body is wanted");
    raw.send(&content).await;
    let file: File = raw.answer().await.json(201);
    assert_eq!(file.size, 10_000);
    user.assert_content("/expected", &content).await;

    let quota = user.me().await.quota_bytes;
    let too_much = format!("content-length: {}", quota + 1);
    let refused = [
        ("too much", "/refused", &*too_much, "content-type: a/b", 413),
        (
            "compressed",
            "/refused",
            "content-length: 10",
            "content-encoding: gzip",
            415,
        ),
        (
            "a part",
            "/refused",
            "content-length: 10",
            "content-range: bytes 0-9/20",
            400,
        ),
        (
            "a control character",
            "/a%07",
            "content-length: 10",
            "content-type: a/b",
            422,
        ),
        (
            "below a file",
            "/expected/x",
            "content-length: 9000000",
            "content-type: a/b",
            409,
        ),
    ];
    for (what, path, length, header, status) in refused {
        let mut raw = Raw::connect(&user.api.base).await;
        let request = format!("PUT /api/v1/content{path}");
        raw.head(&user, &request, &[length, header, expect]).await;
        // A gateway asks for the body before it knows; the refusal must not wait for it.
        let head = if stack.is_gateway() {
            raw.read_final_head().await
        } else {
            raw.read_head().await
        };
        let answer = raw.body_of(head).await;
        assert_eq!(
            answer.status, status,
            "{what}: refused before the body, no 100 Continue"
        );
        answer.any_problem();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_leaves_nothing() {
    let local = Local::start().await;
    let user = local.user().await;
    let old = user.content("old", 3 * MIB);
    user.put("/replaced", &old).await;
    user.stored("/replaced").await;
    let before = local.staged();
    let content = user.content("cut", 20 * MIB);
    let known = format!("content-length: {}", content.len());
    let rows = [
        ("/cut", &*known, content.len()),
        ("/cut", "content-length: 5000000", 5_000_000),
        ("/cut", "transfer-encoding: chunked", 20 * MIB),
        ("/replaced", &*known, content.len()),
        ("/replaced", "content-length: 1000000", 1_000_000),
    ];
    for (path, framing, whole) in rows {
        for sent in [0, 10, whole / 2, whole - 1] {
            let mut raw = Raw::connect(&user.api.base).await;
            raw.head(&user, &format!("PUT /api/v1/content{path}"), &[framing])
                .await;
            if framing.starts_with("transfer") {
                raw.send(format!("{whole:x}\r\n").as_bytes()).await;
            }
            raw.send(&content[..sent]).await;
            raw.reset();
        }
        user.usage_becomes(old.len() as u64, 0).await;
        eventually("what was staged of it is gone", async || {
            let rest: Vec<_> = local.staged();
            rest.iter().all(|name| before.contains(name)).then_some(())
        })
        .await;
    }
    user.try_stat("/cut").await.problem(404, "not-found");
    user.assert_content("/replaced", &old).await;
    let uploads: Uploads = user.get("/api/v1/uploads").await.json(200);
    assert!(uploads.uploads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_shorter_than_announced_is_no_file() {
    let (_stack, user) = TestStack::with_user().await;
    let mut raw = Raw::connect(&user.api.base).await;
    raw.head(
        &user,
        "PUT /api/v1/content/short",
        &["content-length: 1000"],
    )
    .await;
    raw.send(&[1; 999]).await;
    raw.finish_sending().await;
    assert!(raw.is_closed().await);
    user.try_stat("/short").await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_puts_to_one_path_leave_one_of_them() {
    let (_stack, user) = TestStack::with_user().await;
    let contents: Vec<_> = (0..8)
        .map(|i| user.content(&format!("{i}"), 100_000 + i))
        .collect();
    let answers = join_all(
        contents
            .iter()
            .map(|content| user.try_put("/same", content)),
    )
    .await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "the others replaced it");
    for answer in answers {
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
    }
    let found = user.download("/same").await.status(200).body;
    let winner = contents
        .iter()
        .find(|content| content.len() == found.len())
        .unwrap();
    user.assert_content("/same", winner).await;
    user.usage_becomes(winner.len() as u64, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_can_be_read_and_listed_as_soon_as_it_is_acknowledged() {
    let (_stack, user) = TestStack::with_user().await;
    let rounds = (0..30).map(|i| {
        let user = user.clone();
        async move {
            let content = user.content(&format!("{i}"), 2_000 + i);
            let path = format!("/own/{i}");
            user.put(&path, &content).await;
            user.assert_content(&path, &content).await;
            assert!(user.names("/own", "").await.contains(&i.to_string()));
            user.remove(&path).await.status(204);
            user.try_stat(&path).await.problem(404, "not-found");
        }
    });
    join_all(rounds).await;
}
