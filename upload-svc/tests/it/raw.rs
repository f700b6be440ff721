//! A client that does exactly what a test says, byte by byte.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::cluster::PATIENCE;

pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self(TcpStream::connect(to).await.unwrap())
    }

    /// Sends a head; lines without their ends.
    pub(crate) async fn head(&mut self, lines: &[&str]) {
        let head = format!("{}\r\nhost: test\r\n\r\n", lines.join("\r\n"));
        self.0.write_all(head.as_bytes()).await.unwrap();
    }

    /// The next head: its status and its text in lower case.
    pub(crate) async fn answer(&mut self) -> (u16, String) {
        let head = timeout(PATIENCE, async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
            String::from_utf8(head).unwrap()
        });
        let head = head.await.expect("an answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase())
    }
}

impl Raw {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(PATIENCE, self.0.write_all(bytes)).await;
        sent.expect("the bytes are taken").unwrap();
    }
}

impl Raw {
    /// For the other side of a connection: the head of the next request, in lower case.
    pub(crate) async fn head_of_request(&mut self) -> (String, String) {
        let head = timeout(PATIENCE, async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
            String::from_utf8(head).unwrap().to_lowercase()
        });
        let head = head.await.expect("a request");
        let line = head.lines().next().unwrap().to_owned();
        (line, head)
    }
}
