//! HTTP/2 streams: how many of a connection are open, and whether their readers still read.
//!
//! A timeout on the socket says nothing about a stream: flow control lets a client stall one
//! response, or all of them, on a connection that is otherwise alive. So each response body counts
//! what becomes of its data, down to the buffers in hyper and h2, and a stream of which nothing is
//! taken any more is reset, which frees all that it holds.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::{Buf, Bytes};
use futures::task::AtomicWaker;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// A stalled stream is noticed late by up to this part of the time it is allowed to stall.
const CHECKS: u32 = 4;
/// Taking less than this of a frame within the time allowed is stalling, too: a window that opens
/// by a byte now and then must not hold a stream. It is 17 bytes a second with the default limits.
const ENOUGH_BYTES: u64 = 1024;

tokio::task_local! {
    /// That of the stream which the current task serves.
    static PROGRESS: Arc<Progress>;
}

/// Runs the streams of one connection for hyper, each in a task of its own.
#[derive(Clone)]
pub(super) struct Streams {
    open: watch::Sender<usize>,
    stall_timeout: Duration,
}

impl Streams {
    /// A stream whose client takes nothing of the response for `stall_timeout` is reset.
    pub(super) fn new(stall_timeout: Duration) -> Self {
        Self {
            open: watch::Sender::new(0),
            stall_timeout,
        }
    }

    /// Returns once no stream has been open for the time given.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut open = self.open.subscribe();
        loop {
            let streams = *open.borrow_and_update();
            // A stream that begins and ends unseen is a change as well. It cannot fail: `self` has
            // the sender.
            if streams > 0 {
                let _changed = open.changed().await;
            } else if timeout(limit, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        let open = Open::new(self.open.clone());
        let progress = Arc::<Progress>::default();
        let stream = PROGRESS.scope(Arc::clone(&progress), stream);
        let stall_timeout = self.stall_timeout;
        tokio::spawn(async move {
            let _open = open;
            // Dropping hyper's stream makes h2 reset it and throw away what it has not sent.
            tokio::select! {
                biased;
                _ended = stream => {}
                () = progress.stalled(stall_timeout) => {
                    metrics::counter!("cloudstore_http_streams_stalled_total").increment(1);
                    tracing::debug!("nobody takes the response, stream cut off");
                }
            }
        });
    }
}

/// Counts an open stream.
struct Open {
    streams: watch::Sender<usize>,
}

impl Open {
    fn new(streams: watch::Sender<usize>) -> Self {
        streams.send_modify(|open| *open += 1);
        Self { streams }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.send_modify(|open| *open -= 1);
    }
}

/// What became of the data of a response so far.
#[derive(Debug, Default)]
struct Progress {
    /// Frames that hyper was given.
    given: AtomicU64,
    /// Those of them that are gone: sent, or thrown away.
    gone: AtomicU64,
    /// Bytes that were written to the connection.
    taken: AtomicU64,
    /// Wakes the body that waits for its last frame to be gone.
    sent: AtomicWaker,
}

/// [`Progress`] at some moment.
#[derive(Clone, Copy)]
struct Sample {
    given: u64,
    gone: u64,
    taken: u64,
}

impl Sample {
    /// Whether the client is stalling since then, given how it is now: the same frames are on
    /// their way, and not even one of them moves.
    fn stalls_until(self, now: Self) -> bool {
        self.given > self.gone && now.gone == self.gone && now.taken - self.taken < ENOUGH_BYTES
    }
}

impl Progress {
    fn sample(&self) -> Sample {
        Sample {
            given: self.given.load(Relaxed),
            gone: self.gone.load(Relaxed),
            taken: self.taken.load(Relaxed),
        }
    }

    /// Returns once data was on its way for the time given and the client took none of it. Waiting
    /// for more data from the handler does not count.
    async fn stalled(&self, limit: Duration) {
        let mut since = self.sample();
        let mut checks = 0;
        while checks < CHECKS {
            sleep(limit / CHECKS).await;
            let now = self.sample();
            if since.stalls_until(now) {
                checks += 1;
            } else {
                since = now;
                checks = 0;
            }
        }
    }

    fn all_gone(&self) -> bool {
        self.gone.load(SeqCst) == self.given.load(SeqCst)
    }

    fn poll_all_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.all_gone() {
            return Poll::Ready(());
        }
        self.sent.register(cx.waker());
        // The last frame may have gone before the waker was there.
        if self.all_gone() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Data of a response on its way to the client.
#[derive(Debug)]
pub(super) struct InTransit {
    data: Bytes,
    progress: Arc<Progress>,
}

impl Buf for InTransit {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        self.progress.taken.fetch_add(count as u64, Relaxed);
    }
}

impl Drop for InTransit {
    fn drop(&mut self) {
        self.progress.gone.fetch_add(1, SeqCst);
        self.progress.sent.wake();
    }
}

/// A response body that counts what becomes of its data. Its end comes only when all data is on the
/// wire: until then the stream's task lives and can be cut off, and the stream counts as open.
pub(super) struct Counted {
    body: Body,
    ended: bool,
    trailers: Option<Frame<InTransit>>,
    progress: Arc<Progress>,
}

impl Counted {
    /// For the response of the stream that the current task serves.
    ///
    /// # Panics
    /// In a task that [`Streams`] did not start.
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            ended: false,
            trailers: None,
            progress: PROGRESS.get(),
        }
    }
}

impl HttpBody for Counted {
    type Data = InTransit;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<InTransit>, axum::Error>>> {
        let this = self.get_mut();
        while !this.ended {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)?) else {
                this.ended = true;
                break;
            };
            let frame = frame.map_data(|data| {
                this.progress.given.fetch_add(1, SeqCst);
                let progress = Arc::clone(&this.progress);
                InTransit { data, progress }
            });
            if frame.is_data() {
                return Poll::Ready(Some(Ok(frame)));
            }
            this.ended = true;
            this.trailers = Some(frame);
        }
        ready!(this.progress.poll_all_gone(cx));
        Poll::Ready(this.trailers.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.trailers.is_none() && self.body.is_end_stream() && self.progress.all_gone()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn counted(body: impl Into<Body>) -> (Counted, Arc<Progress>) {
        let progress = Arc::<Progress>::default();
        let body = body.into();
        let scope = PROGRESS.scope(Arc::clone(&progress), async { Counted::new(body) });
        (scope.await, progress)
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_nobody_takes_is_a_stall() {
        let (mut body, progress) = counted(vec![0; 1 << 20]).await;
        let mut frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        // A byte now and then does not help.
        let trickle = async {
            loop {
                sleep(LIMIT / 3).await;
                frame.advance(1);
            }
        };
        let start = Instant::now();
        tokio::select! {
            () = progress.stalled(LIMIT) => {}
            () = trickle => {}
        }
        assert!(start.elapsed() >= LIMIT && start.elapsed() <= LIMIT * 5 / 4);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_clients_and_slow_handlers_are_not_stalls() {
        let (mut body, progress) = counted(vec![0; 100 * 1024]).await;
        // Nothing to take.
        assert!(timeout(LIMIT * 9, progress.stalled(LIMIT)).await.is_err());
        let mut frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let slow = async {
            while frame.has_remaining() {
                sleep(LIMIT * 3 / 4).await;
                frame.advance(1024);
            }
        };
        tokio::select! {
            () = progress.stalled(LIMIT) => panic!("a slow client is cut off"),
            () = slow => {}
        }
        drop(frame);
        assert!(timeout(LIMIT * 9, progress.stalled(LIMIT)).await.is_err());
    }

    #[tokio::test]
    async fn the_end_waits_for_the_last_frame() {
        let (mut body, _) = counted("data").await;
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(!body.is_end_stream());
        let frame = body.frame().await.unwrap();
        assert!(!body.is_end_stream());
        assert!(body.frame().now_or_never().is_none());
        let end = tokio::spawn(async move { body.frame().await.is_none() });
        tokio::task::yield_now().await;
        drop(frame);
        assert!(end.await.unwrap());
    }

    #[tokio::test]
    async fn an_empty_body_is_at_its_end() {
        let (body, _) = counted(Body::empty()).await;
        assert!(body.is_end_stream());
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_begins_with_the_end_of_the_last_stream() {
        let streams = Streams::new(LIMIT);
        let start = Instant::now();
        for _ in 0..2 {
            streams.execute(sleep(LIMIT));
        }
        streams.idle(LIMIT / 6).await;
        assert_eq!(start.elapsed().as_secs(), 70);
    }
}
