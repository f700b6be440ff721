//! The body path: socket frames are gathered into large buffers, and while one buffer is being
//! written and hashed on a blocking thread the other one is being filled. No thread is held while
//! the client is silent, and a stream never owns more than two buffers.

use std::{
    io,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use cloudstore_service::clock;
use futures::{Stream, StreamExt as _};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Error, Result};

/// Bytes written at a time by most streams; two such buffers are the memory of a stream. What
/// comes in one of them is small.
pub(crate) const BUFFER: usize = 256 * 1024;
/// Bytes written at a time while few streams are open: the hand-over between threads is noise then.
const LARGE_BUFFER: usize = 1024 * 1024;
/// Streams that may have large buffers at a time: 16 MiB of memory.
const LARGE_STREAMS: usize = 8;

/// When somebody waits for the place of a stream, it takes what is still arriving until there is
/// nothing for so long: of a connection that broke, what its buffers have need not be sent again.
const DRAIN_GAP: Duration = Duration::from_millis(30);
/// But not for longer than this: the client may have come back while the old request goes on.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

static LARGE: Semaphore = Semaphore::const_new(LARGE_STREAMS);

/// Where the bytes of one body go. Runs on a blocking thread.
pub(crate) trait Sink: Send + 'static {
    /// Takes the next bytes, in order.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A body that broke off: the connection died, or the client was silent for too long.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off: {0}")]
pub struct BodyError(pub Box<dyn std::error::Error + Send + Sync>);

/// How a body ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Cleanly.
    Complete,
    /// In the middle.
    Broken(BodyError),
    /// It was about to exceed the limit; nothing beyond the limit was written.
    TooLong,
    /// Somebody else took the place over.
    Preempted,
}

/// Signs of life of a stream, for those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    last_ms: AtomicI64,
    cancel: CancellationToken,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        let pulse = Self::default();
        pulse.beat();
        pulse
    }

    fn beat(&self) {
        self.last_ms.store(clock::now_ms(), Ordering::Relaxed);
    }

    /// Milliseconds since bytes last arrived.
    fn silent_ms(&self) -> i64 {
        clock::now_ms() - self.last_ms.load(Ordering::Relaxed)
    }

    /// No bytes have arrived for this long.
    pub(crate) fn is_silent(&self, time: Duration) -> bool {
        u128::from(self.silent_ms().unsigned_abs()) >= time.as_millis()
    }

    /// Makes the stream give up, once it has what is about to arrive.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Ends when the stream has to give up. `until` is `None` before the first of the calls, of which
    /// there is one for each frame.
    async fn drained(&self, until: &mut Option<Instant>) {
        self.cancel.cancelled().await;
        let now = Instant::now();
        let until = *until.get_or_insert(now + DRAIN_LIMIT);
        sleep_until(until.min(now + DRAIN_GAP)).await;
    }
}

/// A body after its last frame. `tail` is not written yet, so that the caller can do it together
/// with what follows, on one blocking thread.
pub(crate) struct Pumped<S> {
    pub(crate) sink: S,
    pub(crate) tail: BytesMut,
    /// Bytes including the tail.
    pub(crate) len: u64,
    pub(crate) end: End,
}

/// Moves a body of at most `limit` bytes into a sink. `expected` is a hint for the first buffer.
///
/// # Errors
/// Only when the sink fails; everything about the body itself is [`Pumped::end`].
pub(crate) async fn pump<S: Sink>(
    mut body: impl Stream<Item = std::result::Result<Bytes, BodyError>> + Unpin,
    limit: u64,
    expected: Option<u64>,
    sink: S,
    pulse: &Pulse,
) -> Result<Pumped<S>> {
    let mut writer = Writer::new(sink, expected);
    let mut len = 0_u64;
    let mut until = None;
    let end = loop {
        let frame = tokio::select! {
            biased;
            () = pulse.drained(&mut until) => break End::Preempted,
            frame = body.next() => frame,
        };
        match frame {
            None => break End::Complete,
            Some(Err(error)) => break End::Broken(error),
            Some(Ok(frame)) => {
                pulse.beat();
                if len + frame.len() as u64 > limit {
                    break End::TooLong;
                }
                len += frame.len() as u64;
                writer.push(frame).await?;
            }
        }
    };
    let (sink, tail) = writer.into_parts().await?;
    Ok(Pumped {
        sink,
        tail,
        len,
        end,
    })
}

/// The hash covers what was written, so it could not tell that a part of the body was never handed
/// to the sink.
///
/// # Errors
/// When fewer or more bytes were written than were received.
pub(crate) fn check_whole(received: u64, written: u64) -> io::Result<()> {
    if received == written {
        return Ok(());
    }
    let lost = format!("received up to byte {received} and wrote up to byte {written}");
    Err(io::Error::other(lost))
}

/// The two buffers of a stream and the write that is under way.
struct Writer<S> {
    /// Bytes of a full buffer.
    full: usize,
    /// The right to large buffers.
    _large: Option<SemaphorePermit<'static>>,
    filling: BytesMut,
    other: State<S>,
}

enum State<S> {
    /// The sink and the spare buffer are here.
    Idle(S, BytesMut),
    /// Both are on a blocking thread.
    Writing(JoinHandle<io::Result<(S, BytesMut)>>),
    /// A write failed.
    Failed,
}

impl<S: Sink> Writer<S> {
    fn new(sink: S, expected: Option<u64>) -> Self {
        let expected = expected.and_then(|len| usize::try_from(len).ok());
        let small = expected.is_some_and(|len| len <= LARGE_BUFFER);
        let large = LARGE.try_acquire().ok().filter(|_| !small);
        let full = if large.is_some() {
            LARGE_BUFFER
        } else {
            BUFFER
        };
        let capacity = expected.unwrap_or(full).min(full);
        Self {
            full,
            _large: large,
            filling: BytesMut::with_capacity(capacity),
            other: State::Idle(sink, BytesMut::new()),
        }
    }

    async fn push(&mut self, mut frame: Bytes) -> Result<()> {
        while !frame.is_empty() {
            if self.filling.len() == self.full {
                self.rotate().await?;
            }
            let room = (self.full - self.filling.len()).min(frame.len());
            self.filling.extend_from_slice(&frame[..room]);
            frame.advance(room);
        }
        Ok(())
    }

    /// Waits for the write under way and starts the next one with the full buffer.
    async fn rotate(&mut self) -> Result<()> {
        let (mut sink, mut spare) = self.idle().await?;
        spare.reserve(self.full);
        let full = std::mem::replace(&mut self.filling, spare);
        self.other = State::Writing(spawn_blocking(move || {
            sink.write(&full)?;
            let mut empty = full;
            empty.clear();
            Ok((sink, empty))
        }));
        Ok(())
    }

    async fn idle(&mut self) -> Result<(S, BytesMut)> {
        match std::mem::replace(&mut self.other, State::Failed) {
            State::Idle(sink, spare) => Ok((sink, spare)),
            State::Writing(task) => Ok(task.await.map_err(io::Error::other)??),
            State::Failed => Err(Error::Io(io::Error::other("an earlier write failed"))),
        }
    }

    async fn into_parts(mut self) -> Result<(S, BytesMut)> {
        let (sink, _spare) = self.idle().await?;
        Ok((sink, self.filling))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use proptest::prelude::*;

    use super::*;

    struct Collect(Vec<u8>);

    impl Sink for Collect {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            assert!(bytes.len() <= LARGE_BUFFER);
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    struct Full;

    impl Sink for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    fn body(
        frames: Vec<Vec<u8>>,
    ) -> impl Stream<Item = std::result::Result<Bytes, BodyError>> + Unpin {
        stream::iter(frames.into_iter().map(|frame| Ok(Bytes::from(frame))))
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_byte_arrives_in_order(sizes in prop::collection::vec(0_usize..1_500_000, 0..6)) {
            let frames: Vec<Vec<u8>> = sizes
                .iter()
                .enumerate()
                .map(|(i, size)| (0..*size).map(|at| u8::try_from((at * 7 + i) % 251).unwrap()).collect())
                .collect();
            let whole = frames.concat();
            let pumped = block_on(pump(body(frames), u64::MAX, None, Collect(Vec::new()), &Pulse::new())).unwrap();
            prop_assert!(matches!(pumped.end, End::Complete));
            prop_assert_eq!(pumped.len, whole.len() as u64);
            let mut got = pumped.sink.0;
            got.extend_from_slice(&pumped.tail);
            prop_assert!(got == whole);
        }
    }

    #[tokio::test]
    async fn nothing_beyond_the_limit_is_taken() {
        let frames = vec![vec![1; 10], vec![2; 10]];
        let pumped = pump(body(frames), 15, None, Collect(vec![]), &Pulse::new())
            .await
            .unwrap();
        assert!(matches!(pumped.end, End::TooLong));
        assert_eq!((pumped.len, pumped.tail.len()), (10, 10));
    }

    #[tokio::test]
    async fn a_broken_body_keeps_what_arrived() {
        let frames = stream::iter([
            Ok(Bytes::from_static(b"abc")),
            Err(BodyError("reset".into())),
        ]);
        let pumped = pump(frames, 100, Some(6), Collect(vec![]), &Pulse::new())
            .await
            .unwrap();
        assert!(matches!(pumped.end, End::Broken(_)));
        assert_eq!(&pumped.tail[..], b"abc");
    }

    #[tokio::test]
    async fn a_preempted_stream_gives_up_while_it_waits() {
        let pulse = Pulse::new();
        pulse.cancel();
        let silent = stream::pending::<std::result::Result<Bytes, BodyError>>();
        let pumped = pump(silent, 100, None, Collect(vec![]), &pulse)
            .await
            .unwrap();
        assert!(matches!(pumped.end, End::Preempted));
    }

    #[tokio::test]
    async fn a_preempted_stream_keeps_what_is_there_already() {
        let pulse = Pulse::new();
        pulse.cancel();
        let arrived = body(vec![vec![1; 1_000], vec![2; 1_000]]);
        let then_silent = arrived.chain(stream::pending());
        let pumped = pump(then_silent, 10_000, None, Collect(vec![]), &pulse)
            .await
            .unwrap();
        assert!(matches!(pumped.end, End::Preempted));
        assert_eq!(pumped.len, 2_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_preempted_stream_that_goes_on_gives_up_too() {
        let pulse = Pulse::new();
        pulse.cancel();
        let begun = Instant::now();
        let endless = stream::unfold((), async |()| {
            sleep_until(Instant::now() + DRAIN_GAP / 2).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        let pumped = pump(Box::pin(endless), u64::MAX, None, Collect(vec![]), &pulse);
        let pumped = pumped.await.unwrap();
        assert!(matches!(pumped.end, End::Preempted));
        assert!(pumped.len > 10);
        assert_eq!(begun.elapsed(), DRAIN_LIMIT);
    }

    #[tokio::test]
    async fn a_failed_write_is_reported() {
        let frames = vec![vec![0; LARGE_BUFFER]; 4];
        assert!(matches!(
            pump(body(frames), u64::MAX, None, Full, &Pulse::new()).await,
            Err(Error::NoSpace)
        ));
    }
}
