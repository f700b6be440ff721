//! A server that answers whatever a test wants, also what no honest server would.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use crate::support::{Ran, User};

const ID: &str = "01a1f75c-5e82-76e4-857c-44d76633e5a4";
const TIME: &str = "2026-01-01T00:00:00.000Z";

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    /// What of it arrived.
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Answers each request on a connection of its own until the test ends.
pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(crate) fn start(
        answer: impl Fn(&Asked, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (asked.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (log.clone(), answer.clone());
                thread::spawn(move || {
                    let mut stream = stream?;
                    let asked = read(&stream)?;
                    log.lock().unwrap().push(asked.clone());
                    answer(&asked, &mut stream)
                });
            }
        });
        Self { url, asked }
    }

    /// A command against this server.
    pub(crate) fn run(&self, user: &User, args: &[&str]) -> Ran {
        let mut command = user.command(&[&["--server", &self.url], args].concat());
        let ran = command.env("CLOUDSTORE_TOKEN", "token").output();
        ran.unwrap().into()
    }

    /// What it was asked for so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> io::Result<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let mut asked = Asked {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length = asked.header("content-length").and_then(|n| n.parse().ok());
    // A connection that ends early has sent what it has sent.
    let _ = reader
        .take(length.unwrap_or(0))
        .read_to_end(&mut asked.body);
    Ok(asked)
}

/// The head of an answer; the connection ends with the answer.
pub(crate) fn head(stream: &mut TcpStream, status: u16, headers: &[&str]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status} x\r\nConnection: close\r\n")?;
    for header in headers {
        write!(stream, "{header}\r\n")?;
    }
    write!(stream, "\r\n")
}

/// A whole JSON answer.
pub(crate) fn answer(stream: &mut TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let length = format!("Content-Length: {}", body.len());
    head(stream, status, &["Content-Type: application/json", &length])?;
    stream.write_all(body.as_bytes())
}

/// A problem.
pub(crate) fn problem(slug: &str, status: u16, detail: &str) -> Value {
    let kind = format!("/problems/{slug}");
    json!({ "type": kind, "title": slug, "status": status, "detail": detail })
}

pub(crate) fn file(path: &str, size: u64, blake3: &str) -> Value {
    json!({
        "kind": "file", "id": ID, "path": path, "size": size, "blake3": blake3,
        "media_type": "text/plain", "created_at": TIME, "modified_at": TIME, "state": "stored",
    })
}

/// A folder as it appears in a list, or with a list of its own.
pub(crate) fn folder(path: &str, entries: Option<&[Value]>, next_cursor: Option<&str>) -> Value {
    json!({
        "kind": "folder", "id": ID, "path": path, "created_at": TIME, "modified_at": TIME,
        "entries": entries, "next_cursor": next_cursor,
    })
}

/// An upload of one chunk that has not arrived.
pub(crate) fn upload(path: &str, size: u64) -> Value {
    json!({
        "status": "uploading", "id": ID, "path": path, "size": size, "chunk_size": 8 << 20,
        "chunk_count": 1, "received": 0, "missing": [[0, 0]],
        "expires_at": "2999-01-01T00:00:00.000Z", "location": format!("/api/v1/uploads/{ID}"),
    })
}

pub(crate) fn account() -> Value {
    json!({
        "id": ID, "username": "alice", "email": "", "display_name": "", "quota_bytes": 1_u64 << 40,
        "used_bytes": 0, "reserved_bytes": 0, "created_at": TIME,
    })
}
