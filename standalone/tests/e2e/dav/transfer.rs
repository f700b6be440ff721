//! Content in and out.

use futures::stream;
use reqwest::Body;

use crate::support::{Raw, TestStack, assert_same, send};

/// Much more than a request may keep in memory.
const LARGE: usize = 40 << 20;

/// Of known and of unknown length, in pieces; ranges out of it; instead of what was there.
#[tokio::test]
async fn large_content() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("large", LARGE);
    user.dav_put("/large", b"small").await.status(201);
    user.dav_put("/large", &content).await.status(204);
    assert_same(&user.dav_get("/large").await.status(200).body, &content);
    let pieces: Vec<_> = content.chunks(70_001).map(<[u8]>::to_vec).collect();
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let chunked = user.dav("PUT", "/chunked").body(Body::wrap_stream(pieces));
    send(chunked).await.status(201);
    let answer = user.dav_get("/chunked").await.status(200);
    assert_same(&answer.body, &content);
    let etag = answer.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", blake3::hash(&content).to_hex()));
    let range = user
        .dav("GET", "/chunked")
        .header("range", "bytes=1000000-1999999");
    let range = send(range.header("if-range", &etag)).await.status(206);
    assert_same(&range.body, &content[1_000_000..2_000_000]);
    let known = user.dav("GET", "/chunked").header("if-none-match", &etag);
    send(known).await.status(304);
    // The same files as everywhere else.
    user.assert_content("/chunked", &content).await;
}

/// A body that breaks off leaves what was there, and no trace.
#[tokio::test]
async fn a_broken_body_changes_nothing() {
    let (stack, user) = TestStack::with_user().await;
    let old = user.content("old", 10_000);
    user.dav_put("/file", &old).await.status(201);
    for (path, head) in [
        ("/file", "content-length: 20000000"),
        ("/file", "transfer-encoding: chunked"),
        ("/new", "content-length: 20000"),
    ] {
        let mut raw = Raw::connect(&stack.api().base).await;
        let request = format!("PUT /dav{path}");
        raw.head(&user, &request, &[head, "expect: 100-continue"])
            .await;
        // The server reads: what comes now arrives.
        assert_eq!(raw.read_head().await.status, 100, "{head}");
        if head.starts_with("transfer") {
            raw.send(b"1000\r\n").await;
        }
        raw.send(&user.content("new", 4_000)).await;
        raw.reset();
    }
    user.usage_becomes(10_000, 0).await;
    assert_same(&user.dav_get("/file").await.status(200).body, &old);
    user.dav_get("/new").await.status(404);
}
