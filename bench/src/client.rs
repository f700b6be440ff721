//! The load client: raw HTTP/1.1 connections, the same for every server.
//!
//! It does as little as it can, because it runs on the machine it measures: bodies are slices of
//! memory that is there already, answers are counted and thrown away as they arrive.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{self, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
    header::HeaderName,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, sync::Barrier, task::JoinSet, time::timeout};

use crate::error::{Context as _, Error, Result};

/// Bytes handed to the connection at once: large enough that no time is lost between writes,
/// small enough to stay in a processor's cache between here and the socket.
const FRAME_BYTES: usize = 256 << 10;

/// Largest answer that is kept. Only answers in JSON are.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// A request that takes longer has failed. The longest here moves a few GiB.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// A request body made of slices of memory.
pub(crate) struct Payload {
    parts: VecDeque<Bytes>,
    remaining: u64,
    gate: Option<Gate>,
}

/// What a body waits for before its last frame.
type Gate = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Payload {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::new(VecDeque::new())
    }

    /// The bytes of `parts`, one after the other.
    pub(crate) fn new(parts: VecDeque<Bytes>) -> Self {
        let remaining = parts.iter().map(|part| part.len() as u64).sum();
        Self {
            parts,
            remaining,
            gate: None,
        }
    }

    /// Like [`Payload::new`], but the last frame is held back until all parties of `barrier` have
    /// come that far.
    pub(crate) fn gated(parts: VecDeque<Bytes>, barrier: Arc<Barrier>) -> Self {
        let gate = async move {
            barrier.wait().await;
        };
        Self {
            gate: Some(Box::pin(gate)),
            ..Self::new(parts)
        }
    }

    /// JSON.
    pub(crate) fn json(value: &impl serde::Serialize) -> Self {
        let text = serde_json::to_vec(value).expect("invariant: request bodies are plain data");
        Self::new(VecDeque::from([Bytes::from(text)]))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        if self.remaining <= FRAME_BYTES as u64
            && let Some(gate) = &mut self.gate
        {
            std::task::ready!(gate.as_mut().poll(context));
            self.gate = None;
        }
        let Some(part) = self.parts.front_mut() else {
            return Poll::Ready(None);
        };
        let frame = part.split_to(part.len().min(FRAME_BYTES));
        if part.is_empty() {
            self.parts.pop_front();
        }
        self.remaining -= frame.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Status, fields and body of an answer.
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// The JSON of a successful answer.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.success()?.body).context("reading an answer")
    }

    /// The value of a field.
    pub(crate) fn header(&self, name: &HeaderName) -> Result<&str> {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| Error::new(format!("answered without {name}")))
    }

    /// The answer itself, if it is a successful one.
    pub(crate) fn success(&self) -> Result<&Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let text = String::from_utf8_lossy(&self.body);
        Err(Error::new(format!(
            "answered {}: {}",
            self.status,
            text.trim()
        )))
    }
}

/// One connection, kept open from request to request.
pub(crate) struct Connection {
    sender: SendRequest<Payload>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .context("connecting")?;
        // It ends with the sender, which is also told of its errors.
        tokio::spawn(driver);
        Ok(Self { sender })
    }

    /// Sends a request and keeps the answer.
    pub(crate) async fn call(&mut self, request: Request<Payload>) -> Result<Answer> {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = async {
            let (head, body) = self.send(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body
                .map_err(|error| Error::new(error.to_string()))?
                .to_bytes();
            Result::Ok(Answer {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        timeout(REQUEST_TIMEOUT, answer)
            .await
            .context(&what)?
            .context(&what)
    }

    /// Sends a request and shows the body of a successful answer to `see`, frame by frame.
    pub(crate) async fn read(
        &mut self,
        request: Request<Payload>,
        mut see: impl FnMut(&Bytes),
    ) -> Result<()> {
        let what = format!("{} {}", request.method(), request.uri());
        let body = async {
            let response = self.send(request).await?;
            if response.status() != StatusCode::OK {
                return Err(Error::new(format!("answered {}", response.status())));
            }
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                if let Some(data) = frame.context("reading the body")?.data_ref() {
                    see(data);
                }
            }
            Ok(())
        };
        timeout(REQUEST_TIMEOUT, body)
            .await
            .context(&what)?
            .context(&what)
    }

    async fn send(&mut self, request: Request<Payload>) -> Result<Response<Incoming>> {
        self.sender
            .ready()
            .await
            .context("waiting for the connection")?;
        self.sender.send_request(request).await.context("sending")
    }
}

/// Connections that share one list of requests.
pub(crate) struct Fan {
    connections: Vec<Connection>,
}

impl Fan {
    /// Opens `count` connections.
    pub(crate) async fn open(address: SocketAddr, count: usize) -> Result<Self> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(address).await?);
        }
        Ok(Self { connections })
    }

    /// Sends the requests in order, each on the first connection that is free, and returns when
    /// all have succeeded, or with the first failure.
    pub(crate) async fn send(self, requests: Vec<Request<Payload>>) -> Result<()> {
        let queue = Arc::new(Mutex::new(requests.into_iter()));
        let mut tasks = JoinSet::new();
        for mut connection in self.connections {
            let queue = Arc::clone(&queue);
            let next = move || queue.lock().expect("invariant: nobody panics here").next();
            tasks.spawn(async move {
                while let Some(request) = next() {
                    let what = request.uri().clone();
                    connection.call(request).await?.success().context(&what)?;
                }
                Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.context("sending requests")??;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn payloads_tell_their_length_and_keep_their_order() {
        let big = Bytes::from(vec![7; FRAME_BYTES + 1]);
        let payload = Payload::new(VecDeque::from([Bytes::from_static(b"head"), big]));
        assert_eq!(payload.size_hint().exact(), Some(FRAME_BYTES as u64 + 5));
        let bytes = payload.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len(), FRAME_BYTES + 5);
        assert_eq!(&bytes[..5], b"head\x07");
    }

    #[tokio::test]
    async fn gated_payloads_end_together() {
        let barrier = Arc::new(Barrier::new(2));
        let parts = VecDeque::from([Bytes::from_static(b"all")]);
        let mut first = Payload::gated(parts.clone(), Arc::clone(&barrier));
        let second = Payload::gated(parts, barrier);
        let poll = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut first).poll_frame(cx)));
        assert!(poll.await.is_pending());
        let (first, second) = tokio::join!(first.collect(), second.collect());
        assert_eq!(first.unwrap().to_bytes(), second.unwrap().to_bytes());
    }
}
