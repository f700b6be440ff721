//! WebDAV: what RFC 4918 demands, row by row, and what a person does with it.

mod locks;
mod properties;
mod resumable;
mod rules;
mod transfer;
mod trees;

use reqwest::{Method, RequestBuilder};

use crate::support::{Answer, User, encode, send};

/// One request, and what the RFC says of its answer.
struct Row {
    /// Of RFC 4918, unless another one is named.
    section: &'static str,
    request: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
}

/// A request without a body: method and path, `Name: value` pairs, status.
const fn row(
    section: &'static str,
    request: &'static str,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
) -> Row {
    Row {
        section,
        request,
        headers,
        body: "",
        status,
    }
}

impl Row {
    const fn with(self, body: &'static str) -> Self {
        Self { body, ..self }
    }
}

/// Sends the requests one after the other. Destinations are given as paths.
async fn play(user: &User, rows: &[Row]) {
    for (number, row) in rows.iter().enumerate() {
        let (method, path) = row.request.split_once(' ').unwrap();
        let mut request = user.dav(method, path);
        for (name, value) in row.headers {
            request = match *name {
                "Destination" => request.header("destination", user.destination(value)),
                name => request.header(name, *value),
            };
        }
        if !row.body.is_empty() {
            request = request.body(row.body);
        }
        let answer = send(request).await;
        assert_eq!(
            answer.status,
            row.status,
            "row {number}, section {}: {} {:?}: {}",
            row.section,
            row.request,
            row.headers,
            answer.text()
        );
    }
}

impl User {
    /// A request below `/dav`.
    fn dav(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.request(method, &format!("/dav{}", encode(path)))
    }

    /// The value of `Destination`.
    fn destination(&self, path: &str) -> String {
        format!("{}/dav{}", self.api.base, encode(path))
    }

    async fn dav_put(&self, path: &str, content: &[u8]) -> Answer {
        send(self.dav("PUT", path).body(content.to_vec())).await
    }

    async fn dav_get(&self, path: &str) -> Answer {
        send(self.dav("GET", path)).await
    }

    /// COPY or MOVE.
    async fn transplant(&self, method: &str, from: &str, to: &str) -> Answer {
        let to = self.destination(to);
        send(self.dav(method, from).header("destination", to)).await
    }

    async fn propfind(&self, path: &str, depth: &str, body: &str) -> String {
        let request = self.dav("PROPFIND", path).header("depth", depth);
        let answer = send(request.body(body.to_owned())).await.status(207);
        assert_eq!(
            answer.header("content-type"),
            "application/xml; charset=utf-8"
        );
        String::from_utf8(answer.body.to_vec()).unwrap()
    }
}

/// The text of every element of WebDAV with this name, in order.
fn texts<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let (start, end) = (format!("<D:{name}>"), format!("</D:{name}>"));
    let parts = document.split(&start).skip(1);
    parts.map(|part| part.split(&end).next().unwrap()).collect()
}
