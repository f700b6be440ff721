//! HTTP/1 or HTTP/2, told from the first bytes of a connection (RFC 9113 section 3.4).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What a client with prior knowledge of HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// Reads until the version is certain; returns it with the bytes read, which belong to the
/// protocol. The caller limits the time.
///
/// # Errors
/// When reading fails, and `UnexpectedEof` when the client closes without having sent anything.
pub(super) async fn version(io: &mut (impl AsyncRead + Unpin)) -> io::Result<(Version, Bytes)> {
    let mut read = BytesMut::with_capacity(PREFACE.len());
    loop {
        let more = io.read_buf(&mut read).await?;
        if read.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let version = if read.starts_with(PREFACE) {
            Version::Http2
        } else if more == 0 || !PREFACE.starts_with(&read) {
            Version::Http1
        } else {
            continue;
        };
        return Ok((version, read.freeze()));
    }
}

/// A stream of which some bytes were read already.
pub(super) struct Rewind<S> {
    read: Bytes,
    stream: S,
}

impl<S> Rewind<S> {
    pub(super) fn new(read: Bytes, stream: S) -> Self {
        Self { read, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.read.len().min(buf.remaining());
        buf.put_slice(&self.read[..len]);
        self.read.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn tells_the_versions_apart_and_gives_the_bytes_back() {
        let next = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), b"frames"].concat();
        for (sent, expected) in [
            (b"GET / HTTP/1.0\r\n\r\n".as_slice(), Version::Http1),
            (b"PRI * HTTP/1.1\r\n\r\n", Version::Http1),
            (b"PUT /x HTTP/1.1\r\n\r\n", Version::Http1),
            (b"P", Version::Http1),
            (&next, Version::Http2),
        ] {
            // A pipe of three bytes makes every read a short one.
            let (mut client, mut server) = tokio::io::duplex(3);
            let to_send = sent.to_vec();
            let writer = tokio::spawn(async move { client.write_all(&to_send).await });
            let (version, read) = version(&mut server).await.unwrap();
            assert_eq!(version, expected);
            let mut all = Vec::new();
            Rewind::new(read, server)
                .read_to_end(&mut all)
                .await
                .unwrap();
            assert_eq!(all, sent);
            writer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_silent_client_is_an_error() {
        let (client, mut server) = tokio::io::duplex(8);
        drop(client);
        assert!(version(&mut server).await.is_err());
    }
}
