//! gRPC between services: deadlines on every call, and channels that need no socket.

use std::{io, time::Duration};

use cloudstore_proto::account::{ListKeysRequest, account_store_client::AccountStoreClient};
use futures::Stream;
use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    metadata::MetadataValue,
    transport::{Endpoint, Uri},
};

/// A connection to another service that reconnects by itself.
pub type Channel = tonic::transport::Channel;

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

/// A request that fails `DEADLINE_EXCEEDED` after [`DEADLINE`]. It carries the id of the HTTP
/// request being served, if there is one, as `x-request-id`.
pub fn deadline<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(DEADLINE);
    if let Ok(id) = MetadataValue::try_from(crate::http::request_id())
        && !id.is_empty()
    {
        request.metadata_mut().insert("x-request-id", id);
    }
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
    let channel = Endpoint::from_static("http://in-memory").connect_with_connector_lazy(connector);
    (channel, ReceiverStream::new(receiver))
}
