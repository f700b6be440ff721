//! Interim responses, as they arrive at clients.

use std::{future::poll_fn, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use bytes::BytesMut;
use cloudstore_service::{Interim, listener::Limits};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Mutex, mpsc},
    time::timeout,
};

use crate::server::{Server, rest};

/// Far longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const UPLOAD_RESUMPTION: u16 = 104;
/// More than the buffers of a socket.
const LARGE: usize = 8 << 20;

fn numbered(number: usize) -> HeaderMap {
    let name = HeaderName::from_static("x-number");
    HeaderMap::from_iter([(name, HeaderValue::from(number))])
}

async fn send(interim: &Interim, number: usize) -> bool {
    let status = StatusCode::from_u16(UPLOAD_RESUMPTION).unwrap();
    interim.send(status, &numbered(number)).await
}

/// `POST /` sends one ahead of the body and one behind it. `GET /large` sends one and then much.
/// `GET /possible` says whether it could send one.
fn app() -> Router {
    let upload = post(async |interim: Interim, request: axum::extract::Request| {
        assert!(!request.headers().contains_key("cloudstore-http2-stream"));
        let before = send(&interim, 1).await;
        let body = axum::body::to_bytes(request.into_body(), LARGE)
            .await
            .unwrap();
        let after = send(&interim, 2).await;
        format!("{before} {after} {}\n", body.len())
    });
    let large = get(async |interim: Interim| {
        send(&interim, 1).await;
        Bytes::from(vec![b'x'; LARGE])
    });
    let possible = get(async |interim: Interim| {
        format!("{} {}\n", interim.is_possible(), send(&interim, 1).await)
    });
    Router::new()
        .route("/", upload)
        .route("/large", large)
        .route("/possible", possible)
}

const FIRST: &str = "HTTP/1.1 104 \r\nx-number: 1\r\n\r\n";
const SECOND: &str = "HTTP/1.1 104 \r\nx-number: 2\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const LAST: &str = "GET /possible HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// An answer without the fields of final heads, which tell nothing here.
fn bare(answer: &str) -> String {
    let mut parts = answer.split("HTTP/1.1 200 OK\r\n");
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_fields, body) = part.split_once("\r\n\r\n").unwrap();
        bare += "200 ";
        bare += body;
    }
    bare
}

#[tokio::test]
async fn http1_has_them_between_messages() {
    let server = Server::start(app(), Limits::default()).await;
    let upload = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody";
    let answered = [FIRST, SECOND, "200 true true 4\n"].concat();
    // Alone, and pipelined; the connection goes on.
    for count in [1, 3] {
        let all = upload.repeat(count) + LAST;
        let answer = timeout(PATIENCE, server.raw(all.as_bytes())).await.unwrap();
        let expected = answered.repeat(count) + FIRST + "200 true true\n";
        assert_eq!(bare(&answer), expected, "{answer}");
    }
}

/// Neither stands for the other.
#[tokio::test]
async fn http1_has_them_beside_100_continue() {
    let server = Server::start(app(), Limits::default()).await;
    let mut stream = server.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = vec![0; FIRST.len() + CONTINUE.len()];
        let read = timeout(PATIENCE, stream.read_exact(&mut told)).await;
        read.expect("the body is not asked for").unwrap();
        assert_eq!(String::from_utf8(told).unwrap(), [FIRST, CONTINUE].concat());
        stream.write_all(b"body").await.unwrap();
        let mut told = vec![0; SECOND.len()];
        stream.read_exact(&mut told).await.unwrap();
        assert_eq!(String::from_utf8(told).unwrap(), SECOND);
        let mut end = Vec::new();
        while !end.ends_with(b"true true 4\n") {
            end.push(stream.read_u8().await.unwrap());
        }
        assert!(end.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

/// The request behind a large response is already there, but its interim response is not sent
/// before all of that response.
#[tokio::test]
async fn http1_waits_for_the_end_of_the_response_before() {
    let server = Server::start(app(), Limits::default()).await;
    let large = "GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = timeout(PATIENCE, server.raw((large.repeat(3) + LAST).as_bytes()))
        .await
        .unwrap();
    let mut left = answer.as_str();
    for _ in 0..3 {
        left = left.strip_prefix(FIRST).expect("an interim response");
        let (head, body) = left.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"));
        assert!(body.as_bytes()[..LARGE].iter().all(|byte| *byte == b'x'));
        left = &body[LARGE..];
    }
    assert!(left.starts_with(FIRST) && left.ends_with("true true\n"));
}

#[tokio::test]
async fn who_does_not_know_them_gets_none() {
    let old = "GET /possible HTTP/1.0\r\n\r\n";
    let proxies = vec!["127.0.0.0/8".parse().unwrap()];
    for (request, trusted_proxies, possible) in [
        (old, vec![], false),
        (LAST, vec![], true),
        // nginx would take it for the final response.
        (LAST, proxies, false),
    ] {
        let limits = Limits {
            trusted_proxies,
            ..Limits::default()
        };
        let server = Server::start(app(), limits).await;
        let answer = server.raw(request.as_bytes()).await;
        assert_eq!(answer.contains(" 104 "), possible, "{answer}");
        let told = format!("{possible} {possible}\n");
        assert!(answer.ends_with(&told), "{answer}");
    }
}

/// Also not among those of the next request.
#[tokio::test]
async fn none_comes_after_the_final_response() {
    let (handles, mut used) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        get(async move |interim: Interim| handles.send(interim).unwrap()),
    );
    let app = app.merge(self::app().route("/x", get(async || "")));
    let server = Server::start(app, Limits::default()).await;
    let mut stream = server.connect().await;
    let first = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(first).await.unwrap();
    let late = used.recv().await.unwrap();
    let late = tokio::spawn(async move { send(&late, 3).await });
    let last = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let _not_allowed = stream.write_all(last).await;
    let answer = timeout(PATIENCE, rest(&mut stream)).await.unwrap();
    assert!(!answer.contains("x-number: 3"), "{answer}");
    assert!(!timeout(PATIENCE, late).await.unwrap().unwrap());
}

/// A client that shows interim responses.
async fn connect(server: &Server) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Posts a body of the length given; returns the numbers of the interim responses, and the body of
/// the final one. `ask` changes the request.
async fn upload(
    client: h2::client::SendRequest<Bytes>,
    path: &str,
    length: usize,
    ask: impl FnOnce(&mut HeaderMap),
) -> (Vec<String>, Bytes) {
    let method = if path == "/" { "POST" } else { "GET" };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://x{path}"))
        .body(())
        .unwrap();
    ask(request.headers_mut());
    let mut client = client.ready().await.unwrap();
    let (mut response, mut body) = client.send_request(request, length == 0).unwrap();
    let mut interim = Vec::new();
    // The body is sent only once the first interim response is here.
    let mut unsent = (length > 0).then(|| Bytes::from(vec![0; length]));
    while let Some(next) = poll_fn(|cx| response.poll_informational(cx)).await {
        let next = next.unwrap();
        assert_eq!(next.status(), UPLOAD_RESUMPTION);
        interim.push(next.headers()["x-number"].to_str().unwrap().to_owned());
        if let Some(data) = unsent.take() {
            body.send_data(data, true).unwrap();
        }
    }
    let mut response = response.await.unwrap().into_body();
    let mut received = BytesMut::new();
    while let Some(data) = response.data().await {
        let data = data.unwrap();
        response
            .flow_control()
            .release_capacity(data.len())
            .unwrap();
        received.extend_from_slice(&data);
    }
    (interim, received.freeze())
}

#[tokio::test]
async fn http2_has_them_on_the_stream_of_their_request() {
    let server = Server::start(app(), Limits::default()).await;
    let client = connect(&server).await;
    // From now on it knows how many streams the server takes at once.
    upload(client.clone(), "/possible", 0, |_| {}).await;
    let requests = (0..200).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            // Large responses of other streams are on the same connection.
            if number % 20 == 0 {
                let (interim, body) = upload(client, "/large", 0, |_| {}).await;
                assert_eq!((interim, body.len()), (vec!["1".to_owned()], LARGE));
                return;
            }
            let length = number * 100 + 1;
            let (interim, body) = upload(client, "/", length, |_| {}).await;
            assert_eq!(interim, ["1", "2"]);
            assert_eq!(body, format!("true true {length}\n"));
        })
    });
    for request in requests.collect::<Vec<_>>() {
        timeout(PATIENCE, request).await.unwrap().unwrap();
    }
}

/// Neither by a field of the name that the listener uses, nor by fields in several frames.
#[tokio::test]
async fn http2_clients_cannot_mislead_it() {
    let server = Server::start(app(), Limits::default()).await;
    let client = connect(&server).await;
    let (interim, _) = upload(client.clone(), "/", 1, |headers| {
        headers.insert("cloudstore-http2-stream", HeaderValue::from(99));
        headers.append("cloudstore-http2-stream", HeaderValue::from_static("x"));
    })
    .await;
    assert_eq!(interim, ["1", "2"]);
    let (interim, _) = upload(client, "/", 1, |headers| {
        let long = "y".repeat(40_000);
        headers.insert("x-long", HeaderValue::try_from(long).unwrap());
    })
    .await;
    assert_eq!(interim, ["1", "2"]);
}

#[tokio::test]
async fn a_handle_outlives_its_connection() {
    let handles = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&handles);
    let app = Router::new().route(
        "/",
        get(async move |interim: Interim| kept.lock().await.push(interim)),
    );
    let server = Server::start(app, Limits::default()).await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    server.raw(request).await;
    let mut client = connect(&server).await.ready().await.unwrap();
    let request = Request::get("http://x/").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    response.await.unwrap();
    drop(client);
    server.stop().await;
    for handle in handles.lock().await.iter() {
        assert!(!timeout(PATIENCE, send(handle, 1)).await.unwrap());
    }
}
