//! Staged copies of other nodes, through the internal interface of their upload-svc.
//!
//! ```text
//! GET  /internal/v1/staging/{id}           the content; ranges
//! GET  /internal/v1/staging/{id}/outboard  the group values
//! GET  /internal/v1/staging/{id}/part?account={id}  an unfinished part; 409 until it is complete
//! POST /internal/v1/staging/remove         {"ids": [..]}
//! ```

use std::{fmt, io, net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cloudstore_content::{Outboard, Root, tree::group_count};
use futures::{StreamExt as _, stream};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
    redirect,
};
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

use super::{
    Content, Error, LocalStaging, RemoteCopy, Staged, StagedBlobs, Tokens, VALUE_BYTES, blocking,
};
use crate::{blob::ByteStream, discovery::Instances};

/// The service that has the staged copies, as tokens name it.
const AUDIENCE: &str = "upload-svc";
/// A node in the same network that does not take a connection within this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for the head of an answer. The node may have to ask dbproxy first, which has 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for the next piece of an answer, counted while somebody waits for it.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Unused connections are closed after this time: before the other side does it, after 10 s, so
/// that no request is sent into a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Unused connections kept for each node.
const IDLE_CONNECTIONS: usize = 16;
/// Ids in one call to remove copies; the other side takes no more.
const MAX_REMOVED: usize = 1_000;

/// The staged copies of all nodes: those of this node from its own disk, the others over HTTP.
pub struct HttpStaging {
    own_node: String,
    local: Option<LocalStaging>,
    remote: Arc<Remote>,
}

impl HttpStaging {
    /// `own_node` and `local`: this machine's staging directory, if it has one. `peers`: the
    /// instances of upload-svc. `token` makes this process's tokens.
    ///
    /// # Panics
    /// When the process has no TLS provider: the HTTP client insists on one.
    #[must_use]
    pub fn new(
        own_node: String,
        local: Option<LocalStaging>,
        peers: watch::Receiver<Instances>,
        token: Tokens,
    ) -> Self {
        let client = Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build()
            .expect("invariant: these options are valid");
        Self {
            own_node,
            local,
            remote: Arc::new(Remote {
                client,
                peers,
                token,
            }),
        }
    }

    fn local(&self, node: &str) -> Option<&LocalStaging> {
        self.local.as_ref().filter(|_| node == self.own_node)
    }
}

#[async_trait]
impl StagedBlobs for HttpStaging {
    async fn open(&self, node: &str, id: Uuid, size: u64, root: &Root) -> Result<Staged, Error> {
        if let Some(local) = self.local(node) {
            return local.open(node, id, size, root).await;
        }
        let copy = Copy {
            remote: self.remote.clone(),
            node: node.to_owned(),
            path: id.to_string(),
            size,
        };
        let (length, outboard) = futures::join!(copy.check_length(), copy.outboard(*root));
        // A wrong length explains whatever is wrong with the values.
        length?;
        let outboard = Arc::new(outboard?);
        Ok(Staged {
            content: Content::Remote(Arc::new(copy)),
            outboard,
        })
    }

    async fn open_part(
        &self,
        node: &str,
        account: Uuid,
        id: Uuid,
    ) -> Result<Option<(Content, u64)>, Error> {
        let path = format!("{id}/part?account={account}");
        let answer = answer(self.remote.request(node, Method::HEAD, &path)?).await?;
        if answer.status() == StatusCode::CONFLICT {
            return Ok(None);
        }
        let size = length(&answer)?;
        let copy = Copy {
            remote: self.remote.clone(),
            node: node.to_owned(),
            path,
            size,
        };
        Ok(Some((Content::Remote(Arc::new(copy)), size)))
    }

    async fn remove(&self, node: &str, ids: &[Uuid]) -> Result<(), Error> {
        if let Some(local) = self.local(node) {
            return local.remove(node, ids).await;
        }
        let mut outcome = Ok(());
        for ids in ids.chunks(MAX_REMOVED) {
            let body = serde_json::json!({ "ids": ids });
            let request = self.remote.request(node, Method::POST, "remove")?;
            let removed = answer(request.json(&body)).await;
            if let Err(error) = removed.and_then(|answer| expect(&answer, StatusCode::NO_CONTENT)) {
                outcome = Err(error);
            }
        }
        outcome
    }
}

/// How the other nodes are reached.
struct Remote {
    client: Client,
    peers: watch::Receiver<Instances>,
    token: Tokens,
}

impl Remote {
    /// A request to wherever the node is now.
    fn request(&self, node: &str, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let address = self.address(node)?;
        let url = format!("http://{address}/internal/v1/staging/{path}");
        let request = self.client.request(method, url);
        Ok(request.bearer_auth((self.token)(AUDIENCE)))
    }

    fn address(&self, node: &str) -> Result<SocketAddr, Error> {
        let peers = self.peers.borrow();
        let found = peers.iter().find(|peer| peer.id == node);
        let missing = || io::Error::new(io::ErrorKind::NotConnected, format!("no node {node}"));
        found
            .map(|peer| peer.address)
            .ok_or_else(|| Error::Unavailable(missing()))
    }
}

/// A copy on another node. The node is looked up for each request: it may have moved.
struct Copy {
    remote: Arc<Remote>,
    node: String,
    /// Below the interface's own.
    path: String,
    size: u64,
}

impl fmt::Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copy")
            .field("node", &self.node)
            .field("path", &self.path)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Copy {
    fn request(&self, method: Method, what: &str) -> Result<RequestBuilder, Error> {
        let path = format!("{}{what}", self.path);
        self.remote.request(&self.node, method, &path)
    }

    async fn check_length(&self) -> Result<(), Error> {
        let answer = answer(self.request(Method::HEAD, "")?).await?;
        if length(&answer)? == self.size {
            return Ok(());
        }
        Err(Error::Damaged)
    }

    async fn outboard(&self, root: Root) -> Result<Outboard, Error> {
        let size = self.size;
        if group_count(size) == 1 {
            return Ok(Outboard::single(size, root));
        }
        let expected = usize::try_from(group_count(size) * VALUE_BYTES);
        let expected = expected.map_err(|_| Error::Damaged)?;
        let mut answer = answer(self.request(Method::GET, "/outboard")?).await?;
        expect(&answer, StatusCode::OK)?;
        let mut values = BytesMut::new();
        while let Some(piece) = next(&mut answer).await? {
            values.extend_from_slice(&piece);
            if values.len() > expected {
                return Err(Error::Damaged);
            }
        }
        blocking(move || Outboard::decode(size, &root, &values).map_err(|_| Error::Damaged)).await
    }
}

#[async_trait]
impl RemoteCopy for Copy {
    async fn read(&self, range: Range<u64>) -> Result<ByteStream, Error> {
        let (first, last) = (range.start, range.end - 1);
        let request = self.request(Method::GET, "")?;
        let answer = answer(request.header(RANGE, format!("bytes={first}-{last}"))).await?;
        expect(&answer, StatusCode::PARTIAL_CONTENT)?;
        let expected = format!("bytes {first}-{last}/{}", self.size);
        if header(&answer, CONTENT_RANGE.as_str()) != Some(&expected) {
            return Err(unavailable("another range was answered than asked for"));
        }
        Ok(exactly(answer, range.end - range.start))
    }
}

/// The length of what was asked for.
fn length(answer: &Response) -> Result<u64, Error> {
    expect(answer, StatusCode::OK)?;
    let length = header(answer, CONTENT_LENGTH.as_str());
    let length = length.and_then(|length| length.parse().ok());
    length.ok_or_else(|| unavailable("a length is missing in the answer"))
}

/// The body of an answer, which must have exactly this length.
fn exactly(answer: Response, len: u64) -> ByteStream {
    stream::try_unfold((answer, len), async |(mut answer, left)| {
        if left == 0 {
            return Ok(None);
        }
        let piece = next(&mut answer).await.map_err(into_io)?;
        let piece = piece.ok_or(io::ErrorKind::UnexpectedEof)?;
        let left = left.checked_sub(piece.len() as u64);
        let left = left.ok_or_else(|| io::Error::other("more bytes than asked for"))?;
        Ok(Some((piece, (answer, left))))
    })
    .boxed()
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Unavailable(error) => error,
        other => io::Error::other(other),
    }
}

/// Sends a request and waits for the head of the answer.
async fn answer(request: RequestBuilder) -> Result<Response, Error> {
    let answer = timeout(ANSWER_TIMEOUT, request.send()).await;
    let answer = answer.map_err(|_| unavailable("the node does not answer"))?;
    answer.map_err(|error| unavailable(error.without_url()))
}

/// The next piece of a body. The clock only runs here: a slow reader is not the node's fault.
async fn next(answer: &mut Response) -> Result<Option<Bytes>, Error> {
    let piece = timeout(STALL_TIMEOUT, answer.chunk()).await;
    let piece = piece.map_err(|_| unavailable("the answer stopped arriving"))?;
    piece.map_err(|error| unavailable(error.without_url()))
}

fn expect(answer: &Response, status: StatusCode) -> Result<(), Error> {
    match answer.status() {
        found if found == status => Ok(()),
        StatusCode::NOT_FOUND => Err(Error::NotFound),
        // A range inside the blob is outside the copy.
        StatusCode::RANGE_NOT_SATISFIABLE => Err(Error::Damaged),
        found => Err(unavailable(format!("the node answered {found}"))),
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unavailable(io::Error::other(cause))
}
