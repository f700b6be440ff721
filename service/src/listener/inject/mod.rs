//! Writes interim responses into a connection between what hyper writes to it.
//!
//! A [`Wire`] is the connection as hyper sees it. Everything that goes out passes through it, so it
//! knows where an interim response may be put without breaking anything up: when, is a matter of
//! the protocol ([`Framing`]). What waits is written before the next bytes of hyper, and by
//! [`Wire::pump`] while hyper has nothing to write.

mod http1;
mod http2;
mod tagging;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

pub(super) use self::{http1::Http1, http2::Http2, tagging::stream_id};
use crate::interim::{Interim, Outbox};

/// Longest interim response in bytes. Every HTTP/2 peer takes frames up to 16 KiB (RFC 9113
/// section 4.2), and such a head does not need more; a longer one is not sent.
const MAX_BYTES: usize = 16 * 1024;

/// When something may be put between the bytes that hyper writes, and how it looks.
pub(super) trait Framing: Send + 'static {
    /// A request was handed to its handler; its final response has not begun.
    fn opened(&mut self, id: u32);
    /// Its handler has answered, or has gone.
    fn answered(&mut self, id: u32);
    /// Whether the request may still have an interim response.
    fn is_open(&self, id: u32) -> bool;
    /// Whether one may be written now.
    fn at_boundary(&self) -> bool;
    /// How many bytes hyper may write before it is asked again.
    fn until_boundary(&self) -> usize;
    /// hyper wrote these.
    fn wrote(&mut self, bytes: &[u8]);
    /// hyper flushes: it has written all that it had.
    fn flushing(&mut self);
    fn encode(&self, id: u32, status: StatusCode, headers: &HeaderMap) -> Vec<u8>;
    /// Reads for hyper.
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A connection that is shared between hyper and [`Wire::pump`]. Both run in one task, so that
/// neither waits for the lock and neither takes the other's wake-ups.
pub(super) struct Wire<S, F> {
    ends: Arc<Mutex<Ends<S, F>>>,
    outbox: Arc<Outbox>,
}

struct Ends<S, F> {
    stream: S,
    framing: F,
    outbox: Arc<Outbox>,
    /// An interim response that is being written.
    current: Option<(Bytes, oneshot::Sender<()>)>,
}

impl<S, F> Clone for Wire<S, F> {
    fn clone(&self) -> Self {
        Self {
            ends: Arc::clone(&self.ends),
            outbox: Arc::clone(&self.outbox),
        }
    }
}

impl<S, F> Drop for Ends<S, F> {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

impl<S, F: Framing> Wire<S, F> {
    pub(super) fn new(stream: S, framing: F) -> Self {
        let outbox = Arc::<Outbox>::default();
        let ends = Ends {
            stream,
            framing,
            outbox: Arc::clone(&outbox),
            current: None,
        };
        Self {
            ends: Arc::new(Mutex::new(ends)),
            outbox,
        }
    }

    /// Begins a request, which hyper is handing to its handler right now. Until the result is
    /// dropped, right before hyper gets the handler's answer, it may have interim responses.
    pub(super) fn begin(&self, id: u32) -> Begun<S, F> {
        self.ends().framing.opened(id);
        Begun {
            id,
            ends: Arc::downgrade(&self.ends),
            outbox: Arc::clone(&self.outbox),
        }
    }

    fn ends(&self) -> MutexGuard<'_, Ends<S, F>> {
        lock(&self.ends)
    }
}

fn lock<T>(ends: &Mutex<T>) -> MutexGuard<'_, T> {
    ends.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin, F: Framing> Wire<S, F> {
    /// Writes what waits while hyper has nothing to write. Ends when writing fails.
    pub(super) async fn pump(self) -> io::Error {
        loop {
            self.outbox.filled.notified().await;
            if let Err(error) = poll_fn(|cx| self.ends().poll_interim(cx)).await {
                return error;
            }
        }
    }
}

/// A request that its handler has not answered yet. It does not keep the connection open: a stream
/// of HTTP/2 may outlive it.
pub(super) struct Begun<S, F: Framing> {
    id: u32,
    ends: Weak<Mutex<Ends<S, F>>>,
    outbox: Arc<Outbox>,
}

impl<S, F: Framing> Begun<S, F> {
    pub(super) fn interim(&self) -> Interim {
        Interim::new(self.id, &self.outbox)
    }
}

impl<S, F: Framing> Drop for Begun<S, F> {
    fn drop(&mut self) {
        if let Some(ends) = self.ends.upgrade() {
            lock(&ends).framing.answered(self.id);
        }
    }
}

impl<S: AsyncWrite + Unpin, F: Framing> Ends<S, F> {
    /// Writes the interim responses that wait, as far as they may be written now; one that is
    /// begun to its end.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some((rest, _)) = &mut self.current {
                while !rest.is_empty() {
                    let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    rest.advance(written);
                }
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                if let Some((_, done)) = self.current.take() {
                    let _cancelled = done.send(());
                }
            }
            let ready = self.framing.at_boundary();
            let next = self.outbox.take(ready, |id| self.framing.is_open(id));
            let Some(next) = next else {
                return Poll::Ready(Ok(()));
            };
            let bytes = self.framing.encode(next.id, next.status, &next.headers);
            if bytes.len() <= MAX_BYTES {
                self.current = Some((bytes.into(), next.done));
            }
        }
    }
}

impl<S: AsyncRead + Unpin, F: Framing> AsyncRead for Wire<S, F> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ends = &mut *self.ends();
        ends.framing.poll_read(&mut ends.stream, cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, F: Framing> AsyncWrite for Wire<S, F> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let ends = &mut *self.ends();
        ready!(ends.poll_interim(cx))?;
        let first = bufs.iter().find(|buf| !buf.is_empty());
        let stream = Pin::new(&mut ends.stream);
        let written = match first {
            // Something waits: go to the next boundary and no further.
            Some(first) if !ends.outbox.is_empty() => {
                let len = first.len().min(ends.framing.until_boundary());
                ready!(stream.poll_write(cx, &first[..len]))?
            }
            _ => ready!(stream.poll_write_vectored(cx, bufs))?,
        };
        let mut left = written;
        for buf in bufs {
            let len = buf.len().min(left);
            ends.framing.wrote(&buf[..len]);
            left -= len;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        let ends = self.ends();
        ends.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ends = &mut *self.ends();
        ends.framing.flushing();
        ready!(ends.poll_interim(cx))?;
        Pin::new(&mut ends.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ends = &mut *self.ends();
        ready!(ends.poll_interim(cx))?;
        Pin::new(&mut ends.stream).poll_shutdown(cx)
    }
}
