//! An upload belongs to one instance and its requests arrive at any of them.

use std::{collections::BTreeSet, fs, time::Duration};

use cloudstore_stack_tests::{Stack, Writer, stack::UPLOAD_NODES};
use cloudstore_testkit::{Content, client::send, eventually};
use reqwest::{Client, Method, RequestBuilder, header};
use serde_json::Value;

/// Requests with bytes. That all of so many go to the same of two instances does not happen.
const REQUESTS: usize = 40;
/// Bytes of each but the last.
const STEP: usize = 100_001;
/// The gateway writes its log every second.
const LOGGED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_upload_arrive_at_both_instances() {
    let stack = Stack::up().await;
    let writer = Writer::new(&stack).await;
    let http = Client::builder().no_proxy().build().unwrap();
    let token = writer.client.token();
    let tus = |method: Method, url: &str| -> RequestBuilder {
        let request = http.request(method, url).bearer_auth(token);
        request.header("tus-resumable", "1.0.0")
    };
    let content = Content::new(91, (REQUESTS * STEP - 5) as u64);
    let bytes = content.bytes();
    let begin = tus(Method::POST, &format!("{}/files/", stack.url()));
    let begin = begin.header("upload-length", bytes.len());
    let begun = begin.header("upload-metadata", "filename bWFueQ=="); // many
    let begun = begun.send().await.unwrap();
    assert_eq!(begun.status(), 201);
    let upload = begun.headers()[header::LOCATION].to_str().unwrap();
    for (number, step) in bytes.chunks(STEP).enumerate() {
        let offset = number * STEP;
        // Not each time: the instances take turns, and then one of them would get only these.
        if number % 3 == 0 {
            let head = tus(Method::HEAD, upload).send().await.unwrap();
            assert_eq!(head.headers()["upload-offset"], offset.to_string());
        }
        let append = tus(Method::PATCH, upload).header("upload-offset", offset);
        let append = append.header(header::CONTENT_TYPE, "application/offset+octet-stream");
        let appended = append.body(step.to_vec()).send().await.unwrap();
        assert_eq!(appended.status(), 204, "at {offset}");
    }
    let read = writer.client.read("/many").await;
    assert_eq!(read, Some(*blake3::hash(&bytes).as_bytes()));

    let path = format!("/files/{}", upload.rsplit('/').next().unwrap());
    let nodes = UPLOAD_NODES.map(|node| stack.address(node));
    eventually(LOGGED, async || {
        let upstreams = upstreams(&stack, &path);
        let both = nodes.iter().all(|node| upstreams.contains(node));
        let why = || format!("bytes arrived only at {upstreams:?}");
        both.then_some(()).ok_or_else(why)
    })
    .await;
    let deleted = send(writer.client.delete("/many", true)).await.unwrap();
    assert_eq!(deleted.status, 204);
    writer.finish().await;
}

/// Where the gateway sent the bytes of an upload.
fn upstreams(stack: &Stack, path: &str) -> BTreeSet<String> {
    let log = stack.dir().join("log/gateway-access.log");
    let log = fs::read_to_string(log).unwrap();
    let requests = log.lines().filter(|line| line.contains(path));
    // The last line may be half written.
    let requests = requests.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let requests = requests.filter(|request| request["method"] == "PATCH");
    requests
        .map(|request| request["upstream"].as_str().unwrap().to_owned())
        .collect()
}
