//! Request bodies that are read while they are sent, from a local file or from what of it is in
//! memory: about 2 MiB more of it for each, whatever their length.

use std::{
    fmt, io,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{runtime::Handle, sync::mpsc, task::spawn_blocking};

use super::throttle::Throttle;

/// One read, and one frame handed to the connection.
pub(crate) const FRAME: usize = 512 << 10;
/// Frames read ahead of the connection; with the one in each hand that makes 2 MiB.
pub(crate) const FRAMES_AHEAD: usize = 2;

/// Called with the number of bytes each time some have been handed to the connection.
pub(crate) type OnBytes = Arc<dyn Fn(u64) + Send + Sync>;

/// Tells a slow request from a stalled one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity(Arc<AtomicU64>);

impl Activity {
    /// Bytes handed to the connection so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Sees each piece that is read and where it belongs, before it is sent; on a blocking thread.
pub(crate) type OnRead = Arc<dyn Fn(u64, &[u8]) + Send + Sync>;

/// Where content is.
#[derive(Clone)]
pub(crate) enum Source {
    /// A whole local file.
    File(Arc<std::fs::File>),
    /// A part of the content.
    Memory {
        /// Where it begins in the content.
        start: u64,
        /// The part.
        bytes: Bytes,
    },
}

impl Source {
    /// `len` bytes at `at` of the content. Blocks.
    ///
    /// # Errors
    /// What reading says, and [`io::ErrorKind::UnexpectedEof`] beyond what is there.
    pub(crate) fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        match self {
            Self::File(file) => {
                let mut buffer = vec![0; len];
                file.read_exact_at(&mut buffer, at)?;
                Ok(buffer.into())
            }
            Self::Memory { start, bytes } => {
                let first = at.checked_sub(*start).map(usize::try_from);
                let range = first.and_then(Result::ok).map(|first| first..first + len);
                let range = range.filter(|range| range.end <= bytes.len());
                let range = range.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(bytes.slice(range))
            }
        }
    }
}

/// A range of content that can be sent any number of times.
#[derive(Clone)]
pub(crate) struct RangeBody {
    /// Where to read.
    pub(crate) source: Source,
    /// First byte.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) len: u64,
    /// Shared by all transfers.
    pub(crate) throttle: Option<Arc<Throttle>>,
    /// Counts what was sent.
    pub(crate) on_bytes: OnBytes,
    /// Sees what is read.
    pub(crate) on_read: Option<OnRead>,
}

impl fmt::Debug for RangeBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RangeBody({}+{})", self.offset, self.len)
    }
}

impl RangeBody {
    /// Starts reading. A file that has become shorter breaks the request off.
    pub(crate) fn open(&self, activity: &Activity) -> reqwest::Body {
        let (frames, receiver) = mpsc::channel(FRAMES_AHEAD);
        let this = self.clone();
        let runtime = Handle::current();
        spawn_blocking(move || this.feed(&frames, &runtime));
        reqwest::Body::wrap(Feed {
            frames: receiver,
            left: Some(self.len),
            activity: activity.clone(),
            on_bytes: self.on_bytes.clone(),
        })
    }

    /// Ends early when the request is gone.
    fn feed(&self, frames: &mpsc::Sender<io::Result<Bytes>>, runtime: &Handle) {
        let end = self.offset + self.len;
        let mut at = self.offset;
        while at < end {
            let len = usize::try_from(end - at).map_or(FRAME, |left| left.min(FRAME));
            let read = self.source.read(at, len);
            let failed = read.is_err();
            if let (Some(on_read), Ok(frame)) = (&self.on_read, &read) {
                on_read(at, frame);
            }
            if let Some(throttle) = &self.throttle {
                runtime.block_on(throttle.take(len));
            }
            if frames.blocking_send(read).is_err() || failed {
                return;
            }
            at += len as u64;
        }
    }
}

/// Frames from a blocking thread as a request body.
pub(crate) struct Feed {
    /// What is to be sent.
    pub(crate) frames: mpsc::Receiver<io::Result<Bytes>>,
    /// Bytes to come, if known: becomes `Content-Length`.
    pub(crate) left: Option<u64>,
    /// Shows that the request is alive.
    pub(crate) activity: Activity,
    /// Counts what was sent.
    pub(crate) on_bytes: OnBytes,
}

impl http_body::Body for Feed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.frames.poll_recv(context).map(|frame| {
            frame.map(|frame| {
                let frame = frame?;
                let len = frame.len() as u64;
                self.activity.add(len);
                (self.on_bytes)(len);
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(len);
                }
                Ok(Frame::data(frame))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
