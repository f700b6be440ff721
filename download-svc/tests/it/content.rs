//! `GET` and `HEAD /api/v1/content/{path}`.

use axum::{
    body::Body,
    http::{Method, Request},
};
use cloudstore_backends::blob::{BlobStore as _, Key};
use cloudstore_content::GROUP_BYTES;
use cloudstore_service::listener::{self, Limits};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    app::{self, App},
    store::content,
};

const FILE: &str = "/api/v1/content/file";

#[tokio::test]
async fn whole_content_and_its_headers() {
    let app = App::new().await;
    let content = content(3_000_000, 1);
    let blob = app.put("/file", "text/html", &content).await;
    let tag = format!("\"{}\"", hex::encode(blob.root));
    let get = app.get(FILE, &[]).await;
    assert_eq!(get.status, 200);
    assert!(get.body == content);
    let expected = [
        ("content-length", "3000000"),
        ("content-type", "text/html"),
        ("content-disposition", "attachment; filename=\"file\""),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("cache-control", "private, no-cache"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("etag", &tag),
        ("repr-digest", ""),
    ];
    let head = app
        .send(Method::HEAD, FILE, &[("range", "bytes=0-9")])
        .await;
    assert_eq!(
        (head.status.as_u16(), head.body.len()),
        (200, 0),
        "ranges are for GET only"
    );
    for (name, value) in expected {
        assert_eq!(get.header(name), value, "{name}");
        assert_eq!(head.header(name), value, "{name} of HEAD");
    }
}

#[tokio::test]
async fn one_range() {
    let app = App::new().await;
    let content = content(3_000_000, 1);
    app.put("/file", "", &content).await;
    let rows = [
        ("bytes=0-0", 0..1, "bytes 0-0/3000000"),
        (
            "bytes=1048570-1048585",
            1_048_570..1_048_586,
            "bytes 1048570-1048585/3000000",
        ),
        (
            "bytes=2999990-",
            2_999_990..3_000_000,
            "bytes 2999990-2999999/3000000",
        ),
        (
            "bytes=-10",
            2_999_990..3_000_000,
            "bytes 2999990-2999999/3000000",
        ),
        ("bytes=0-", 0..3_000_000, "bytes 0-2999999/3000000"),
    ];
    for (range, expected, content_range) in rows {
        let part = app.get(FILE, &[("range", range)]).await;
        assert_eq!(part.status, 206, "{range}");
        assert!(part.body == content[expected.clone()], "{range}");
        assert_eq!(part.header("content-range"), content_range);
        assert_eq!(part.header("content-length"), expected.len().to_string());
        assert_eq!(part.header("content-type"), "application/octet-stream");
    }
    for ignored in ["bytes=9-0", "bytes=x", "lines=1-2"] {
        let whole = app.get(FILE, &[("range", ignored)]).await;
        assert_eq!(
            (whole.status.as_u16(), whole.body.len()),
            (200, 3_000_000),
            "{ignored}"
        );
    }
    let beyond = app.get(FILE, &[("range", "bytes=3000000-")]).await;
    assert_eq!(beyond.problem(), (416, "range-not-satisfiable".to_owned()));
    assert_eq!(beyond.header("content-range"), "bytes */3000000");
}

#[tokio::test]
async fn several_ranges() {
    let app = App::new().await;
    let content = content(3_000_000, 1);
    app.put("/file", "text/plain", &content).await;
    let ranges = [2_000_000..2_000_010, 5..6, 1_000_000..2_500_000 - 1_000_000];
    let field = ranges
        .iter()
        .map(|range| format!("{}-{}", range.start, range.end - 1));
    let field = format!("bytes={}", field.collect::<Vec<_>>().join(", "));
    let parts = app.get(FILE, &[("range", &field)]).await;
    assert_eq!(parts.status, 206);
    assert_eq!(parts.header("content-length"), parts.body.len().to_string());
    let boundary = parts
        .header("content-type")
        .strip_prefix("multipart/byteranges; boundary=");
    let boundary = boundary.unwrap();
    let mut expected = Vec::new();
    for (index, range) in ranges.into_iter().enumerate() {
        let before = if index == 0 { "" } else { "\r\n" };
        let head = format!(
            "{before}--{boundary}\r\nContent-Type: text/plain\r\n\
             Content-Range: bytes {}-{}/3000000\r\n\r\n",
            range.start,
            range.end - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&content[range]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(parts.body == expected);
    // Those that overlap are one.
    let one = app.get(FILE, &[("range", "bytes=0-99,50-149")]).await;
    assert_eq!(one.header("content-range"), "bytes 0-149/3000000");
}

#[tokio::test]
async fn conditions() {
    let app = App::new().await;
    let blob = app.put("/file", "text/plain", b"content").await;
    let tag = format!("\"{}\"", hex::encode(blob.root));
    let same = app.get(FILE, &[("if-none-match", &tag)]).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
    assert_eq!(same.header("etag"), tag);
    assert_eq!(same.header("content-type"), "");
    let head = app
        .send(Method::HEAD, FILE, &[("if-none-match", &tag)])
        .await;
    assert_eq!(head.status, 304);
    let other = app.get(FILE, &[("if-match", "\"x\"")]).await;
    assert_eq!(other.problem(), (412, "precondition-failed".to_owned()));
    assert_eq!(other.header("etag"), tag);
    let part = app
        .get(FILE, &[("range", "bytes=0-2"), ("if-range", &tag)])
        .await;
    assert_eq!((part.status.as_u16(), &*part.body), (206, &b"con"[..]));
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let part = app
        .get(FILE, &[("range", "bytes=0-2"), ("if-range", date)])
        .await;
    assert_eq!((part.status.as_u16(), &*part.body), (206, &b"con"[..]));
    let whole = app
        .get(FILE, &[("range", "bytes=0-2"), ("if-range", "\"x\"")])
        .await;
    assert_eq!(
        (whole.status.as_u16(), &*whole.body),
        (200, &b"content"[..])
    );
}

#[tokio::test]
async fn an_empty_file() {
    let app = App::new().await;
    app.put("/file", "text/plain", b"").await;
    for headers in [&[][..], &[("range", "bytes=-5")]] {
        let empty = app.get(FILE, headers).await;
        assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0));
        assert_eq!(empty.header("content-length"), "0");
    }
    let beyond = app.get(FILE, &[("range", "bytes=0-")]).await;
    assert_eq!(beyond.problem().0, 416);
    assert_eq!(beyond.header("content-range"), "bytes */0");
}

#[tokio::test]
async fn names_and_presentation() {
    let app = App::new().await;
    app.put("/Fotos/größe \"1\".png", "image/png", b"x").await;
    app.put("/page", "text/html", b"x").await;
    let uri = "/api/v1/content/Fotos/gr%C3%B6%C3%9Fe%20%221%22.png";
    let shown = app.get(&format!("{uri}?disposition=inline"), &[]).await;
    assert_eq!(
        shown.header("content-disposition"),
        "inline; filename=\"gr__e _1_.png\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%221%22.png"
    );
    let page = app
        .get("/api/v1/content/page?disposition=inline", &[])
        .await;
    assert_eq!(
        page.header("content-disposition"),
        "attachment; filename=\"page\""
    );
    let wrong = app.get(&format!("{uri}?disposition=other"), &[]).await;
    assert_eq!(wrong.problem(), (400, "malformed-request".to_owned()));
}

#[tokio::test]
async fn who_may_read_what() {
    let app = App::new().await;
    app.put("/folder/file", "text/plain", b"x").await;
    let folder = app.get("/api/v1/content/folder", &[]).await;
    assert_eq!(folder.problem(), (409, "is-a-folder".to_owned()));
    let missing = app.get("/api/v1/content/missing", &[]).await;
    assert_eq!(missing.problem(), (404, "not-found".to_owned()));
    let uri = "/api/v1/content/folder/file";
    let bearer = format!("Bearer {}", app.stranger().await);
    let stranger = Request::get(uri)
        .header("authorization", bearer)
        .body(Body::empty());
    assert_eq!(
        app.request(stranger.unwrap()).await.problem(),
        (404, "not-found".to_owned())
    );
    let nobody = Request::get(uri).body(Body::empty()).unwrap();
    assert_eq!(
        app.request(nobody).await.problem(),
        (401, "unauthenticated".to_owned())
    );
    for odd in ["a/%2E%2E/b", "a%00b", "%FF", &"x".repeat(256)] {
        let odd = app.get(&format!("/api/v1/content/{odd}"), &[]).await;
        assert_eq!(odd.problem(), (422, "invalid-path".to_owned()));
    }
}

#[tokio::test]
async fn stored_content_and_its_digest() {
    let app = App::new().await;
    let content = content(2_500_000, 1);
    let blob = app.put("/file", "text/plain", &content).await;
    app.transfer(&blob, &content).await;
    let stored = app.get(FILE, &[]).await;
    assert!(stored.body == content);
    let digest = stored.header("repr-digest");
    assert!(
        digest.starts_with("sha-256=:") && digest.ends_with("=:"),
        "{digest}"
    );
    let part = app.get(FILE, &[("range", "bytes=5-9")]).await;
    assert_eq!(
        part.header("repr-digest"),
        digest,
        "it is about the whole, also in a part"
    );
}

#[tokio::test]
async fn content_that_moves_while_it_is_looked_up() {
    let app = App::new().await;
    let content = content(2_500_000, 1);
    let blob = app.put("/file", "text/plain", &content).await;
    let (channel, disk, text) = (app.channel.clone(), app.disk.clone(), content.clone());
    let moved = async move { app::transfer(&channel, &disk, &blob, &text).await };
    app.staging.before_open(moved.boxed());
    assert!(app.get(FILE, &[]).await.body == content);
}

#[tokio::test]
async fn content_that_is_replaced_while_it_is_looked_up() {
    let app = App::new().await;
    let blob = app.put("/file", "text/plain", b"old").await;
    let (channel, disk, account) = (app.channel.clone(), app.disk.clone(), app.account);
    let replaced = async move {
        app::put(
            &channel,
            &disk,
            account,
            "/file",
            "text/plain",
            b"new content",
        )
        .await;
        disk.layout.remove(blob.staged.unwrap().1).unwrap();
    };
    app.staging.before_open(replaced.boxed());
    let new = app.get(FILE, &[]).await;
    assert_eq!(
        (&*new.body, new.header("content-length")),
        (&b"new content"[..], "11")
    );
    assert_eq!(
        new.header("etag"),
        format!("\"{}\"", blake3::hash(b"new content").to_hex())
    );
}

#[tokio::test]
async fn lost_content_is_an_internal_error() {
    let app = App::new().await;
    let blob = app.put("/file", "text/plain", b"content").await;
    app.disk.layout.remove(blob.staged.unwrap().1).unwrap();
    assert_eq!(
        app.get(FILE, &[]).await.problem(),
        (500, "internal".to_owned())
    );
}

#[tokio::test]
async fn damage_breaks_the_connection_off() {
    let app = App::new().await;
    let content = content(4 << 20, 1);
    let blob = app.put("/file", "text/plain", &content).await;
    app.transfer(&blob, &content).await;
    app.disk.damage(&blob.root, 2 * GROUP_BYTES + 9);
    let request = app.builder(Method::GET, FILE).body(Body::empty()).unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = listener::serve(
        listener,
        app.router.clone(),
        Limits::default(),
        stop.clone(),
    );
    let serving = tokio::spawn(serving);
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET {FILE} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {}\r\n\r\n",
        app.token
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    // A reset is as good an end as a close: only the announced length counts.
    let _ = connection.read_to_end(&mut received).await;
    let body = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert!(String::from_utf8_lossy(&received[..body]).contains("content-length: 4194304"));
    assert!(
        received.len() - body <= 2 << 20,
        "nothing of the damaged group is sent"
    );
    assert!(received[body..] == content[..received.len() - body]);
    stop.cancel();
    serving.await.unwrap().unwrap();

    // A damaged first group is known before the answer begins.
    app.disk.damage(&blob.root, 9);
    assert_eq!(
        app.get(FILE, &[]).await.problem(),
        (500, "internal".to_owned())
    );
    app.disk.blobs.delete(&Key::blob(&blob.root)).await.unwrap();
}
