//! Bodies on their way through: never held, and ended on both sides when one side ends.

use std::{net::SocketAddr, time::Duration};

use cloudstore_proto::http::UploadState;
use reqwest::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

use crate::{
    cluster::{CHUNK, Cluster, PATIENCE, content, instance, problem},
    raw::Raw,
};

const A: usize = 0;
const B: usize = 1;

/// A socket that takes nothing for this long is stalled.
const STALLED: Duration = Duration::from_secs(1);

/// An owner whose connections the test has in its hands.
async fn owner() -> (SocketAddr, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if sender.send(stream).await.is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

/// B believes that the uploads of A are at this address.
fn redirect(cluster: &Cluster, address: SocketAddr) {
    let own = cluster.nodes[B].address;
    let list = vec![instance("a", address), instance("b", own)];
    cluster.instances.send_replace(list);
}

async fn accepted(connections: &mut mpsc::Receiver<TcpStream>) -> Raw {
    let stream = timeout(PATIENCE, connections.recv()).await;
    Raw(stream.expect("a connection").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_waits_for_the_owner() {
    const LENGTH: usize = 64 << 20;
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", LENGTH).await;
    let (address, mut connections) = owner().await;
    redirect(&cluster, address);
    let mut client = Raw::connect(cluster.nodes[B].address).await;
    let put = format!("PUT {}/chunks/0 HTTP/1.1", upload.location);
    let bearer = format!("authorization: Bearer {}", cluster.user.token);
    let length = format!("content-length: {LENGTH}");
    client.head(&[&put, &bearer, &length]).await;
    let mut owner = accepted(&mut connections).await;
    let (_, head) = owner.head_of_request().await;
    assert!(head.contains(&length), "{head}");
    assert!(head.contains("cloudstore-forwarded: b"));
    let piece = vec![7; 64 * 1024];
    let mut sent = 0;
    while let Ok(written) = timeout(STALLED, client.0.write(&piece)).await {
        sent += written.unwrap();
        assert!(sent < LENGTH / 2, "somebody holds {sent} bytes");
    }
    // Now the owner reads, and everything comes.
    let reading = tokio::spawn(async move {
        let mut received = 0;
        let mut buffer = vec![0; 1 << 20];
        while received < LENGTH {
            received += owner.0.read(&mut buffer).await.unwrap();
        }
        owner.send(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        (owner, received)
    });
    while sent < LENGTH {
        let piece = &piece[..piece.len().min(LENGTH - sent)];
        sent += client.0.write(piece).await.unwrap();
    }
    assert_eq!(client.answer().await.0, 204);
    assert_eq!(reading.await.unwrap().1, LENGTH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_cut_off_leaves_what_was_kept() {
    let cluster = Cluster::new().await;
    let bytes = content(2 * CHUNK, 1);
    let upload = cluster.create(A, "/file", bytes.len()).await;
    let first = cluster.put(B, &upload, 0, bytes[..CHUNK].to_vec()).await;
    assert_eq!(first.status(), StatusCode::NO_CONTENT);
    for _ in 0..3 {
        let mut client = Raw::connect(cluster.nodes[B].address).await;
        let put = format!("PUT {}/chunks/1 HTTP/1.1", upload.location);
        let bearer = format!("authorization: Bearer {}", cluster.user.token);
        let length = format!("content-length: {CHUNK}");
        client.head(&[&put, &bearer, &length]).await;
        client.send(&bytes[CHUNK..CHUNK + CHUNK / 2]).await;
        drop(client);
    }
    let status = cluster.send(B, Method::GET, &upload.location).await;
    let UploadState::Uploading { upload: seen } = status.json().await.unwrap() else {
        panic!("it is not completed yet");
    };
    assert_eq!(seen.missing, [[1, 1]]);
    // The place is free at once: the owner has noticed.
    let again = cluster.put(B, &upload, 1, bytes[CHUNK..].to_vec());
    // Not only when its time to give way is over, 30 s.
    let again = timeout(Duration::from_secs(20), again).await.unwrap();
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    let complete = format!("{}/complete", upload.location);
    let answer = cluster.send(A, Method::POST, &complete).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_hears_of_a_client_that_went_away() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let (address, mut connections) = owner().await;
    redirect(&cluster, address);
    let bearer = format!("authorization: Bearer {}", cluster.user.token);
    // In the middle of a body, and while the answer is awaited.
    for (request, body) in [("PUT", "content-length: 1000"), ("GET", "x-nothing: 1")] {
        let path = if request == "PUT" { "/chunks/0" } else { "" };
        let line = format!("{request} {}{path} HTTP/1.1", upload.location);
        let mut client = Raw::connect(cluster.nodes[B].address).await;
        client.head(&[&line, &bearer, body]).await;
        if request == "PUT" {
            client.send(b"some").await;
        }
        let mut owner = accepted(&mut connections).await;
        owner.head_of_request().await;
        drop(client);
        let mut rest = Vec::new();
        let rest = owner.0.read_to_end(&mut rest);
        // An error is an end, too.
        let _ = timeout(PATIENCE, rest).await.expect("the end of it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_breaks_off() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let (address, mut connections) = owner().await;
    redirect(&cluster, address);
    // Before an answer.
    let put = cluster.put(B, &upload, 0, content(CHUNK, 2));
    let cut = async {
        let mut owner = accepted(&mut connections).await;
        owner.head_of_request().await;
    };
    let (answer, ()) = tokio::join!(put, cut);
    let (status, slug, retry) = problem(answer).await;
    assert_eq!((status, slug.as_str()), (503, "unavailable"));
    assert!(retry.is_some());
    // In the middle of one: never short and clean.
    let get = cluster.send(B, Method::GET, &upload.location);
    let cut = async {
        let mut owner = accepted(&mut connections).await;
        owner.head_of_request().await;
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        owner.send(half).await;
    };
    let (answer, ()) = tokio::join!(get, cut);
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_the_body_ends() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let (address, mut connections) = owner().await;
    redirect(&cluster, address);
    let mut client = Raw::connect(cluster.nodes[B].address).await;
    let put = format!("PUT {}/chunks/0 HTTP/1.1", upload.location);
    let bearer = format!("authorization: Bearer {}", cluster.user.token);
    client.head(&[&put, &bearer, "content-length: 1000"]).await;
    client.send(b"some").await;
    let mut owner = accepted(&mut connections).await;
    owner.head_of_request().await;
    let refusal =
        b"HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    owner.send(refusal).await;
    let (status, head) = client.answer().await;
    assert_eq!(status, 507, "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_of_a_request_pass_both_ways() {
    let cluster = Cluster::new().await;
    let upload = cluster.create(A, "/file", CHUNK).await;
    let (address, mut connections) = owner().await;
    redirect(&cluster, address);
    let mut client = Raw::connect(cluster.nodes[B].address).await;
    let line = format!("GET {} HTTP/1.1", upload.location);
    let bearer = format!("authorization: Bearer {}", cluster.user.token);
    let traceparent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let private = "connection: x-private\r\nx-private: 1\r\nkeep-alive: timeout=5";
    let position = "cloudstore-position: 0-1-5";
    client
        .head(&[&line, &bearer, traceparent, private, position])
        .await;
    let mut owner = accepted(&mut connections).await;
    let (_, head) = owner.head_of_request().await;
    for passed in [
        &bearer.to_lowercase(),
        traceparent,
        position,
        "x-request-id: ",
        "cloudstore-service-token: ",
        &format!("host: {address}"),
    ] {
        assert!(head.contains(passed), "{passed} is missing in {head}");
    }
    assert!(!head.contains("private") && !head.contains("keep-alive"));
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncloudstore-position: 0-1-9\r\n\
        retry-after: 7\r\nconnection: x-private\r\nx-private: 1\r\n\r\nok";
    owner.send(answer).await;
    let (status, head) = client.answer().await;
    assert_eq!(status, 200);
    assert!(head.contains("cloudstore-position: 0-1-9"), "{head}");
    assert!(head.contains("retry-after: 7") && !head.contains("private"));
}
