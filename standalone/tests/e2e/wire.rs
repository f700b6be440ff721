//! What is not even a proper HTTP request.

use crate::support::{Raw, TestStack};

/// What is behind the body somebody else may have seen, in the hope that it becomes a request.
const SMUGGLED: &[u8] = b"0\r\n\r\nDELETE /api/v1/files/victim HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_headers_are_cut_short() {
    let (_stack, user) = TestStack::with_user().await;
    let many: Vec<_> = (0..500).map(|i| format!("x-header-{i}: value")).collect();
    let large = [format!("x-large: {}", "v".repeat(200_000))];
    for headers in [&many[..], &large] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let mut raw = Raw::connect(&user.api.base).await;
        raw.head(&user, "GET /api/v1/me", &headers).await;
        let answer = raw.read_head().await;
        assert_eq!(answer.status, 431);
        assert!(raw.is_closed().await);
    }
    user.me().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_two_lengths_are_refused() {
    let (_stack, user) = TestStack::with_user().await;
    let rows: &[&[&str]] = &[
        &["content-length: 5", "content-length: 6"],
        &["content-length: +5"],
        &["content-length: 5, 6"],
        &["content-length: -5"],
        &["transfer-encoding: gzip"],
        &["transfer-encoding: chunked, gzip"],
    ];
    for headers in rows {
        let mut raw = Raw::connect(&user.api.base).await;
        raw.head(&user, "PUT /api/v1/content/smuggled", headers)
            .await;
        let _ = raw.try_send(SMUGGLED).await;
        let answer = raw.answer().await;
        assert!(
            [400, 501].contains(&answer.status),
            "{headers:?}: {}",
            answer.status
        );
        assert!(
            raw.ends().await,
            "{headers:?}: what follows is not a request"
        );
    }
    user.try_stat("/smuggled").await.problem(404, "not-found");
}

/// With two lengths the chunked coding counts (RFC 9112 section 6.3), and nothing behind the body is
/// ever looked at.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_behind_a_chunked_body_becomes_a_request() {
    let (_stack, user) = TestStack::with_user().await;
    user.put("/victim", b"alive").await;
    let authorization = format!("authorization: Bearer {}\r\n\r\n", user.token);
    let mut behind = SMUGGLED[..SMUGGLED.len() - 2].to_vec();
    behind.extend_from_slice(authorization.as_bytes());
    let rows: &[&[&str]] = &[
        &["content-length: 5", "transfer-encoding: chunked"],
        &["transfer-encoding: chunked", "content-length: 5"],
        &["transfer-encoding: chunked"],
    ];
    for headers in rows {
        let mut raw = Raw::connect(&user.api.base).await;
        raw.head(&user, "PUT /api/v1/content/empty", headers).await;
        raw.send(&behind).await;
        let answer = raw.answer().await;
        assert!(
            [200, 201, 400].contains(&answer.status),
            "{}",
            answer.status
        );
        assert_eq!(answer.header("connection"), "close");
        assert!(raw.ends().await);
    }
    user.assert_content("/victim", b"alive").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_instead_of_a_request() {
    let (_stack, user) = TestStack::with_user().await;
    let rows: [&[u8]; 5] = [
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nno colon\r\n\r\n",
    ];
    for garbage in rows {
        let mut raw = Raw::connect(&user.api.base).await;
        let _ = raw.try_send(garbage).await;
        assert!(raw.is_closed().await);
    }
    user.me().await;
}
