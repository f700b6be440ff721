//! Slow, greedy and hostile clients; shutdown.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
use bytes::Bytes;
use cloudstore_service::listener::{ClientAddress, Limits};
use http_body_util::StreamBody;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};
use tokio_stream::StreamExt as _;

use crate::server::{Server, rest};

/// Far longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

fn short_limits() -> Limits {
    Limits {
        header_read_timeout: SHORT,
        write_stall_timeout: SHORT,
        drain_deadline: SHORT,
        ..Limits::default()
    }
}

#[tokio::test]
async fn both_versions_of_http_and_the_peer_address() {
    let app = Router::new().route(
        "/",
        get(async |ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>| peer.ip().to_string()),
    );
    let server = Server::start(app, Limits::default()).await;
    let one = reqwest::get(server.url("/")).await.unwrap();
    assert_eq!(one.version(), reqwest::Version::HTTP_11);
    assert_eq!(one.text().await.unwrap(), "127.0.0.1");
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let two = client.get(server.url("/")).send().await.unwrap();
    assert_eq!(two.version(), reqwest::Version::HTTP_2);
    assert_eq!(two.text().await.unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn slow_heads_are_cut_off() {
    let server = Server::start(hello(), short_limits()).await;
    // Nothing at all, half an HTTP/2 preface, half an HTTP/1 head, and idle after a request.
    let complete = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".as_slice();
    for sent in [
        b"".as_slice(),
        b"PRI * HT",
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        complete,
    ] {
        let start = Instant::now();
        let answer = timeout(PATIENCE, server.raw(sent))
            .await
            .expect("never cut off");
        assert!(start.elapsed() >= SHORT, "{sent:?}");
        assert_eq!(answer.contains("hello"), sent == complete, "{answer}");
    }
}

#[tokio::test]
async fn oversized_heads_are_refused() {
    let server = Server::start(hello(), Limits::default()).await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    assert!(
        server
            .raw(long.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "a: b\r\n".repeat(200)
    );
    assert!(
        server
            .raw(many.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
}

/// RFC 9112 section 6.1: with both lengths, Transfer-Encoding counts and the connection closes, so
/// nothing that follows can be taken for a request.
#[tokio::test]
async fn two_lengths_end_the_connection() {
    let server = Server::start(hello(), Limits::default()).await;
    let smuggle = b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\
        transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = timeout(PATIENCE, server.raw(smuggle))
        .await
        .expect("connection stays open");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    for bad in [
        "content-length: 1\r\ncontent-length: 2",
        "transfer-encoding: identity",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{bad}\r\n\r\n");
        assert!(
            server
                .raw(request.as_bytes())
                .await
                .starts_with("HTTP/1.1 400"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_end_the_connection() {
    let server = Server::start(hello(), Limits::default()).await;
    for bad in [
        "transfer-encoding: gzip, chunked\r\nhost: x\r\n\r\n0\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\nhost: x\r\n\r\n0\r\n",
        "host: x\r\nhost: y\r\n",
        "accept: */*\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\n{bad}\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = timeout(PATIENCE, server.raw(request.as_bytes()))
            .await
            .expect("connection stays open");
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("/problems/malformed-request"), "{answer}");
        assert!(answer.contains("x-request-id"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let old = server.raw(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.contains("hello"), "{old}");
}

#[tokio::test]
async fn one_address_does_not_get_all_connections() {
    let limits = Limits {
        max_connections_per_address: 1,
        ..Limits::default()
    };
    let server = Server::start(hello(), limits).await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = server.connect().await;
    first.write_all(request).await.unwrap();
    let mut answer = [0; 15];
    first.read_exact(&mut answer).await.unwrap();
    let mut second = server.connect().await;
    assert_eq!(timeout(PATIENCE, rest(&mut second)).await.unwrap(), "");
    // The first one goes on, and its end makes room.
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(rest(&mut first).await.matches("hello").count(), 2);
    timeout(PATIENCE, async {
        while !matches!(reqwest::get(server.url("/")).await, Ok(answer) if answer.status() == 200) {
            // The server notices the end of the first connection in its own time.
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("no room again");
}

#[tokio::test]
async fn trusted_proxies_name_the_client_and_have_any_number_of_connections() {
    let whoami = get(async |ClientAddress(client): ClientAddress| client.to_string());
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 192.0.2.1, 198.51.100.7\r\n\r\n";
    for (proxies, expected) in [
        (vec!["127.0.0.0/8".parse().unwrap()], "198.51.100.7"),
        (vec!["10.0.0.0/8".parse().unwrap()], "127.0.0.1"),
    ] {
        let trusted = expected != "127.0.0.1";
        let limits = Limits {
            max_connections_per_address: 1,
            trusted_proxies: proxies,
            header_read_timeout: SHORT * 5,
            ..Limits::default()
        };
        let app = Router::new().route("/", whoami.clone());
        let server = Server::start(app, limits).await;
        let mut first = server.connect().await;
        first.write_all(request).await.unwrap();
        let mut answer = [0; 15];
        first.read_exact(&mut answer).await.unwrap();
        let mut second = server.connect().await;
        // Refused connections break in whichever way.
        let _refused = second.write_all(request).await;
        let answered = timeout(PATIENCE, rest(&mut second)).await.unwrap();
        assert_eq!(answered.ends_with(expected), trusted, "{answered}");
        assert!(rest(&mut first).await.ends_with(expected));
    }
}

#[tokio::test]
async fn connections_beyond_the_cap_wait() {
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let server = Server::start(hello(), limits).await;
    let mut first = server.connect().await;
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 15];
    first.read_exact(&mut answer).await.unwrap();
    let mut second = server.connect().await;
    second
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let waiting = timeout(SHORT, second.read(&mut answer)).await;
    assert!(waiting.is_err(), "served beyond the cap");
    drop(first);
    assert!(
        timeout(PATIENCE, rest(&mut second))
            .await
            .unwrap()
            .contains("hello")
    );
}

#[tokio::test]
async fn a_reader_who_stalls_is_cut_off() {
    let (gone, gone_seen) = oneshot::channel::<()>();
    let gone = Arc::new(Mutex::new(Some(gone)));
    let app = Router::new().route(
        "/",
        get(move || async move {
            // Endless; the sender inside is dropped together with the connection.
            let gone = gone.lock().unwrap().take();
            let chunk = Bytes::from(vec![0; 1 << 20]);
            let endless = tokio_stream::iter(std::iter::repeat(chunk)).map(move |chunk| {
                let _connected = &gone;
                Ok::<_, std::io::Error>(http_body::Frame::data(chunk))
            });
            Body::new(StreamBody::new(endless))
        }),
    );
    let server = Server::start(app, short_limits()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let cut = timeout(PATIENCE, gone_seen)
        .await
        .expect("a stalled reader holds its connection");
    assert!(cut.is_err(), "nobody sends");
}

#[tokio::test]
async fn shutdown_lets_running_requests_end() {
    let entered = Arc::new(Notify::new());
    let (go_on, wait) = oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let app = {
        let entered = Arc::clone(&entered);
        Router::new().route(
            "/",
            get(move || async move {
                entered.notify_one();
                let wait = wait.lock().unwrap().take().unwrap();
                wait.await.unwrap();
                "done"
            }),
        )
    };
    let server = Server::start(app, Limits::default()).await;
    let url = server.url("/");
    let idle = server.connect().await;
    let request = tokio::spawn(async move { reqwest::get(url).await.unwrap().text().await });
    entered.notified().await;
    let stopping = tokio::spawn(server.stop());
    go_on.send(()).unwrap();
    assert_eq!(request.await.unwrap().unwrap(), "done");
    timeout(PATIENCE, stopping)
        .await
        .expect("the drain does not end")
        .unwrap();
    drop(idle);
}

#[tokio::test]
async fn the_drain_has_a_deadline() {
    let (entered, mut inside) = mpsc::channel(1);
    let app = Router::new().route(
        "/",
        get(move || async move {
            entered.send(()).await.unwrap();
            std::future::pending::<()>().await;
        }),
    );
    let server = Server::start(app, short_limits()).await;
    let url = server.url("/");
    let request = tokio::spawn(reqwest::get(url));
    inside.recv().await.unwrap();
    timeout(PATIENCE, server.stop())
        .await
        .expect("a stuck request holds the shutdown");
    assert!(request.await.unwrap().is_err());
}
