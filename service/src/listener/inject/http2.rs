//! HTTP/2: an interim response is a HEADERS frame on the stream of its request (RFC 9113 section
//! 8.1), and may stand between any two frames except within a block of header fields.

use std::{
    collections::HashSet,
    io,
    task::{Context, Poll},
};

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, ReadBuf};

use super::{Framing, tagging::Tagging};

/// Length of the head of a frame (RFC 9113 section 4.1).
pub(super) const HEAD: usize = 9;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const CONTINUATION: u8 = 9;
/// Flag of the last frame of a block of header fields.
pub(super) const END_HEADERS: u8 = 4;

/// Head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn parse(bytes: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, s, t, u, v] = bytes;
        Self {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // The highest bit is reserved.
            stream: u32::from_be_bytes([s & 0x7f, t, u, v]),
        }
    }

    /// The length must be below 2^24.
    pub(super) fn bytes(self) -> [u8; HEAD] {
        let len = u32::try_from(self.len).unwrap_or(u32::MAX);
        let [_, a, b, c] = len.to_be_bytes();
        let [s, t, u, v] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s, t, u, v]
    }

    fn ends_block(self) -> bool {
        self.flags & END_HEADERS != 0
    }
}

/// Follows the frames that hyper writes, so that an interim response goes between two of them, and
/// never after the first frame of the final response.
#[derive(Debug, Default)]
pub(in crate::listener) struct Http2 {
    tagging: Tagging,
    /// Streams whose final response has not begun. Never more than may be open on a connection.
    open: HashSet<u32>,
    head: [u8; HEAD],
    /// Bytes of `head` that are known.
    known: usize,
    /// Bytes of the payload still to come.
    left: usize,
    /// In a block of header fields that goes on in the next frame.
    in_block: bool,
    /// The first frame, which must be SETTINGS, has begun.
    begun: bool,
}

impl Http2 {
    fn begin_frame(&mut self, head: Head) {
        self.begun = true;
        self.left = head.len;
        match head.kind {
            HEADERS => {
                self.open.remove(&head.stream);
                self.in_block = !head.ends_block();
            }
            RST_STREAM => {
                self.open.remove(&head.stream);
            }
            PUSH_PROMISE | CONTINUATION => self.in_block = !head.ends_block(),
            _ => {}
        }
    }
}

impl Framing for Http2 {
    fn opened(&mut self, id: u32) {
        self.open.insert(id);
    }

    fn answered(&mut self, id: u32) {
        self.open.remove(&id);
    }

    fn is_open(&self, id: u32) -> bool {
        self.open.contains(&id)
    }

    fn at_boundary(&self) -> bool {
        self.begun && self.known == 0 && self.left == 0 && !self.in_block
    }

    fn until_boundary(&self) -> usize {
        if self.left > 0 {
            self.left
        } else {
            HEAD - self.known
        }
    }

    fn wrote(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let len = bytes.len().min(self.until_boundary());
            let (now, later) = bytes.split_at(len);
            bytes = later;
            if self.left > 0 {
                self.left -= len;
                continue;
            }
            self.head[self.known..self.known + len].copy_from_slice(now);
            self.known += len;
            if self.known == HEAD {
                self.known = 0;
                self.begin_frame(Head::parse(self.head));
            }
        }
    }

    fn flushing(&mut self) {}

    /// The fields are literals that stay out of the tables of HPACK, so that they do not disturb
    /// those that hyper keeps (RFC 7541 section 6.2.2).
    fn encode(&self, id: u32, status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
        /// `:status` in the table that is always there (RFC 7541 appendix A).
        const STATUS: u8 = 8;
        let mut block = vec![STATUS];
        put_string(&mut block, status.as_str().as_bytes());
        for (name, value) in headers {
            put_field(&mut block, name.as_str(), value.as_bytes());
        }
        let head = Head {
            len: block.len(),
            kind: HEADERS,
            flags: END_HEADERS,
            stream: id,
        };
        [head.bytes().as_slice(), &block].concat()
    }

    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { tagging, open, .. } = self;
        tagging.poll_read(stream, cx, buf, |head| {
            // Nothing may come on a stream that the client has given up.
            if head.kind == RST_STREAM {
                open.remove(&head.stream);
            }
        })
    }
}

/// A header field as a literal that is not indexed, with a new name.
pub(super) fn put_field(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.push(0);
    put_string(block, name.as_bytes());
    put_string(block, value);
}

/// Not Huffman coded (RFC 7541 section 5.2).
fn put_string(block: &mut Vec<u8>, string: &[u8]) {
    const PREFIX: usize = 0x7f;
    let low = |number: usize| u8::try_from(number & 0x7f).unwrap_or_default();
    if string.len() < PREFIX {
        block.push(low(string.len()));
    } else {
        block.push(low(PREFIX));
        let mut rest = string.len() - PREFIX;
        while rest >= 0x80 {
            block.push(low(rest) | 0x80);
            rest >>= 7;
        }
        block.push(low(rest));
    }
    block.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, len: usize) -> Vec<u8> {
        let head = Head {
            len,
            kind,
            flags,
            stream,
        };
        [head.bytes().to_vec(), vec![0xff; len]].concat()
    }

    #[test]
    fn boundaries_are_between_frames_and_outside_header_blocks() {
        let frames = [
            (frame(4, 0, 0, 18), true),
            (frame(HEADERS, 0, 1, 5), false),
            (frame(CONTINUATION, 0, 1, 0), false),
            (frame(CONTINUATION, END_HEADERS, 1, 7), true),
            (frame(0, 1, 1, 70_000), true),
            (frame(PUSH_PROMISE, 0, 1, 4), false),
            (frame(CONTINUATION, END_HEADERS, 1, 0), true),
            (frame(6, 0, 0, 8), true),
        ];
        for step in [1, 2, 8, 9, 10, 1_000, usize::MAX] {
            let mut framing = Http2::default();
            assert!(!framing.at_boundary(), "before SETTINGS");
            for (bytes, boundary) in &frames {
                let mut pieces = bytes.chunks(step.min(bytes.len())).peekable();
                while let Some(piece) = pieces.next() {
                    framing.wrote(piece);
                    let end = pieces.peek().is_none();
                    assert_eq!(framing.at_boundary(), end && *boundary, "{step}");
                }
            }
            // All at once.
            let mut framing = Http2::default();
            let all: Vec<u8> = frames.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            framing.wrote(&all);
            assert!(framing.at_boundary());
        }
    }

    #[test]
    fn the_final_response_or_a_reset_ends_it() {
        for kind in [HEADERS, RST_STREAM] {
            let mut framing = Http2::default();
            framing.opened(1);
            framing.opened(3);
            framing.wrote(&frame(0, 0, 1, 1));
            assert!(framing.is_open(1));
            framing.wrote(&frame(kind, END_HEADERS, 1, 4)[..HEAD]);
            assert!(!framing.is_open(1) && framing.is_open(3));
            framing.answered(3);
            assert!(!framing.is_open(3));
        }
    }

    #[test]
    fn lengths_of_strings() {
        for (len, expected) in [
            (0, vec![0]),
            (126, vec![126]),
            (127, vec![127, 0]),
            (254, vec![127, 127]),
            (255, vec![127, 128, 1]),
            (127 + 0x4000, vec![127, 128, 128, 1]),
        ] {
            let mut block = Vec::new();
            put_string(&mut block, &vec![b'x'; len]);
            assert_eq!(block.len(), expected.len() + len);
            assert_eq!(block[..expected.len()], expected, "{len}");
        }
    }
}
