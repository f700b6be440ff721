//! A connection without an HTTP library in between: for requests that no library sends and for
//! connections that break off at a chosen byte.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Answer, CutOff, User};

/// Longer than any answer takes, the server's own limits of 30 s included.
const PATIENCE: Duration = Duration::from_secs(45);

/// An HTTP/1.1 connection.
pub(crate) struct Raw {
    stream: TcpStream,
    authority: String,
    buffer: BytesMut,
}

impl Raw {
    /// To the server under test.
    pub(crate) async fn connect(base: &str) -> Self {
        let url = Url::parse(base).unwrap();
        let port = url.port_or_known_default().unwrap();
        let authority = format!("{}:{port}", url.host_str().unwrap());
        let stream = TcpStream::connect(&authority).await.unwrap();
        Self {
            stream,
            authority,
            buffer: BytesMut::new(),
        }
    }

    /// With a receive buffer so small that the server cannot send much ahead of the reader.
    pub(crate) async fn connect_slowly(base: &str) -> Self {
        let mut raw = Self::connect(base).await;
        let address = raw.stream.peer_addr().unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        raw.stream = socket.connect(address).await.unwrap();
        raw
    }

    /// Sends the head of a request; `headers` are further lines without line ends.
    pub(crate) async fn head(&mut self, user: &User, request: &str, headers: &[&str]) {
        let authorization = format!("authorization: Bearer {}", user.token);
        let mut lines = vec![authorization.as_str()];
        lines.extend(headers);
        self.anonymous_head(request, &lines).await;
    }

    /// The same without a token.
    pub(crate) async fn anonymous_head(&mut self, request: &str, headers: &[&str]) {
        let mut head = format!("{request} HTTP/1.1\r\nhost: {}\r\n", self.authority);
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.send(head.as_bytes()).await;
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    /// The same, when the server may have closed the connection.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Closes with a reset, as a device does that lost its network.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Ends the sending direction and goes on reading.
    pub(crate) async fn finish_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads the head of the next answer, 1xx included.
    pub(crate) async fn read_head(&mut self) -> Answer {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                return parse(&head[..end]);
            }
            assert!(
                self.fill().await.unwrap() > 0,
                "the connection ended before an answer"
            );
        }
    }

    /// Reads the head of the next answer that is none of 1xx.
    pub(crate) async fn read_final_head(&mut self) -> Answer {
        loop {
            let head = self.read_head().await;
            if head.status >= 200 {
                return head;
            }
        }
    }

    /// Reads up to `len` bytes of a body whose head was read; fewer only at the end of the
    /// connection.
    pub(crate) async fn read_body(&mut self, len: usize) -> Result<Bytes, CutOff> {
        while self.buffer.len() < len {
            match self.fill().await {
                Ok(0) | Err(_) => return Err(CutOff),
                Ok(_) => {}
            }
        }
        Ok(self.buffer.split_to(len).freeze())
    }

    /// Reads a whole answer that has a Content-Length.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.read_head().await;
        self.body_of(head).await
    }

    /// Reads the rest of an answer whose head was read.
    pub(crate) async fn body_of(&mut self, mut answer: Answer) -> Answer {
        let len = answer.header("content-length").parse().unwrap_or(0);
        answer.body = self.read_body(len).await.expect("the whole body");
        answer
    }

    /// Does the connection end here, without another answer?
    pub(crate) async fn ends(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.fill().await, Ok(0) | Err(_))
    }

    /// Has the server closed the connection?
    pub(crate) async fn is_closed(&mut self) -> bool {
        loop {
            match self.fill().await {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("the server neither answers nor closes the connection")
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn parse(head: &[u8]) -> Answer {
    let text = std::str::from_utf8(head).unwrap();
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap();
    let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value.trim()).unwrap(),
        );
    }
    Answer {
        what: "raw request".to_owned(),
        status,
        headers,
        body: Bytes::new(),
    }
}
