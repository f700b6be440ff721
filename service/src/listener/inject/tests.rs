//! hyper's servers over connections that take a few bytes at a time, and only when asked twice.

use std::{convert::Infallible, future::poll_fn, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::timeout,
};

use super::*;

/// Far longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that a connection takes at once.
const PIECES: [usize; 8] = [1, 2, 3, 7, 10, 61, 1_000, 1 << 20];
/// Bytes between the two ends: what clients and servers send before they read.
const PIPE: usize = 4_096;

/// Takes and gives so many bytes at once, and every other time none.
struct Trickle {
    stream: DuplexStream,
    piece: usize,
    ready: bool,
}

impl Trickle {
    fn new(piece: usize) -> (DuplexStream, Self) {
        let (client, stream) = duplex(PIPE);
        let ready = false;
        (
            client,
            Self {
                stream,
                piece,
                ready,
            },
        )
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ready = !self.ready;
        if self.ready {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Trickle {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut piece = vec![0; buf.remaining().min(this.piece)];
        let mut part = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_ready(cx));
        let len = buf.len().min(this.piece);
        Pin::new(&mut this.stream).poll_write(cx, &buf[..len])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

fn numbered(request: &str, number: usize) -> HeaderMap {
    let value = format!("{request}/{number} {}", "y".repeat(number * 150));
    HeaderMap::from_iter([(http::HeaderName::from_static("x"), value.parse().unwrap())])
}

/// Sends as many as the request's header says, some while the body of the request arrives.
async fn answer<F: Framing>(
    request: Request<Incoming>,
    begun: Begun<Trickle, F>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let interim = begun.interim();
    for number in 0..2 {
        let headers = numbered(&path, number);
        assert!(interim.send(StatusCode::EARLY_HINTS, &headers).await);
    }
    let body = axum::body::to_bytes(Body::new(request.into_body()), 1 << 20);
    let last = numbered(&path, 2);
    let (body, sent) = tokio::join!(body, interim.send(StatusCode::EARLY_HINTS, &last));
    assert!(sent);
    drop(begun);
    Ok(Response::new(Body::from(body.unwrap())))
}

/// Status, fields, and what follows the head that the text begins with.
fn take_head(text: &str) -> (u16, &str, &str) {
    let (head, rest) = text.split_once("\r\n\r\n").expect("a complete head");
    let (status, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = status.strip_prefix("HTTP/1.1 ").expect(status);
    (status[..3].parse().unwrap(), fields, rest)
}

#[tokio::test]
async fn http1_messages_stay_whole() {
    let requests: String = (0..4)
        .map(|number| {
            let expect = ["", "expect: 100-continue\r\n"][number % 2];
            let last = ["", "connection: close\r\n"][number / 3];
            let body = number.to_string().repeat(number * 500);
            format!(
                "POST /{number} HTTP/1.1\r\n{expect}{last}content-length: {}\r\n\r\n{body}",
                body.len()
            )
        })
        .collect();
    for piece in PIECES {
        let (client, server) = Trickle::new(piece);
        let wire = Wire::new(server, Http1::default());
        let pump = wire.clone().pump();
        let begin = wire.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let id = request.uri().path()[1..].parse().unwrap();
            answer(request, begin.begin(id))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(wire), service);
        let served = async {
            tokio::select! {
                result = connection => result.unwrap(),
                error = pump => panic!("{error}"),
            }
        };
        let (mut read, mut write) = tokio::io::split(client);
        let sending = write.write_all(requests.as_bytes());
        let mut received = String::new();
        let all = async { tokio::join!(served, sending, read.read_to_string(&mut received)) };
        timeout(PATIENCE, all).await.unwrap().2.unwrap();
        let mut rest = received.as_str();
        for request in 0..4 {
            let (mut interim, mut continued) = (0, 0);
            let fields = loop {
                let (status, fields, after) = take_head(rest);
                rest = after;
                match status {
                    103 => {
                        let expected = &numbered(&format!("/{request}"), interim)["x"];
                        assert_eq!(fields, format!("x: {}", expected.to_str().unwrap()));
                        interim += 1;
                    }
                    100 => continued += 1,
                    _ => break fields,
                }
            };
            assert_eq!((interim, continued), (3, request % 2), "{received}");
            assert!(fields.contains("content-length:"), "{received}");
            let body = request.to_string().repeat(request * 500);
            rest = rest.strip_prefix(&body).expect("the whole body");
        }
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn http2_frames_stay_whole() {
    for piece in PIECES {
        let (client, server) = Trickle::new(piece);
        let wire = Wire::new(server, Http2::default());
        let pump = wire.clone().pump();
        let begin = wire.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let id = stream_id(request.headers_mut()).unwrap();
            answer(request, begin.begin(id))
        });
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(wire), service);
        tokio::spawn(async move {
            tokio::select! {
                _ended = connection => {}
                _failed = pump => {}
            }
        });
        let handshake = h2::client::handshake(client);
        let (client, connection) = timeout(PATIENCE, handshake).await.unwrap().unwrap();
        tokio::spawn(connection);
        let requests = (0..8).map(|number| tokio::spawn(exchange(client.clone(), number)));
        for request in requests.collect::<Vec<_>>() {
            timeout(PATIENCE, request).await.unwrap().unwrap();
        }
    }
}

/// One request whose answer must be right.
async fn exchange(client: h2::client::SendRequest<Bytes>, number: usize) {
    let path = format!("/{number}");
    let request = Request::post(format!("http://x{path}")).body(()).unwrap();
    let mut client = client.ready().await.unwrap();
    let (mut response, mut sender) = client.send_request(request, false).unwrap();
    let body = number.to_string().repeat(number * 1_000);
    sender.send_data(Bytes::from(body.clone()), true).unwrap();
    let mut interim = 0;
    while let Some(next) = poll_fn(|cx| response.poll_informational(cx)).await {
        assert_eq!(next.unwrap().headers()["x"], numbered(&path, interim)["x"]);
        interim += 1;
    }
    assert_eq!(interim, 3);
    let mut stream = response.await.unwrap().into_body();
    let mut received = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        received.extend_from_slice(&data);
    }
    assert_eq!(received, body.as_bytes());
}
