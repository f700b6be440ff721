//! A request body that must keep arriving, and that is read on for a moment when nobody wants it
//! any more.
//!
//! A server that answers before it has read the body and then closes the connection resets it, and
//! the client never gets to read the answer: it sees a broken pipe instead of "quota exceeded" or
//! "log in again". So what is left of a refused body is read and thrown away, within bounds.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, timeout},
};

/// The client must send [`ENOUGH_BYTES`] within any such time that we spend waiting for it.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Less than this within [`IDLE_TIMEOUT`] is a stalled client, or one that keeps a connection with
/// a byte now and then (slowloris). It is 34 bytes a second: slower than any real network.
const ENOUGH_BYTES: usize = 1024;

/// How much of an unwanted body is still read: a file or chunk of the default size.
const DRAIN_BYTES: usize = 16 << 20;
/// How long an unwanted body is read at most.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The error of a body that stopped arriving.
#[derive(Debug, thiserror::Error)]
#[error("the request body stopped arriving")]
pub(crate) struct Stalled;

/// Wraps a body. The clock only runs while the reader waits: a slow disk is not the client's fault.
pub(crate) struct KeepsArriving {
    body: Body,
    limit: Duration,
    /// Waiting time left until the next [`ENOUGH_BYTES`] must have arrived.
    left: Duration,
    received: usize,
    waiting: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    rest: Rest,
}

/// What is to become of the part of the body that nobody reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It is on its way: read it and throw it away.
    Drain,
    /// The client sends it when it is asked to, which the first read does.
    Unasked,
    /// There is none, or no way to get it.
    None,
}

impl KeepsArriving {
    /// Limits the time spent waiting for each [`ENOUGH_BYTES`] of the body. `asked`: the client
    /// sends the body unless it is told `100 Continue` first.
    pub(crate) fn new(body: Body, limit: Duration, asked: bool) -> Self {
        let timer = Box::pin(tokio::time::sleep(limit));
        Self {
            body,
            limit,
            left: limit,
            received: 0,
            waiting: None,
            timer,
            rest: if asked { Rest::Unasked } else { Rest::Drain },
        }
    }

    fn arrived(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes);
        if self.received >= ENOUGH_BYTES {
            self.received = 0;
            self.left = self.limit;
        } else if let Some(since) = self.waiting {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        self.waiting = None;
    }
}

impl HttpBody for KeepsArriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest == Rest::Unasked {
            this.rest = Rest::Drain;
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            match &frame {
                Some(Ok(frame)) => this.arrived(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(_)) | None => this.rest = Rest::None,
            }
            return Poll::Ready(frame);
        }
        if this.waiting.is_none() {
            let now = Instant::now();
            this.waiting = Some(now);
            this.timer.as_mut().reset(now + this.left);
        }
        ready!(this.timer.as_mut().poll(cx));
        this.rest = Rest::None;
        Poll::Ready(Some(Err(axum::Error::new(Stalled))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for KeepsArriving {
    fn drop(&mut self) {
        if self.rest != Rest::Drain || self.body.is_end_stream() {
            return;
        }
        // The answer does not wait for this: it goes out while the rest comes in.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(DRAIN_TIME, drain(std::mem::take(&mut self.body))));
        }
    }
}

async fn drain(mut body: Body) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > DRAIN_BYTES {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;
    use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

    use super::*;
    use crate::{Kind, Problem};

    const LIMIT: Duration = Duration::from_secs(30);

    fn body() -> (mpsc::Sender<Bytes>, KeepsArriving) {
        let (sender, receiver) = mpsc::channel(8);
        let stream =
            ReceiverStream::new(receiver).map(|data| Ok::<_, axum::Error>(Frame::data(data)));
        (
            sender,
            KeepsArriving::new(Body::new(StreamBody::new(stream)), LIMIT, false),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_fails_with_request_timeout() {
        let (_sender, mut body) = body();
        let start = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(start.elapsed().as_secs(), LIMIT.as_secs());
        assert_eq!(Problem::from(error).kind(), Kind::RequestTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn trickling_does_not_help() {
        let (sender, mut body) = body();
        tokio::spawn(async move {
            while sender.send(Bytes::from_static(b"x")).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        let start = Instant::now();
        while body.frame().await.unwrap().is_ok() {}
        assert!(start.elapsed() <= LIMIT + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_the_clients_fault() {
        let (sender, mut body) = body();
        for _ in 0..8 {
            sender.send(Bytes::from_static(b"x")).await.unwrap();
        }
        drop(sender);
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            tokio::time::sleep(LIMIT).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_is_read_for_a_moment() {
        let (sender, body) = body();
        drop(body);
        for _ in 0..20 {
            sender.send(Bytes::from_static(b"x")).await.unwrap();
        }
        let start = Instant::now();
        sender.closed().await;
        assert_eq!(start.elapsed().as_secs(), DRAIN_TIME.as_secs());
    }

    #[tokio::test]
    async fn what_was_not_asked_for_is_not_read() {
        let (sender, receiver) = mpsc::channel::<Bytes>(8);
        let stream =
            ReceiverStream::new(receiver).map(|data| Ok::<_, axum::Error>(Frame::data(data)));
        drop(KeepsArriving::new(
            Body::new(StreamBody::new(stream)),
            LIMIT,
            true,
        ));
        sender.closed().await;
    }
}
