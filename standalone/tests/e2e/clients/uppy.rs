//! Uppy in a browser, on a page of another origin.

use std::fs;

use serde_json::json;
use tempfile::tempdir;

use super::{MIB, node, on_its_way, run};
use crate::support::{Line, Local, TestStack, User};

/// Of the page that uploads. test.sh lets it upload to the stack.
const ORIGIN: &str = "http://uppy.example";

#[tokio::test(flavor = "multi_thread")]
async fn from_a_page() {
    let stack = TestStack::start().await;
    if stack.is_gateway() {
        return uploads(&stack, &stack.user().await).await;
    }
    let local = Local::with(|config| config.upload.upload_origins = vec![ORIGIN.to_owned()]).await;
    uploads(&stack, &local.user().await).await;
}

async fn uploads(stack: &TestStack, user: &User) {
    let dir = tempdir().unwrap();
    let contents = [
        ("a film.bin", 24 * MIB + 17),
        ("文件 ü.txt", 5_000),
        ("empty", 0),
    ];
    let contents = contents.map(|(name, len)| (name, user.content(name, len)));
    for (name, content) in &contents {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let line = Line::to(&user.api.base, 11 * MIB).await;
    let mut client = node("uppy.cjs");
    let files = contents.each_ref().map(|(name, _)| dir.path().join(name));
    let job = json!({
        "origin": ORIGIN,
        "endpoint": format!("{}/files/", line.url),
        "token": user.api_token("upload").await,
        "files": files,
    });
    client.arg(job.to_string());
    let printed = run(client).await;
    for (name, content) in &contents {
        assert!(printed.lines().any(|line| line == *name), "{printed}");
        user.assert_content(&format!("/{name}"), content).await;
    }
    // When the line breaks, the browser repeats the request by itself, from its beginning, which is
    // refused; then Uppy asks where to go on.
    line.assert_resumed(24 * MIB, 24 * MIB + on_its_way(stack));
}
