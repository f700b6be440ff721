//! The servers, and what the rows need to know of them to treat them alike.

pub(crate) mod cloudstore;
pub(crate) mod garage;
pub(crate) mod nginx;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use hyper::{Method, Request, header};

use crate::{
    client::{Answer, Connection, Payload},
    content::Content,
    error::{Context as _, Error, Result},
};

/// Directories that hold system programs and are not on everybody's PATH.
const SYSTEM_DIRS: &str = "/usr/sbin:/usr/local/sbin:/sbin";

/// Where a server takes and gives files.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// URL path before a file's path, to put and get its content.
    content_root: &'static str,
    /// URL path before a file's path, to delete it.
    entry_root: &'static str,
    /// Value of the Authorization header.
    authorization: Option<String>,
}

impl Target {
    /// Any request.
    pub(crate) fn request(&self, method: Method, url: &str, body: Payload) -> Request<Payload> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::HOST, self.host());
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request
            .body(body)
            .expect("invariant: URLs and tokens are plain ASCII")
    }

    /// A request with a body in JSON.
    pub(crate) fn json(&self, url: &str, body: &impl serde::Serialize) -> Request<Payload> {
        let mut request = self.request(Method::POST, url, Payload::json(body));
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        request
    }

    /// Uploads a whole file; `path` starts with a slash.
    pub(crate) fn put(&self, path: &str, body: Payload) -> Request<Payload> {
        self.request(Method::PUT, &format!("{}{path}", self.content_root), body)
    }

    /// Seconds from the first byte of the request to the last of the answer, on a connection that
    /// is open already.
    pub(crate) async fn timed_put(
        &self,
        path: &str,
        content: &Content,
    ) -> Result<(Duration, Answer)> {
        let mut connection = Connection::open(self.address).await?;
        let request = self.put(path, Payload::new(content.parts(0..content.size())));
        let start = Instant::now();
        let answer = connection.call(request).await?;
        let time = start.elapsed();
        answer.success().context(path)?;
        Ok((time, answer))
    }

    /// Time from the request to the last of the `size` bytes of the file.
    pub(crate) async fn timed_get(&self, path: &str, size: u64) -> Result<Duration> {
        let mut connection = Connection::open(self.address).await?;
        let mut received = 0;
        let request = self.get(path);
        let start = Instant::now();
        connection
            .read(request, |data| received += data.len() as u64)
            .await?;
        let time = start.elapsed();
        if received == size {
            Ok(time)
        } else {
            Err(Error::new(format!(
                "{path} has {size} bytes, {received} arrived"
            )))
        }
    }

    /// Downloads a file and compares it with what it should be.
    pub(crate) async fn verify(&self, path: &str, content: &Content) -> Result<()> {
        let mut connection = Connection::open(self.address).await?;
        let mut hasher = blake3::Hasher::new();
        connection
            .read(self.get(path), |data| {
                hasher.update(data);
            })
            .await?;
        if hasher.finalize().to_hex().as_str() == content.blake3() {
            Ok(())
        } else {
            Err(Error::new(format!("{path} came back with other bytes")))
        }
    }

    /// Removes a file.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let url = format!("{}{path}", self.entry_root);
        let request = self.request(Method::DELETE, &url, Payload::empty());
        let mut connection = Connection::open(self.address).await?;
        connection
            .call(request)
            .await?
            .success()
            .context(format_args!("deleting {path}"))?;
        Ok(())
    }

    fn get(&self, path: &str) -> Request<Payload> {
        self.request(
            Method::GET,
            &format!("{}{path}", self.content_root),
            Payload::empty(),
        )
    }

    fn host(&self) -> String {
        self.address.to_string()
    }
}
