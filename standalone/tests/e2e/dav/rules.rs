//! The rules that can be told in one line each.

use reqwest::Method;

use super::{Row, play, row};
use crate::support::{Raw, TestStack, send};

const PROPPATCH_LIVE: &str = "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop>\
    <D:getetag>\"mine\"</D:getetag></D:prop></D:set></D:propertyupdate>";

/// In order: each row finds what those before it have left.
const RULES: &[Row] = &[
    // Folders.
    row("9.3", "MKCOL /a", &[], 201),
    row("9.3.1", "MKCOL /a", &[], 405),
    row("9.3.1", "MKCOL /", &[], 405),
    row("9.3.1", "MKCOL /missing/b", &[], 409),
    row("9.3.1", "MKCOL /b", &[], 415).with("<unknown/>"),
    row("9.3", "MKCOL /a/slash/", &[], 201),
    row("9.3.1", "MKCOL /a/slash", &[], 405),
    // Content.
    row("9.7.1", "PUT /a/file", &[], 201).with("one"),
    row("9.7.1", "PUT /a/file", &[], 204).with("two"),
    row("9.7.1", "PUT /missing/file", &[], 409).with("x"),
    row("9.7.1", "PUT /a/file/below", &[], 409).with("x"),
    row("9.7.2", "PUT /a", &[], 405).with("x"),
    row("9.7.2", "PUT /a/new/", &[], 405).with("x"),
    row("9.3.1", "MKCOL /a/file", &[], 405),
    row("9.3.1", "MKCOL /a/file/below", &[], 409),
    row(
        "RFC 9110 14.5",
        "PUT /a/file",
        &[("Content-Range", "bytes 0-2/6")],
        400,
    )
    .with("one"),
    row(
        "RFC 9110 8.4",
        "PUT /a/file",
        &[("Content-Encoding", "gzip")],
        415,
    )
    .with("one"),
    row(
        "RFC 9110 13.1.2",
        "PUT /a/file",
        &[("If-None-Match", "*")],
        412,
    )
    .with("x"),
    row("RFC 9110 13.1.1", "PUT /a/none", &[("If-Match", "*")], 412).with("x"),
    row(
        "RFC 9110 13.1.1",
        "PUT /a/file",
        &[("If-Match", "\"other\"")],
        412,
    )
    .with("x"),
    row("9.4", "GET /a/file", &[], 200),
    row("9.4", "HEAD /a/file", &[], 200),
    row("9.4", "GET /a", &[], 405),
    row("9.4", "GET /", &[], 405),
    row("9.4", "GET /a/none", &[], 404),
    // Properties.
    row("9.1", "PROPFIND /a", &[("Depth", "0")], 207),
    row("9.1", "PROPFIND /a", &[("Depth", "1")], 207),
    row("9.1.1", "PROPFIND /a", &[("Depth", "infinity")], 403),
    row("9.1", "PROPFIND /a", &[], 403),
    row("10.2", "PROPFIND /a", &[("Depth", "2")], 400),
    row("9.1", "PROPFIND /none", &[("Depth", "0")], 404),
    row("8.2", "PROPFIND /a", &[("Depth", "0")], 400).with("<D:propfind xmlns:D=\"DAV:\">"),
    row("8.2", "PROPFIND /a", &[("Depth", "0")], 400).with("<propfind xmlns=\"other\"/>"),
    row("9.2", "PROPPATCH /none", &[], 404).with(PROPPATCH_LIVE),
    row("9.2.1", "PROPPATCH /a/file", &[], 207).with(PROPPATCH_LIVE),
    row("8.2", "PROPPATCH /a/file", &[], 400).with("no document"),
    row("8.2", "PROPPATCH /a/file", &[], 400),
    // Copies.
    row("9.8", "COPY /a/file", &[("Destination", "/copy")], 201),
    row("9.8.5", "COPY /a/file", &[("Destination", "/copy")], 204),
    row(
        "10.6",
        "COPY /a/file",
        &[("Destination", "/copy"), ("Overwrite", "F")],
        412,
    ),
    row(
        "10.6",
        "COPY /a/file",
        &[("Destination", "/new"), ("Overwrite", "F")],
        201,
    ),
    row(
        "10.6",
        "COPY /a/file",
        &[("Destination", "/new"), ("Overwrite", "maybe")],
        400,
    ),
    row(
        "9.8.5",
        "COPY /a/file",
        &[("Destination", "/missing/x")],
        409,
    ),
    row("9.8.5", "COPY /a/none", &[("Destination", "/x")], 404),
    row("9.8.5", "COPY /a/file", &[("Destination", "/a/file")], 403),
    row("9.8.5", "COPY /a/file", &[("Destination", "/")], 403),
    row("9.8.3", "COPY /a", &[("Destination", "/a/below")], 403),
    row(
        "9.8.3",
        "COPY /a",
        &[("Destination", "/x"), ("Depth", "1")],
        400,
    ),
    row("10.3", "COPY /a", &[], 400),
    row(
        "9.8.3",
        "COPY /a",
        &[("Destination", "/flat"), ("Depth", "0")],
        201,
    ),
    row("9.8.3", "GET /flat/file", &[], 404),
    row(
        "9.8.3",
        "COPY /a",
        &[("Destination", "/deep/"), ("Depth", "infinity")],
        201,
    ),
    row("9.8.3", "GET /deep/file", &[], 200),
    row("9.8.4", "COPY /a/file", &[("Destination", "/flat")], 204),
    row("9.8.4", "GET /flat", &[], 200),
    // Moves.
    row("9.9", "MOVE /copy", &[("Destination", "/moved")], 201),
    row("9.9", "GET /copy", &[], 404),
    row(
        "9.9.4",
        "MOVE /moved",
        &[("Destination", "/new"), ("Overwrite", "F")],
        412,
    ),
    row("9.9.3", "MOVE /moved", &[("Destination", "/new")], 204),
    row("9.9.4", "MOVE /moved", &[("Destination", "/x")], 404),
    row("9.9.4", "MOVE /new", &[("Destination", "/missing/x")], 409),
    row("9.9.4", "MOVE /new", &[("Destination", "/new")], 403),
    row(
        "9.9.4",
        "MOVE /deep",
        &[("Destination", "/deep/below")],
        403,
    ),
    row(
        "9.9.2",
        "MOVE /deep",
        &[("Destination", "/x"), ("Depth", "0")],
        400,
    ),
    row("9.9.4", "MOVE /", &[("Destination", "/x")], 403),
    row(
        "RFC 9110 13.1.1",
        "MOVE /new",
        &[("Destination", "/x"), ("If-Match", "\"o\"")],
        412,
    ),
    row("9.9.2", "MOVE /deep", &[("Destination", "/flat")], 204),
    row("9.9.2", "GET /flat/file", &[], 200),
    // Removal.
    row("9.6.1", "DELETE /flat", &[("Depth", "0")], 400),
    row("9.6.1", "DELETE /flat", &[], 204),
    row("9.6", "DELETE /flat", &[], 404),
    row("9.6", "DELETE /", &[], 403),
    row(
        "RFC 9110 13.1.1",
        "DELETE /new",
        &[("If-Match", "\"other\"")],
        412,
    ),
    // The field If, with nothing locked.
    row("10.4", "DELETE /new", &[("If", "([\"other\"])")], 412),
    row("10.4", "DELETE /new", &[("If", "nonsense")], 400),
    row("10.4.8", "DELETE /new", &[("If", "(<DAV:no-lock>)")], 412),
    row(
        "10.4.4",
        "PUT /new",
        &[("If", "(<urn:x>) (Not <DAV:no-lock>)")],
        204,
    )
    .with("x"),
    row(
        "10.4.2",
        "PUT /new",
        &[("If", "</dav/none> (Not [\"x\"])")],
        204,
    )
    .with("x"),
    row("10.4", "DELETE /new", &[("If", "(Not <DAV:no-lock>)")], 204),
    // Locks: their lines are in locks.rs.
    row("9.10", "LOCK /a/file", &[], 400),
    row("9.11", "UNLOCK /a/file", &[], 400),
    row(
        "9.11.1",
        "UNLOCK /a/file",
        &[("Lock-Token", "<urn:uuid:none>")],
        409,
    ),
    // What WebDAV does not have.
    row("RFC 9110 15.5.6", "POST /a", &[], 405),
    row("RFC 9110 15.5.6", "PATCH /a/file", &[], 405),
    row("RFC 9110 15.5.6", "REPORT /a", &[], 405),
];

#[tokio::test]
async fn rules() {
    let (_stack, user) = TestStack::with_user().await;
    play(&user, RULES).await;
}

/// What can be known of a server before a login, and what cannot.
#[tokio::test]
async fn classes_and_logins() {
    let (stack, user) = TestStack::with_user().await;
    for path in ["/dav", "/dav/", "/dav/any/thing"] {
        let options = send(stack.api().request(Method::OPTIONS, path))
            .await
            .status(200);
        assert_eq!(options.header("dav"), "1, 2");
        for method in ["PROPFIND", "LOCK", "MKCOL", "GET", "PUT"] {
            assert!(options.header("allow").contains(method), "{method}");
        }
    }
    for method in ["PROPFIND", "PUT", "GET", "LOCK", "COPY"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let refused = send(stack.api().request(method.clone(), "/dav/a")).await;
        assert!(
            refused.header("www-authenticate").contains("Bearer"),
            "{method}"
        );
        refused.problem(401, "unauthenticated");
    }
    user.dav_put("/mine", b"x").await.status(201);
    let stranger = stack.user().await;
    stranger.dav_get("/mine").await.status(404);
    assert!(!stranger.propfind("/", "1", "").await.contains("mine"));
}

/// Names that no entry can have are refused as they were sent, in both places.
#[tokio::test]
async fn hostile_names() {
    let (stack, user) = TestStack::with_user().await;
    user.dav_put("/file", b"x").await.status(201);
    let long = format!("/dav/{}", "x".repeat(256));
    let deep = format!("/dav{}", "/d".repeat(2_100));
    for path in [
        "/dav/../file",
        "/dav/a/..%2Ffile",
        "/dav/%2e%2E/file",
        "/dav/a%00b",
        "/dav/a%0D%0Ab",
        "/dav/%FF",
        &long,
        &deep,
    ] {
        for method in ["PUT", "MKCOL", "PROPFIND", "DELETE"] {
            let mut raw = Raw::connect(&stack.api().base).await;
            let request = format!("{method} {path}");
            raw.head(&user, &request, &["content-length: 0", "depth: 0"])
                .await;
            let answer = raw.answer().await;
            assert_eq!(answer.status, 422, "{request}: {}", answer.text());
        }
        let mut raw = Raw::connect(&stack.api().base).await;
        let destination = format!("destination: {path}");
        raw.head(&user, "MOVE /dav/file", &[&destination]).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 422, "{destination}: {}", answer.text());
    }
    user.dav_get("/file").await.status(200);
}

/// A gateway that ends TLS has another scheme, and a name that we may not know.
#[tokio::test]
async fn a_destination_is_its_path() {
    let (_stack, user) = TestStack::with_user().await;
    user.dav_put("/a", b"x").await.status(201);
    for (destination, status) in [
        ("https://files.example/dav/b", 201),
        ("http://localhost:1/dav/c%20d", 201),
        ("/dav/e", 201),
        ("https://files.example/other/f", 400),
        ("https://files.example/", 400),
    ] {
        let copy = user.dav("COPY", "/a").header("destination", destination);
        send(copy).await.status(status);
    }
    for path in ["/b", "/c d", "/e"] {
        user.dav_get(path).await.status(200);
    }
}
