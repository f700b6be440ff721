//! HTTP/1.1: an interim response may stand between complete messages (RFC 9112 section 2.1), and
//! must come before the final response of its own request.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, ReadBuf};

use super::Framing;

/// Knows by four things that hyper does when nothing of hyper's is cut in two:
/// - it takes the next request only when it has put all of the response before into its buffer;
/// - it flushes only when its buffer was written to the end, and does so after each round in which
///   it took or answered a request;
/// - between a request and the handler's answer it writes nothing, or `100 Continue`;
/// - it writes a final response only after the handler's answer.
///
/// So from the first flush after a request was taken, until its answer, the connection is between
/// messages, unless hyper wrote (part of) a `100 Continue` and has not flushed since.
#[derive(Debug, Default)]
pub(in crate::listener) struct Http1 {
    /// The request that its handler has not answered, and where the connection is.
    current: Option<(u32, Position)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Some of the last response, or of `100 Continue`, may not be written yet.
    Unknown,
    BetweenMessages,
}

impl Framing for Http1 {
    fn opened(&mut self, id: u32) {
        self.current = Some((id, Position::Unknown));
    }

    fn answered(&mut self, id: u32) {
        if self.is_open(id) {
            self.current = None;
        }
    }

    fn is_open(&self, id: u32) -> bool {
        self.current.is_some_and(|(current, _)| current == id)
    }

    fn at_boundary(&self) -> bool {
        matches!(self.current, Some((_, Position::BetweenMessages)))
    }

    fn until_boundary(&self) -> usize {
        usize::MAX
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if let Some((_, position)) = &mut self.current
            && !bytes.is_empty()
        {
            *position = Position::Unknown;
        }
    }

    fn flushing(&mut self) {
        if let Some((_, position)) = &mut self.current {
            *position = Position::BetweenMessages;
        }
    }

    fn encode(&self, _id: u32, status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
        let reason = status.canonical_reason().unwrap_or_default();
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(stream).poll_read(cx, buf)
    }
}
