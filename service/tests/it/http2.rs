//! HTTP/2: streams that stall on connections that live, and connections without streams.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
use bytes::Bytes;
use cloudstore_service::listener::Limits;
use http_body_util::StreamBody;
use reqwest::Client;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
    time::timeout,
};
use tokio_stream::StreamExt as _;

use crate::server::Server;

/// Far longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);
/// Flow control window of a client that reads slowly.
const SMALL_WINDOW: u32 = 1024;
/// Size of a frame: far more than the window, so that it gets stuck.
const PIECE: usize = 256 * 1024;
/// Header of every response: the client's address and port, which tell connections apart.
const PEER: &str = "x-peer";

type Peer = ConnectInfo<SocketAddr>;

/// A client with one connection, whose windows do not open while it does not read.
fn client(window: u32) -> Client {
    Client::builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(window)
        .build()
        .unwrap()
}

/// Memory of a response; when all of it is free, the receiver gets an error.
struct Piece {
    bytes: Vec<u8>,
    _held: Arc<oneshot::Sender<()>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// `GET /` has `pieces` frames, the first time; `GET /empty` is empty.
fn app(pieces: usize) -> (Router, oneshot::Receiver<()>) {
    let (held, free) = oneshot::channel();
    let held = Arc::new(Mutex::new(Some(Arc::new(held))));
    let large = get(async move |ConnectInfo(peer): Peer| {
        let held = held.lock().unwrap().take().unwrap();
        let frames = tokio_stream::iter(0..pieces).map(move |_| {
            let piece = Piece {
                bytes: vec![0; PIECE],
                _held: Arc::clone(&held),
            };
            Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_owner(piece)))
        });
        (
            [(PEER, peer.to_string())],
            Body::new(StreamBody::new(frames)),
        )
    });
    let empty = get(async |ConnectInfo(peer): Peer| [(PEER, peer.to_string())]);
    let app = Router::new().route("/", large).route("/empty", empty);
    (app, free)
}

/// Also when the whole response is a single frame that hyper has taken over.
#[tokio::test]
async fn a_stalled_stream_is_reset_and_its_memory_freed() {
    for (window, pieces) in [
        (0, 1),
        (0, usize::MAX),
        (SMALL_WINDOW, 1),
        (SMALL_WINDOW, 2),
        (SMALL_WINDOW, usize::MAX),
    ] {
        let (app, free) = app(pieces);
        let limits = Limits {
            write_stall_timeout: SHORT,
            ..Limits::default()
        };
        let server = Server::start(app, limits).await;
        let client = client(window);
        let start = Instant::now();
        let mut stalled = client.get(server.url("/")).send().await.unwrap();
        let freed = timeout(PATIENCE, free).await.expect("never cut off");
        assert!(freed.is_err(), "nobody sends");
        assert!(start.elapsed() >= SHORT);
        // The connection and its other streams live on.
        let other = client.get(server.url("/empty")).send().await.unwrap();
        assert_eq!(other.headers()[PEER], stalled.headers()[PEER]);
        let mut received = 0;
        let end = loop {
            match stalled.chunk().await {
                Ok(Some(chunk)) => received += chunk.len(),
                end => break end,
            }
        };
        assert!(end.is_err(), "cut off, yet complete");
        assert!(received <= window as usize);
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    const PIECES: usize = 2;
    const SLOW: Duration = SHORT.saturating_mul(10);
    let (app, _free) = app(PIECES);
    let limits = Limits {
        write_stall_timeout: SLOW,
        ..Limits::default()
    };
    let server = Server::start(app, limits).await;
    let mut response = client(SMALL_WINDOW)
        .get(server.url("/"))
        .send()
        .await
        .unwrap();
    let start = Instant::now();
    let mut received = 0;
    let mut pauses = tokio::time::interval(SHORT / 25);
    while let Some(chunk) = response.chunk().await.unwrap() {
        received += chunk.len();
        pauses.tick().await;
    }
    assert_eq!(received, PIECES * PIECE);
    assert!(start.elapsed() > SLOW, "not slow");
}

/// Pings, and their answers, do not keep a connection.
#[tokio::test]
async fn connections_without_a_stream_are_closed() {
    let limits = Limits {
        header_read_timeout: SHORT,
        ..Limits::default()
    };
    let server = Server::start(app(1).0, limits).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let (mut read, mut write) = stream.split();
    let pings = async {
        let mut pauses = tokio::time::interval(SHORT / 10);
        while write
            .write_all(b"\0\0\x08\x06\0\0\0\0\0pingping")
            .await
            .is_ok()
        {
            pauses.tick().await;
        }
        std::future::pending::<()>().await;
    };
    let mut received = Vec::new();
    let start = Instant::now();
    tokio::select! {
        ended = timeout(PATIENCE, read.read_to_end(&mut received)) => {
            let _reset = ended.expect("kept open");
        }
        () = pings => {}
    }
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_running_request_keeps_its_connection() {
    let (go_on, wait) = oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let app = Router::new().route(
        "/",
        get(async move || {
            let wait = wait.lock().unwrap().take().unwrap();
            wait.await.unwrap();
            "done"
        }),
    );
    let limits = Limits {
        header_read_timeout: SHORT,
        ..Limits::default()
    };
    let server = Server::start(app, limits).await;
    let request = tokio::spawn(client(SMALL_WINDOW).get(server.url("/")).send());
    // For as long as it takes the server to close a connection that came later.
    server.raw(b"").await;
    server.raw(b"").await;
    go_on.send(()).unwrap();
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "done");
}
