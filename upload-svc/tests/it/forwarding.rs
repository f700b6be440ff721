//! Requests at one instance for uploads of another.

use cloudstore_proto::http::UploadState;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    cluster::{CHUNK, Cluster, content, instance, problem},
    raw::Raw,
};

const A: usize = 0;
const B: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn any_instance_takes_any_request() {
    let cluster = Cluster::new().await;
    let bytes = content(3 * CHUNK + 4_321, 1);
    let upload = cluster.create(A, "/file", bytes.len()).await;
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        let through = [A, B][index % 2];
        let answer = cluster.put(through, &upload, index, chunk.to_vec()).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "chunk {index}");
    }
    let status = cluster.send(B, Method::GET, &upload.location).await;
    let UploadState::Uploading { upload: seen } = status.json().await.unwrap() else {
        panic!("it is not completed yet");
    };
    assert_eq!(seen.received, bytes.len() as u64);
    assert!(seen.missing.is_empty());
    let complete = format!("{}/complete", upload.location);
    let answer = cluster.send(B, Method::POST, &complete).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body: Value = answer.json().await.unwrap();
    let root = blake3::hash(&bytes).to_hex();
    assert_eq!(body["file"]["blake3"].as_str(), Some(root.as_str()));
    for node in [A, B] {
        let again = cluster.send(node, Method::POST, &complete).await;
        assert_eq!(again.status(), StatusCode::CREATED);
        let status = cluster.send(node, Method::GET, &upload.location).await;
        let body: Value = status.json().await.unwrap();
        assert_eq!(body["status"], "completed");
    }
    let id = Uuid::parse_str(&upload.id).unwrap();
    assert!(cluster.nodes[A].layout.data(id).exists());
    assert!(!cluster.nodes[B].layout.data(id).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_through_another_instance() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", 2 * CHUNK).await;
    let answer = cluster.put(B, &upload, 1, content(CHUNK, 2)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let answer = cluster.send(B, Method::DELETE, &upload.location).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(cluster.account().await.reserved_bytes, 0);
    let id = Uuid::parse_str(&upload.id).unwrap();
    assert!(!cluster.nodes[A].layout.data(id).exists());
    for node in [A, B] {
        let status = cluster.send(node, Method::GET, &upload.location).await;
        assert_eq!(problem(status).await.1, "upload-gone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_refusals_come_through() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", 2 * CHUNK).await;
    let short = cluster.put(B, &upload, 0, content(CHUNK - 1, 3)).await;
    assert_eq!(problem(short).await.1, "wrong-length");
    let outside = cluster.put(B, &upload, 7, content(CHUNK, 3)).await;
    assert_eq!(problem(outside).await.1, "malformed-request");
    let complete = format!("{}/complete", upload.location);
    let answer = cluster.send(B, Method::POST, &complete).await;
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["missing"], serde_json::json!([[0, 1]]));
    let path = format!("{}/chunks/0", upload.location);
    let wrong = cluster
        .request(B, Method::PUT, &path)
        .header(
            "content-digest",
            "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:",
        )
        .body(content(CHUNK, 3));
    let wrong = wrong.send().await.unwrap();
    assert_eq!(problem(wrong).await.1, "digest-mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_checked_on_both_sides() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let warm = cluster.send(B, Method::GET, &upload.location).await;
    assert_eq!(warm.status(), StatusCode::OK);
    let nobody = cluster.http.get(cluster.url(B, &upload.location));
    let answer = nobody.send().await.unwrap();
    assert_eq!(problem(answer).await.1, "unauthenticated");
    let stranger = cluster.stranger().await;
    let answer = cluster
        .http
        .get(cluster.url(B, &upload.location))
        .bearer_auth(&stranger.token);
    let answer = answer.send().await.unwrap();
    assert_eq!(problem(answer).await.1, "not-found");
    let unknown = format!("/api/v1/uploads/{}", Uuid::now_v7());
    let answer = cluster.send(B, Method::GET, &unknown).await;
    assert_eq!(problem(answer).await.1, "not-found");
    let answer = cluster.send(B, Method::GET, "/api/v1/uploads/x").await;
    assert_eq!(problem(answer).await.1, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_request_stays_the_same() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let request = cluster
        .request(B, Method::GET, &format!("{}/nothing", upload.location))
        .header("x-request-id", "request-1");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "request-1");
    let complete = format!("{}/complete", upload.location);
    let request = cluster
        .request(B, Method::POST, &complete)
        .header("x-request-id", "request-2");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "request-2");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(
        body["request_id"], "request-2",
        "also in what the owner says"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_forwarded_once() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    // B is told that it is itself where A is.
    let address = cluster.nodes[B].address;
    let list = vec![instance("a", address), instance("b", address)];
    cluster.instances.send_replace(list);
    let answer = cluster.send(B, Method::GET, &upload.location).await;
    let (status, slug, retry) = problem(answer).await;
    assert_eq!((status, slug.as_str()), (503, "unavailable"));
    assert!(retry.is_some());
    let answer = cluster.put(B, &upload, 0, content(CHUNK, 4)).await;
    assert_eq!(problem(answer).await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_this_service_forwards() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let ask = async |node: usize, token: Option<String>| {
        let request = cluster
            .request(node, Method::GET, &upload.location)
            .header("cloudstore-forwarded", "b");
        let request = match token {
            Some(token) => request.header("cloudstore-service-token", token),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    };
    let upload_svc = cluster.identity("upload-svc");
    assert_eq!(ask(A, Some(upload_svc.token("upload-svc"))).await, 200);
    assert_eq!(ask(B, Some(upload_svc.token("upload-svc"))).await, 503);
    for wrong in [
        None,
        Some("x".to_owned()),
        Some(cluster.user.token.clone()),
        Some(upload_svc.token("dbproxy")),
        Some(cluster.identity("transfer-worker").token("upload-svc")),
    ] {
        assert_eq!(ask(A, wrong.clone()).await, 503, "{wrong:?}");
        assert_eq!(ask(B, wrong).await, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_is_asked_by_the_owner() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let bytes = content(CHUNK, 5);
    let bearer = format!("authorization: Bearer {}", cluster.user.token);
    let length = format!("content-length: {CHUNK}");
    let put = |index: usize| format!("PUT {}/chunks/{index} HTTP/1.1", upload.location);
    let mut client = Raw::connect(cluster.nodes[B].address).await;
    let waits = "expect: 100-continue";
    client.head(&[&put(0), &bearer, &length, waits]).await;
    assert_eq!(client.answer().await.0, 100);
    client.send(&bytes).await;
    assert_eq!(client.answer().await.0, 204);
    // What the owner refuses is never sent.
    let mut client = Raw::connect(cluster.nodes[B].address).await;
    client.head(&[&put(9), &bearer, &length, waits]).await;
    let (status, head) = client.answer().await;
    assert_eq!(status, 400, "{head}");
    assert!(head.contains("application/problem+json"));
    let mut client = Raw::connect(cluster.nodes[B].address).await;
    client.head(&[&put(0), &length, waits]).await;
    assert_eq!(client.answer().await.0, 401);
    // And the next ones go through.
    let again = cluster.put(B, &upload, 0, bytes).await;
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_http2() {
    let cluster = Cluster::new().await;
    let bytes = content(CHUNK, 8);
    let upload = cluster.create(A, "/file", bytes.len()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.no_proxy().build().unwrap();
    let path = format!("{}/chunks/0", upload.location);
    let put = client.put(cluster.url(B, &path)).body(bytes);
    let answer = put.bearer_auth(&cluster.user.token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_switch_instant_uploads_off() {
    let cluster = Cluster::new().await;
    let bytes = content(10, 9);
    cluster.completed(A, "/mine", &bytes).await;
    let digest = blake3::hash(&bytes).to_hex();
    let create = async |path: &str| -> Value {
        let body = serde_json::json!({
            "path": path, "size": bytes.len(), "digests": { "blake3": digest.as_str() },
        });
        let request = cluster.request(A, Method::POST, "/api/v1/uploads");
        let answer = request.json(&body).send().await.unwrap();
        answer.json().await.unwrap()
    };
    assert_eq!(create("/1").await["status"], "instant");
    cluster.set("upload.instant", "off");
    assert_eq!(create("/2").await["status"], "uploading");
    cluster.set("upload.instant", "nonsense");
    assert_eq!(create("/3").await["status"], "instant");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_pass() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let pieces = content(CHUNK, 6);
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = pieces
        .chunks(100_000)
        .map(|piece| Ok(piece.to_vec()))
        .collect();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let answer = cluster.put(B, &upload, 0, body).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn possession_is_proven_through_another_instance() {
    let cluster = Cluster::new().await;
    let bytes = content(100_000, 7);
    // On B, so that the owner of the challenge reads it over HTTP.
    cluster.completed(B, "/mine", &bytes).await;
    let stranger = cluster.stranger().await;
    let digest = blake3::hash(&bytes).to_hex();
    let body = serde_json::json!({
        "path": "/file", "size": bytes.len(), "digests": { "blake3": digest.as_str() },
    });
    let request = cluster.http.post(cluster.url(A, "/api/v1/uploads"));
    let request = request.bearer_auth(&stranger.token).json(&body);
    let created: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(created["status"], "challenge");
    let nonce = created["challenge"]["nonce"].as_str().unwrap();
    let nonce: [u8; 32] = hex::decode(nonce).unwrap().try_into().unwrap();
    let mut prover = blake3::Hasher::new_keyed(&nonce);
    for window in created["challenge"]["windows"].as_array().unwrap() {
        let at = |index: usize| usize::try_from(window[index].as_u64().unwrap()).unwrap();
        prover.update(&bytes[at(0)..at(0) + at(1)]);
    }
    let proof = serde_json::json!({ "proof": prover.finalize().to_hex().as_str() });
    let path = format!("{}/proof", created["location"].as_str().unwrap());
    let request = cluster.http.post(cluster.url(B, &path));
    let request = request.bearer_auth(&stranger.token).json(&proof);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
}
