//! Changes that depend on what is there: `If-Match` and `If-None-Match` (RFC 9110 section 13.1).

use futures::future::join_all;
use reqwest::{Method, RequestBuilder};

use crate::support::{TestStack, User, digests, send};

const FAILED: (u16, &str) = (412, "precondition-failed");

fn tag(content: &[u8]) -> String {
    format!("\"{}\"", digests(content).blake3.unwrap())
}

fn put(user: &User, path: &str, content: &[u8]) -> RequestBuilder {
    user.content_request(Method::PUT, path)
        .body(content.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_only_created_where_nothing_is() {
    let (_stack, user) = TestStack::with_user().await;
    let (first, second) = (user.content("first", 3_000), user.content("second", 3_000));
    let create = |content: &[u8]| put(&user, "/new", content).header("if-none-match", "*");
    send(create(&first)).await.status(201);
    send(create(&second)).await.problem(FAILED.0, FAILED.1);
    user.assert_content("/new", &first).await;
    let other = put(&user, "/new", &second).header("if-none-match", tag(&second));
    send(other).await.status(200);
    user.assert_content("/new", &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_only_replaced_as_it_was_known() {
    let (_stack, user) = TestStack::with_user().await;
    let (old, new) = (user.content("old", 3_000), user.content("new", 9 << 20));
    let replace = |tag: &str| put(&user, "/x", &new).header("if-match", tag);
    for known in ["*", &tag(&old), "nonsense"] {
        send(replace(known)).await.problem(FAILED.0, FAILED.1);
    }
    user.put("/x", &old).await;
    for stale in [tag(&new), format!("W/{}", tag(&old)), "nonsense".into()] {
        send(replace(&stale)).await.problem(FAILED.0, FAILED.1);
    }
    user.assert_content("/x", &old).await;
    send(replace(&format!("\"a\", {}", tag(&old))))
        .await
        .status(200);
    user.assert_content("/x", &new).await;
    user.usage_becomes(new.len() as u64, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_with_one_tag_one_wins() {
    let (_stack, user) = TestStack::with_user().await;
    let old = user.content("old", 2_000);
    user.put("/x", &old).await;
    let contents: Vec<_> = (0..20)
        .map(|i| user.content(&format!("new {i}"), 2_000))
        .collect();
    let writes = contents
        .iter()
        .map(|new| put(&user, "/x", new).header("if-match", tag(&old)));
    let answers = join_all(writes.map(send)).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        1
    );
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 412).count(),
        19
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_and_removing_can_depend_too() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("content", 1_000);
    user.put("/x", &content).await;
    let request =
        |method: Method, path: &str| user.request(method, &format!("/api/v1/files{path}"));
    let rename = |tag: &str| {
        let body = serde_json::json!({"path": "/y"});
        request(Method::PATCH, "/x")
            .header("if-match", tag)
            .json(&body)
    };
    send(rename("\"stale\"")).await.problem(FAILED.0, FAILED.1);
    send(rename(&tag(&content))).await.status(200);
    let remove = |tag: &str| request(Method::DELETE, "/y").header("if-match", tag);
    send(remove("\"stale\"")).await.problem(FAILED.0, FAILED.1);
    user.assert_content("/y", &content).await;
    send(remove(&tag(&content))).await.status(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_digest_fields_are_verified() {
    let (_stack, user) = TestStack::with_user().await;
    let content = user.content("content", 1_000);
    let right = crate::support::sha256_field(&content);
    let wrong = crate::support::sha256_field(b"other");
    let write = |name: &str, value: &str| put(&user, "/d", &content).header(name, value);
    send(write("content-digest", &wrong))
        .await
        .problem(422, "digest-mismatch");
    let both = write("content-digest", &wrong).header("repr-digest", &right);
    send(both).await.problem(400, "malformed-request");
    user.try_stat("/d").await.problem(404, "not-found");
    send(write("content-digest", &right)).await.status(201);
}
