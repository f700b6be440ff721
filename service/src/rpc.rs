//! gRPC between services: channels that find an instance, say who calls and for which request,
//! and repeat what can be repeated; deadlines on every call; channels that need no socket.

mod call;
mod deadline;
mod instances;

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use cloudstore_proto::account::{ListKeysRequest, account_store_client::AccountStoreClient};
use futures::Stream;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::{
    io::DuplexStream,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status,
    body::Body,
    transport::{Endpoint, Uri},
};
use tower::Service;

use crate::{context::Context, trust::Identity};
use call::Call;
use instances::Balance;

/// How long a call may take. Every method is one short database transaction; whoever waits longer
/// than this has given up.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Largest message in either direction: a batch of 1,000 entries whose paths have the greatest
/// length they may have, twice.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Bytes in flight in each direction of an in-memory connection.
const PIPE_BYTES: usize = 1 << 20;
/// Connections that may wait for the server of [`in_memory`]; a channel opens one at a time.
const PENDING_CONNECTIONS: usize = 16;

/// The way to a service, for the generated clients. Clones share it.
///
/// Each call says who calls (with an [`Identity`]) and for which request, ends at its deadline
/// ([`DEADLINE`] unless it has its own), and tells the request's context the position that the
/// answer carries. What fails `UNAVAILABLE` is tried again, so every method must be idempotent, and
/// unary: requests and answers are held in memory.
#[derive(Clone, Debug)]
pub struct Channel {
    way: Way,
    identity: Option<(Identity, &'static str)>,
}

#[derive(Clone)]
enum Way {
    /// One peer, which is there or not.
    One(tonic::transport::Channel),
    /// Whichever instance is best.
    Instances(Arc<Balance>),
}

impl Channel {
    /// Shows tokens of `identity` that are made for `audience`.
    #[must_use]
    pub fn with_identity(mut self, identity: Identity, audience: &'static str) -> Self {
        self.identity = Some((identity, audience));
        self
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(_) => f.write_str("One"),
            Self::Instances(balance) => balance.fmt(f),
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Status>> {
        // Whether there is a connection shows when an instance was chosen.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::new(self.clone(), Context::current());
        Box::pin(call.run(request))
    }
}

/// A channel to the instances that are being watched, whichever they are at the time of a call.
///
/// Connections are made when they are needed and kept. Calls go to the less busy of two instances
/// chosen at random; one that failed is left alone for a while, if there are others. An instance
/// that vanishes gets no further calls, and ends those it has. While there is none, calls wait a
/// second and then fail `UNAVAILABLE`.
#[must_use]
pub fn connect(
    instances: watch::Receiver<Vec<SocketAddr>>,
    identity: Identity,
    audience: &'static str,
) -> Channel {
    let way = Way::Instances(Arc::new(Balance::new(audience, instances)));
    Channel {
        way,
        identity: Some((identity, audience)),
    }
}

/// A request that fails `DEADLINE_EXCEEDED` after [`DEADLINE`].
pub fn deadline<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// Does dbproxy answer? For readiness checks.
///
/// # Errors
/// Why not, for the log.
pub async fn check(channel: Channel) -> Result<(), String> {
    let mut accounts = AccountStoreClient::new(channel);
    let answer = accounts.list_keys(deadline(ListKeysRequest {})).await;
    answer.map(|_| ()).map_err(|status| status.to_string())
}

/// A lazily connecting channel whose connections are pipes handed to the stream, for tonic's
/// `serve_with_incoming`. When the stream is dropped, calls fail `UNAVAILABLE`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn in_memory() -> (
    Channel,
    impl Stream<Item = io::Result<DuplexStream>> + Send + use<>,
) {
    let (sender, receiver) = mpsc::channel(PENDING_CONNECTIONS);
    let connector = tower::service_fn(move |_: Uri| {
        let sender = sender.clone();
        async move {
            let (client, server) = tokio::io::duplex(PIPE_BYTES);
            match sender.send(Ok(server)).await {
                Ok(()) => Ok(TokioIo::new(client)),
                Err(_) => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
            }
        }
    });
    // The address is only a label: the connector above ignores it.
    let endpoint = Endpoint::from_static("http://in-memory");
    let channel = Channel {
        way: Way::One(endpoint.connect_with_connector_lazy(connector)),
        identity: None,
    };
    (channel, ReceiverStream::new(receiver))
}
