//! `Content-Digest` of a request and `Repr-Digest` of the whole (RFC 9530).

use cloudstore_proto::http::File;
use reqwest::Method;

use super::{Said, is_complete};
use crate::support::{TestStack, send, sha256_field};

#[tokio::test(flavor = "multi_thread")]
async fn of_a_request() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("x", 10_000);
    let path = user
        .ietf_begin(8, Some(content.len()), &content[..1_000])
        .await;
    let wrong = sha256_field(b"something else");
    let fields = [("content-digest", wrong.as_str())];
    let said = Said {
        fields: &fields,
        ..Said::complete(true).at(1_000)
    };
    let rest = &content[1_000..];
    let refused = user.ietf_append(8, &path, said, rest).await;
    refused.problem(422, "digest-mismatch");
    let head = user.ietf_head(8, &path).await;
    assert_eq!(head.header("upload-offset"), "1000", "none of it counts");
    let right = sha256_field(rest);
    let fields = [("content-digest", right.as_str())];
    let said = Said {
        fields: &fields,
        ..said
    };
    let file: File = user.ietf_append(8, &path, said, rest).await.json(201);
    user.assert_content(&file.path, &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_whole() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("x", 10_000);
    for (digest, status) in [
        (sha256_field(&content), 201),
        (sha256_field(b"something else"), 422),
    ] {
        let fields = [("repr-digest", digest.as_str())];
        let said = Said {
            fields: &fields,
            ..Said::complete(false)
        };
        let begun = user
            .ietf_create(8, said, &content[..5_000])
            .await
            .status(201);
        let path = user.ietf_location(&begun);
        let rest = Said::complete(true).at(5_000);
        let answer = user.ietf_append(8, &path, rest, &content[5_000..]).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        // All of it was sent, whatever came of it.
        assert!(is_complete(8, &answer));
        let left = if status == 201 { 204 } else { 410 };
        user.ietf_head(8, &path).await.status(left);
    }
    // What the account has need not be sent.
    let digest = sha256_field(&content);
    let fields = [("repr-digest", digest.as_str())];
    let said = Said {
        fields: &fields,
        ..Said::complete(false).of(content.len())
    };
    let request = user.ietf(8, Method::PUT, "/api/v1/content/again", said);
    let instant = send(request).await;
    assert!(is_complete(8, &instant));
    instant.json::<File>(201);
    user.assert_content("/again", &content).await;
}
