//! Tells which HTTP/2 stream a request came on, which hyper does not.
//!
//! The order in which hyper hands requests to their handlers is no safe way to know: some never
//! get there. So the number travels in the request itself: on its way to hyper each block of header
//! fields that opens a stream gets one more field at its end, a literal that leaves the tables of
//! HPACK alone. The listener takes it out again ([`stream_id`]). A client that sends such a field
//! itself, or breaks its own block so that it swallows ours, can only mislead itself: the number is
//! only ever used on its own connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, HeaderName};
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    super::FRAME_BYTES,
    http2::{CONTINUATION, END_HEADERS, HEAD, HEADERS, Head, put_field},
};

/// The field that is added.
const TAG: HeaderName = HeaderName::from_static("cloudstore-http2-stream");
/// What an HTTP/2 connection begins with, ahead of all frames (RFC 9113 section 3.4).
const PREFACE: usize = 24;
/// Flag of a frame with padding, whose length is the first byte of the payload.
const PADDED: u8 = 8;
/// A longer frame is not tagged: with a tag it may not be longer than hyper takes.
const MAX_TAGGED: usize = FRAME_BYTES as usize - 64;
/// Bytes at the beginning of a frame that have to be seen together: head and length of padding.
const BEGINNING: usize = HEAD + 1;

/// The stream of a request that was tagged. Also removes the tag.
pub(in crate::listener) fn stream_id(headers: &mut HeaderMap) -> Option<u32> {
    // Whatever the client sent itself stands before ours.
    let tag = headers.get_all(TAG).iter().next_back()?;
    let id = tag.to_str().ok()?.parse().ok();
    headers.remove(TAG);
    id
}

/// Adds the tags to what is read from a connection.
#[derive(Debug)]
pub(super) struct Tagging {
    /// Read, but not looked at: bytes after a place where something was added, or the beginning of
    /// a frame of which not enough was there.
    raw: BytesMut,
    /// Ready for hyper.
    out: BytesMut,
    /// Bytes of the frame still to come before the tag, if it gets one, else before its end.
    left: usize,
    /// What is to be added then, and the bytes of padding behind it.
    tag: Option<(Vec<u8>, usize)>,
    /// The newest stream. Its numbers only grow; header fields on older ones are trailers.
    newest: u32,
}

impl Default for Tagging {
    fn default() -> Self {
        Self {
            raw: BytesMut::new(),
            out: BytesMut::new(),
            left: PREFACE,
            tag: None,
            newest: 0,
        }
    }
}

impl Tagging {
    /// Reads; `saw` is told of every frame that begins.
    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        mut saw: impl FnMut(Head),
    ) -> Poll<io::Result<()>> {
        loop {
            if buf.remaining() == 0 || self.give(buf) {
                return Poll::Ready(Ok(()));
            }
            if self.raw.is_empty() {
                let before = buf.filled().len();
                ready!(Pin::new(&mut *stream).poll_read(cx, buf))?;
                let fresh = &mut buf.filled_mut()[before..];
                if fresh.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let passed = self.pass(fresh, &mut saw);
                self.raw.extend_from_slice(&fresh[passed..]);
                buf.set_filled(before + passed);
                if passed > 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let mut raw = std::mem::take(&mut self.raw);
            let passed = self.pass(&mut raw, &mut saw);
            self.out = raw.split_to(passed);
            self.raw = raw;
            if passed == 0 && self.tag.is_none() {
                ready!(self.poll_beginning(stream, cx))?;
            }
        }
    }

    /// Hands out what is ready.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.out.is_empty()
            && self.left == 0
            && let Some((tag, padding)) = self.tag.take()
        {
            self.out.extend_from_slice(&tag);
            self.left = padding;
        }
        let len = self.out.len().min(buf.remaining());
        buf.put_slice(&self.out[..len]);
        self.out.advance(len);
        len > 0
    }

    /// Reads on until the beginning of the next frame is there.
    fn poll_beginning<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = [0; BEGINNING];
        let missing = BEGINNING.saturating_sub(self.raw.len()).max(1);
        let mut more = ReadBuf::new(&mut space[..missing]);
        ready!(Pin::new(stream).poll_read(cx, &mut more))?;
        if more.filled().is_empty() {
            // The end, in the middle of a frame: hyper shall see what there is.
            self.out = self.raw.split();
        }
        self.raw.extend_from_slice(more.filled());
        Poll::Ready(Ok(()))
    }

    /// Goes through bytes up to where something is to be added, or the beginning of a frame is
    /// incomplete. Returns how many these are.
    fn pass(&mut self, bytes: &mut [u8], saw: &mut impl FnMut(Head)) -> usize {
        let mut at = 0;
        loop {
            let len = self.left.min(bytes.len() - at);
            self.left -= len;
            at += len;
            if self.left > 0 || self.tag.is_some() {
                return at;
            }
            let Some(head) = bytes[at..].first_chunk_mut::<HEAD>() else {
                return at;
            };
            let mut frame = Head::parse(*head);
            let tagged = self.is_tagged(frame);
            let padded = tagged && frame.kind == HEADERS && frame.flags & PADDED != 0;
            let padding = match bytes.get(at + HEAD) {
                Some(length) if padded => usize::from(*length),
                None if padded => return at,
                _ => 0,
            };
            saw(frame);
            self.left = frame.len;
            // Padding that is longer than its frame is an error, which hyper shall find.
            if tagged && padding + usize::from(padded) <= frame.len {
                let mut tag = Vec::new();
                put_field(&mut tag, TAG.as_str(), frame.stream.to_string().as_bytes());
                self.newest = frame.stream;
                self.left = frame.len - padding;
                frame.len += tag.len();
                bytes[at..at + HEAD].copy_from_slice(&frame.bytes());
                self.tag = Some((tag, padding));
            }
            at += HEAD;
        }
    }

    /// Whether a frame is the end of the block of header fields that opens a stream.
    fn is_tagged(&self, frame: Head) -> bool {
        matches!(frame.kind, HEADERS | CONTINUATION)
            && frame.flags & END_HEADERS != 0
            && frame.stream > self.newest
            && frame.len <= MAX_TAGGED
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{super::http2::RST_STREAM, *};

    /// A connection for its test, read through tags.
    struct Tagged<S>(Tagging, S);

    impl<S: AsyncRead + Unpin> AsyncRead for Tagged<S> {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Self(tagging, stream) = self.get_mut();
            tagging.poll_read(stream, cx, buf, |_| {})
        }
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let head = Head {
            len: payload.len(),
            kind,
            flags,
            stream,
        };
        [head.bytes().as_slice(), payload].concat()
    }

    fn tag(stream: u32) -> Vec<u8> {
        let mut tag = Vec::new();
        put_field(&mut tag, TAG.as_str(), stream.to_string().as_bytes());
        tag
    }

    /// What is sent, and what hyper gets to see. The longest frames have so many bytes.
    fn exchange(longest: usize) -> (Vec<u8>, Vec<u8>) {
        const END_STREAM: u8 = 1;
        const PRIORITY: u8 = 0x20;
        let same = |frame: Vec<u8>| (frame.clone(), frame);
        let tagged = |kind, flags, stream: u32, before: &[u8], after: &[u8]| {
            let all = [before, &tag(stream), after].concat();
            (
                frame(kind, flags, stream, &[before, after].concat()),
                frame(kind, flags, stream, &all),
            )
        };
        let longest = vec![7; longest];
        let frames = [
            same(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
            same(frame(4, 0, 0, b"settings")),
            tagged(HEADERS, END_HEADERS, 1, b"fields", b""),
            same(frame(0, END_STREAM, 1, b"data that is longer than a head")),
            // Trailers, and the end of a block of trailers.
            same(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"trailers")),
            same(frame(CONTINUATION, END_HEADERS, 1, b"trailers")),
            tagged(HEADERS, END_HEADERS | PADDED, 3, b"\x02fields", b"\0\0"),
            tagged(
                HEADERS,
                END_HEADERS | PADDED | PRIORITY,
                5,
                b"\x01\0\0\0\0\0",
                b"\0",
            ),
            tagged(HEADERS, END_HEADERS | PADDED, 7, b"\0", b""),
            // More padding than frame.
            same(frame(HEADERS, END_HEADERS | PADDED, 9, b"\x09")),
            same(frame(HEADERS, END_HEADERS | PADDED, 9, b"")),
            // A block in several frames is tagged at its end.
            same(frame(HEADERS, 0, 11, b"begin")),
            same(frame(CONTINUATION, 0, 11, b"")),
            tagged(CONTINUATION, END_HEADERS, 11, b"", b""),
            tagged(HEADERS, END_HEADERS, 15, &longest, b""),
            same(frame(RST_STREAM, 0, 15, b"\0\0\0\x08")),
            tagged(HEADERS, END_HEADERS, 0x7fff_ffff, b"last", b""),
            // Cut off.
            same(b"\0\0\x05".to_vec()),
        ];
        let (sent, seen): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
        (sent.concat(), seen.concat())
    }

    #[tokio::test]
    async fn requests_are_tagged_and_nothing_else_changes() {
        for piece in [1, 2, 3, 8, 9, 10, 11, 63, 4_096, 1 << 20] {
            for space in [1, 8, 10, 64, 1 << 20] {
                let longest = MAX_TAGGED.min(piece * space).min(piece * 10_000);
                let (sent, expected) = exchange(longest);
                let (mut client, server) = tokio::io::duplex(piece);
                tokio::spawn(async move { client.write_all(&sent).await });
                let mut tagged = Tagged(Tagging::default(), server);
                let mut seen = Vec::new();
                let mut buffer = vec![0; space];
                loop {
                    let read = tagged.read(&mut buffer).await.unwrap();
                    if read == 0 {
                        break;
                    }
                    seen.extend_from_slice(&buffer[..read]);
                }
                assert!(seen == expected, "{piece} {space}");
            }
        }
    }

    #[test]
    fn a_frame_that_would_get_too_long_is_not_tagged() {
        let tagging = Tagging::default();
        for (len, tagged) in [(MAX_TAGGED, true), (MAX_TAGGED + 1, false)] {
            let head = Head {
                len,
                kind: HEADERS,
                flags: END_HEADERS,
                stream: u32::try_from(len).unwrap(),
            };
            assert_eq!(tagging.is_tagged(head), tagged);
        }
        let longest = tag(u32::MAX >> 1).len() + MAX_TAGGED;
        assert!(longest <= FRAME_BYTES as usize);
    }

    #[test]
    fn the_last_tag_counts_and_all_are_removed() {
        let mut headers = HeaderMap::new();
        assert_eq!(stream_id(&mut headers), None);
        for value in ["1", "x", "7"] {
            headers.append(TAG, value.parse().unwrap());
        }
        assert_eq!(stream_id(&mut headers), Some(7));
        assert!(headers.is_empty());
    }
}
