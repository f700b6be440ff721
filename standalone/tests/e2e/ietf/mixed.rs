//! The same uploads in other dialects, and uploads to a path.

use cloudstore_proto::http::File;
use reqwest::Method;

use super::{Said, is_complete};
use crate::support::{TestStack, part, send};

#[tokio::test(flavor = "multi_thread")]
async fn begun_here_and_finished_in_chunks() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("x", (9 << 20) + 1);
    // Less than a chunk: the chunk comes whole.
    let path = user
        .ietf_begin(8, Some(content.len()), &content[..777])
        .await;
    let id = path.strip_prefix("/files/").unwrap();
    let upload = user.unfinished(id).await;
    let file = user.finish(&upload, &content).await;
    user.assert_content(&file.path, &content).await;
    let head = user.ietf_head(8, &path).await.status(204);
    assert!(is_complete(8, &head));
}

#[tokio::test(flavor = "multi_thread")]
async fn begun_in_chunks_and_finished_here() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("x", (9 << 20) + 1);
    let upload = user.begin("/x", content.len()).await;
    let first = part(&upload, 0, &content).len();
    user.put_part(&upload, 0, &content).await;
    let path = format!("/files/{}", upload.id);
    for version in [3, 8] {
        let head = user.ietf_head(version, &path).await.status(204);
        assert_eq!(head.header("upload-offset"), first.to_string());
        assert!(!is_complete(version, &head));
    }
    let said = Said::complete(true).at(first);
    let file: File = user
        .ietf_append(8, &path, said, &content[first..])
        .await
        .json(201);
    assert_eq!(file.path, "/x");
    user.assert_content("/x", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_and_from_tus() {
    let (_stack, user) = TestStack::with_user().await;
    let tus = |method: Method, path: &str| {
        let request = user.request(method, path);
        request.header("tus-resumable", "1.0.0")
    };
    let offset_bytes = ("content-type", "application/offset+octet-stream");
    let content = user.content("x", 5_000);
    let path = user
        .ietf_begin(7, Some(content.len()), &content[..1_000])
        .await;
    let head = send(tus(Method::HEAD, &path)).await.status(200);
    assert_eq!(head.header("upload-offset"), "1000");
    // With both, it is tus.
    let request = tus(Method::PATCH, &path).header("upload-complete", "?1");
    let request = request.header("content-type", "application/partial-upload");
    send(request.header("upload-offset", "1000").body("x"))
        .await
        .status(415);
    let rest = tus(Method::PATCH, &path).header(offset_bytes.0, offset_bytes.1);
    let rest = rest
        .header("upload-offset", "1000")
        .body(content[1_000..].to_vec());
    send(rest).await.status(204);
    let head = user.ietf_head(7, &path).await.status(204);
    assert!(is_complete(7, &head));

    let begin = tus(Method::POST, "/files/").header("upload-length", "5000");
    let begun = send(begin).await.status(201);
    let path = user.ietf_location(&begun);
    let said = Said::complete(true).at(0);
    let file: File = user.ietf_append(6, &path, said, &content).await.json(201);
    user.assert_content(&file.path, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_path() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("x", 5_000);
    for (method, status) in [(Method::PUT, 201), (Method::POST, 200)] {
        let target = "/api/v1/content/a/b.txt";
        let begin = user.ietf(8, method, target, Said::complete(false));
        let begun = send(begin.body(content[..2_000].to_vec()))
            .await
            .status(201);
        assert_eq!(begun.header("upload-offset"), "2000");
        let path = user.ietf_location(&begun);
        let said = Said::complete(true).at(2_000);
        let done = user.ietf_append(8, &path, said, &content[2_000..]).await;
        let file: File = done.json(status);
        assert_eq!(file.path, "/a/b.txt");
        user.assert_content("/a/b.txt", &content).await;
    }
    // At once, as a conventional upload; there may be conditions then.
    let request = user.ietf(8, Method::PUT, "/api/v1/content/c", Said::complete(true));
    let created = send(request.header("if-none-match", "*").body("new")).await;
    assert!(is_complete(8, &created.status(201)));
    let request = user.ietf(8, Method::PUT, "/api/v1/content/c", Said::complete(true));
    send(request.header("if-none-match", "*").body("newer"))
        .await
        .problem(412, "precondition-failed");
    let request = user.ietf(8, Method::PUT, "/api/v1/content/c", Said::complete(false));
    send(request.header("if-none-match", "*").body("newer"))
        .await
        .problem(400, "malformed-request");
    // Without an offer there is no POST.
    let request = user.request(Method::POST, "/api/v1/content/c");
    send(request.body("x"))
        .await
        .problem(405, "method-not-allowed");
    user.assert_content("/c", b"new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_come_from_content_disposition() {
    let (_stack, user) = TestStack::with_user().await;
    for (field, name) in [
        ("inline; filename=\"a b.txt\"", "a b.txt"),
        ("inline; filename*=UTF-8''%E2%82%AC.txt", "€.txt"),
        ("inline; filename=\"../../x\"", "x"),
    ] {
        let request = user.ietf(8, Method::POST, "/files/", Said::complete(true));
        let request = request.header("content-disposition", field).body("x");
        let file: File = send(request).await.json(201);
        assert_eq!(file.path, format!("/{name}"), "{field}");
    }
}
