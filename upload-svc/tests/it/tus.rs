//! tus through instances that do not own the upload.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::{Method, RequestBuilder, Response};

use crate::{
    cluster::{Cluster, content, problem},
    raw::Raw,
};

const A: usize = 0;
const B: usize = 1;
const MIB: usize = 1 << 20;

fn tus(cluster: &Cluster, node: usize, method: Method, path: &str) -> RequestBuilder {
    let request = cluster.request(node, method, path);
    request.header("tus-resumable", "1.0.0")
}

async fn create(cluster: &Cluster, node: usize, fields: &[(&str, &str)]) -> String {
    let mut request = tus(cluster, node, Method::POST, "/files/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap();
    let path = location.strip_prefix(&cluster.url(node, "")).unwrap();
    path.to_owned()
}

async fn patch(cluster: &Cluster, node: usize, path: &str, at: usize, bytes: &[u8]) -> Response {
    let request = tus(cluster, node, Method::PATCH, path)
        .header("content-type", "application/offset+octet-stream")
        .header("upload-offset", at)
        .body(bytes.to_vec());
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_instance_takes_bytes_and_questions() {
    let cluster = Cluster::new().await;
    let bytes = content(3 * MIB + 5, 31);
    let length = bytes.len().to_string();
    let path = create(&cluster, A, &[("upload-length", &length)]).await;
    let mut at = 0;
    for (node, end) in [(B, 7), (A, MIB), (B, bytes.len())] {
        let answer = patch(&cluster, node, &path, at, &bytes[at..end]).await;
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["tus-resumable"], "1.0.0");
        at = end;
        for node in [A, B] {
            let head = tus(&cluster, node, Method::HEAD, &path)
                .send()
                .await
                .unwrap();
            assert_eq!(head.headers()["upload-offset"], at.to_string());
        }
    }
    for node in [A, B] {
        let whole = cluster.send(node, Method::GET, &path).await;
        assert!(whole.bytes().await.unwrap() == bytes);
    }
    let gone = tus(&cluster, B, Method::DELETE, &path)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 204);
    let gone = cluster.send(A, Method::GET, &path).await;
    assert_eq!(problem(gone).await.1, "upload-gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_several_nodes_become_one_file() {
    let cluster = Cluster::new().await;
    let bytes = content(4 * MIB + 99, 32);
    let cut = MIB + 17;
    let mut parts = Vec::new();
    for (node, bytes) in [(A, &bytes[..cut]), (B, &bytes[cut..])] {
        let length = bytes.len().to_string();
        let fields = [("upload-concat", "partial"), ("upload-length", &*length)];
        let path = create(&cluster, node, &fields).await;
        assert_eq!(patch(&cluster, A, &path, 0, bytes).await.status(), 204);
        parts.push(path);
    }
    let concat = format!("final;{} {} {}", parts[0], parts[1], parts[1]);
    let expected = [&bytes[..], &bytes[cut..]].concat();
    for node in [A, B] {
        let path = create(&cluster, node, &[("upload-concat", &concat)]).await;
        let whole = cluster.send(A, Method::GET, &path).await;
        assert!(whole.bytes().await.unwrap() == expected);
    }
}

/// A checksum behind the bytes goes all the way; without it nothing would count.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_reach_the_owner() {
    let cluster = Cluster::new().await;
    let path = create(&cluster, A, &[("upload-length", "10")]).await;
    let right = BASE64.encode(blake3::hash(b"0123456789").as_bytes());
    let wrong = BASE64.encode(blake3::hash(b"other").as_bytes());
    for (checksum, status) in [(wrong, 460), (right, 204)] {
        let mut raw = Raw::connect(cluster.nodes[B].address).await;
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             tus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\n\
             upload-offset: 0\r\ntransfer-encoding: chunked\r\ntrailer: upload-checksum\r\n\r\n\
             a\r\n0123456789\r\n0\r\nupload-checksum: blake3 {checksum}\r\n\r\n",
            cluster.user.token
        );
        raw.send(head.as_bytes()).await;
        assert_eq!(raw.answer().await.0, status);
    }
}
