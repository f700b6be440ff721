//! The servers, and what the rows need to know of them to treat them alike.

pub(crate) mod cloudstore;
pub(crate) mod garage;
pub(crate) mod nginx;
pub(crate) mod rustus;
pub(crate) mod tus_node;

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
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

/// What `make bench` installs outside the checkout is here, below the home directory.
const TOOLS: &str = ".cache/cloudstore/tools";

/// The directory of what `make bench` installs.
fn tools() -> PathBuf {
    let home = env::var_os("HOME").unwrap_or_default();
    let tools = env::var_os("CLOUDSTORE_TOOLS");
    tools.map_or_else(|| Path::new(&home).join(TOOLS), PathBuf::from)
}

/// Finds a program on PATH or among those that `make bench` installs.
fn find(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = [tools().join("bin")]
        .into_iter()
        .chain(env::split_paths(&path));
    let mut programs = dirs
        .chain(env::split_paths(SYSTEM_DIRS))
        .map(|dir| dir.join(name));
    programs.find(|program| program.is_file()).ok_or_else(|| {
        Error::new(format!(
            "{name} was not found on PATH: `make bench` installs it"
        ))
    })
}

/// First line of what a program says about its version.
fn version(program: Result<PathBuf>, argument: &str) -> Option<String> {
    let output = Command::new(program.ok()?).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned)
}

/// The address in the line with which a server says that it is ready.
fn listening_on(name: &str, line: &str) -> Result<SocketAddr> {
    let address = line.trim().strip_prefix("listening on http://");
    let address = address.and_then(|address| address.trim_end_matches('/').parse().ok());
    address.ok_or_else(|| Error::new(format!("{name} said {:?}", line.trim())))
}

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
    /// A server that asks for no credentials and is spoken to only in [`Target::request`]s.
    fn open(address: SocketAddr) -> Self {
        Self {
            address,
            content_root: "",
            entry_root: "",
            authorization: None,
        }
    }

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

    /// Removes a file for good; who knows no trash does not look at the query.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let url = format!("{}{path}?permanent=true", self.entry_root);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address() {
        let address = listening_on("x", "listening on http://127.0.0.1:4711\n").unwrap();
        assert_eq!(address, SocketAddr::from(([127, 0, 0, 1], 4711)));
        assert!(listening_on("x", "hello").is_err());
    }
}
