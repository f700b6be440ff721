//! The drop box: strangers send files to an account, and get no further.

use reqwest::{Method, RequestBuilder};

use super::{BYTES, metadata};
use crate::support::{Local, User, send};

/// A server whose drop box is the account of the user.
async fn with_drop_box() -> (Local, User) {
    let mut local = Local::start().await;
    let owner = local.user().await;
    let account = owner.name.clone();
    local
        .reconfigure(|config| config.upload.drop_box_account = Some(account))
        .await;
    (local, owner)
}

/// A request of somebody without credentials.
fn stranger(local: &Local, method: Method, path: &str) -> RequestBuilder {
    let request = local.api().request(method, path);
    request.header("tus-resumable", "1.0.0")
}

/// Creates an upload; its path.
async fn begin(local: &Local, name: &str, len: usize) -> String {
    let request = stranger(local, Method::POST, "/files/")
        .header("upload-length", len.to_string())
        .header("upload-metadata", metadata(&[("filename", name)]));
    let answer = send(request).await.status(201);
    let location = answer.header("location").to_owned();
    location.strip_prefix(&local.api().base).unwrap().to_owned()
}

fn bytes(local: &Local, path: &str, at: usize, content: &[u8]) -> RequestBuilder {
    stranger(local, Method::PATCH, path)
        .header("content-type", BYTES)
        .header("upload-offset", at.to_string())
        .body(content.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_send_and_resume_and_never_replace() {
    let (local, owner) = with_drop_box().await;
    let contents = [
        owner.content("first", 3_000_000),
        owner.content("second", 9),
    ];
    for content in &contents {
        let path = begin(&local, "gift", content.len()).await;
        let half = content.len() / 2;
        send(bytes(&local, &path, 0, &content[..half]))
            .await
            .status(204);
        let head = send(stranger(&local, Method::HEAD, &path))
            .await
            .status(200);
        assert_eq!(head.header("upload-offset"), half.to_string());
        send(bytes(&local, &path, half, &content[half..]))
            .await
            .status(204);
    }
    owner.assert_content("/gift", &contents[0]).await;
    owner.assert_content("/gift (1)", &contents[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_see_and_remove_nothing() {
    let (local, owner) = with_drop_box().await;
    let path = begin(&local, "gift", 1).await;
    send(bytes(&local, &path, 0, b"x")).await.status(204);
    send(stranger(&local, Method::GET, &path)).await.status(401);
    send(stranger(&local, Method::DELETE, &path))
        .await
        .problem(403, "insufficient-scope");
    for private in ["/api/v1/uploads", "/api/v1/files/", "/api/v1/content/gift"] {
        send(stranger(&local, Method::GET, private))
            .await
            .status(401);
    }
    let other = local.user().await;
    send(other.tus(Method::HEAD, &path)).await.status(404);
    let unfinished = begin(&local, "second", 5).await;
    send(stranger(&local, Method::DELETE, &unfinished))
        .await
        .status(204);
    owner.assert_content("/gift", b"x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_drop_box_there_are_no_strangers() {
    let local = Local::start().await;
    let request = stranger(&local, Method::POST, "/files/").header("upload-length", "1");
    send(request).await.problem(401, "unauthenticated");
}
