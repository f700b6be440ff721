//! tus-js-client in Node.

use std::io::Write as _;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{MIB, node, on_its_way, run};
use crate::support::{Line, TestStack};

/// Uploads over a line that breaks in the middle, and demands that the file is there and that the
/// upload went on where it was.
async fn uploads(job: Value) {
    let (stack, user) = TestStack::with_user().await;
    let content = user.content("tus-js", 24 * MIB + 17);
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&content).unwrap();
    let line = Line::to(&stack.api().base, 11 * MIB).await;
    let mut job = job;
    job["endpoint"] = json!(format!("{}/files/", line.url));
    job["token"] = json!(user.api_token("upload").await);
    job["file"] = json!(file.path());
    job["name"] = json!("from node.bin");
    let mut client = node("tus.cjs");
    client.arg(job.to_string());
    let url = run(client).await;
    assert!(url.starts_with(&line.url), "{url}");
    let under_way = job["connections"].as_u64().unwrap_or(1);
    let again = on_its_way(&stack) * usize::try_from(under_way).unwrap();
    line.assert_resumed(content.len(), again);
    let came = user.names("/", "").await;
    assert_eq!(came, ["from node.bin"], "and nothing else");
    user.assert_content("/from node.bin", &content).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain() {
    uploads(json!({ "source": "file", "options": {} })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_requests_of_a_bounded_size() {
    uploads(json!({ "source": "file", "options": { "chunkSize": 5 * MIB } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_parallel() {
    uploads(json!({
        "source": "file",
        "options": { "parallelUploads": 4, "chunkSize": 2 * MIB },
        "connections": 4,
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_during_creation() {
    // A creation that breaks has no URL yet, so the first request must be over before.
    uploads(json!({ "source": "file", "options": { "uploadDataDuringCreation": true, "chunkSize": 4 * MIB } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overridden_method() {
    uploads(json!({ "source": "file", "options": { "overridePatchMethod": true } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn length_known_late() {
    uploads(json!({
        "source": "stream",
        "options": { "uploadLengthDeferred": true, "chunkSize": 2 * MIB },
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ietf_draft_03() {
    uploads(json!({ "source": "buffer", "options": { "protocol": "ietf-draft-03" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ietf_draft_05() {
    uploads(json!({ "source": "buffer", "options": { "protocol": "ietf-draft-05", "chunkSize": 4 * MIB } })).await;
}
