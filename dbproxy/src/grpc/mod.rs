//! The gRPC services: check the request, call the store, answer.

mod account;
mod dav;
mod file;
mod share;
mod transfer;
mod upload;

use std::{error::Error, io, sync::Arc, time::Duration};

use cloudstore_proto::{
    DESCRIPTORS, account::account_store_server::AccountStoreServer,
    dav::dav_store_server::DavStoreServer, file::file_store_server::FileStoreServer,
    share::share_store_server::ShareStoreServer,
    transfer::transfer_store_server::TransferStoreServer,
    upload::upload_store_server::UploadStoreServer,
};
use cloudstore_service::{
    Problem, Result,
    position::{METADATA, is_valid},
    trust::Require,
};
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::Connected},
};
use tower::util::option_layer;

use crate::{check::Check, position, store::Store};

/// Largest message in either direction. A batch of 1,000 uploads with paths of 4 KiB is 4.5 MB,
/// more than tonic's default allows.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Idle connections are probed this often, so that dead peers do not keep theirs for ever.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long calls in hand may take to end once the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves the six stores, health and reflection on the connections that come in, until
/// `shutdown`. Calls in hand get ten seconds to end. The store stays open.
///
/// # Errors
/// When accepting connections fails for good.
pub async fn serve<I, C, E>(
    store: Arc<dyn Store>,
    incoming: I,
    shutdown: CancellationToken,
) -> Result<()>
where
    I: Stream<Item = std::result::Result<C, E>> + Send,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    serve_to(store, incoming, None, shutdown).await
}

/// The same, to callers that show a service token only.
///
/// # Errors
/// As [`serve`].
pub async fn serve_trusted<I, C, E>(
    store: Arc<dyn Store>,
    incoming: I,
    require: Require,
    shutdown: CancellationToken,
) -> Result<()>
where
    I: Stream<Item = std::result::Result<C, E>> + Send,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    serve_to(store, incoming, Some(require), shutdown).await
}

async fn serve_to<I, C, E>(
    store: Arc<dyn Store>,
    incoming: I,
    require: Option<Require>,
    shutdown: CancellationToken,
) -> Result<()>
where
    I: Stream<Item = std::result::Result<C, E>> + Send,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    macro_rules! limited {
        ($server:ident, $service:path) => {
            $server::new($service(store.clone()))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_serving::<AccountStoreServer<account::Service>>()
        .await;
    health.set_serving::<FileStoreServer<file::Service>>().await;
    health.set_serving::<DavStoreServer<dav::Service>>().await;
    health
        .set_serving::<ShareStoreServer<share::Service>>()
        .await;
    health
        .set_serving::<UploadStoreServer<upload::Service>>()
        .await;
    health
        .set_serving::<TransferStoreServer<transfer::Service>>()
        .await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(Problem::internal)?;
    let stopping = shutdown.clone();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .layer(option_layer(require))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(limited!(AccountStoreServer, account::Service))
        .add_service(limited!(FileStoreServer, file::Service))
        .add_service(limited!(DavStoreServer, dav::Service))
        .add_service(limited!(ShareStoreServer, share::Service))
        .add_service(limited!(UploadStoreServer, upload::Service))
        .add_service(limited!(TransferStoreServer, transfer::Service))
        .serve_with_incoming_shutdown(incoming, async move {
            stopping.cancelled().await;
            health
                .set_service_status("", tonic_health::ServingStatus::NotServing)
                .await;
        });
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server => ended.map_err(|error| Problem::internal(io::Error::other(error))),
        () = overdue => {
            tracing::warn!("connections were cut that did not drain in time");
            Ok(())
        }
    }
}

/// Serves one call: refuses a message without the form it must have, lets the store see the
/// position that came with it, and sends the one that was reached, with an error as well.
async fn answer<Q, A, F>(
    request: Request<Q>,
    call: impl FnOnce(Q) -> F,
) -> std::result::Result<Response<A>, Status>
where
    Q: Check,
    F: Future<Output = Result<A>>,
{
    let sent = request.metadata().get(METADATA);
    let required = sent
        .and_then(|position| position.to_str().ok())
        .filter(|position| is_valid(position))
        .map(str::to_owned);
    let message = request.into_inner();
    message.check()?;
    let (result, reached) = position::scope(required, call(message)).await;
    let reached = reached.and_then(|position| position.parse().ok());
    match result {
        Ok(reply) => {
            let mut response = Response::new(reply);
            if let Some(reached) = reached {
                response.metadata_mut().insert(METADATA, reached);
            }
            Ok(response)
        }
        Err(problem) => {
            let mut status = Status::from(problem);
            if let Some(reached) = reached {
                status.metadata_mut().insert(METADATA, reached);
            }
            Err(status)
        }
    }
}

/// Implements a service: each method checks its request and hands it to the store.
macro_rules! service {
    ($trait:ident { $($method:ident => $call:ident($request:ty) -> $reply:ty;)* }) => {
        /// The store over gRPC.
        pub(super) struct Service(pub(super) std::sync::Arc<dyn crate::store::Store>);

        #[tonic::async_trait]
        impl $trait for Service {
            $(async fn $method(
                &self,
                request: tonic::Request<$request>,
            ) -> Result<tonic::Response<$reply>, tonic::Status> {
                super::answer(request, |message| self.0.$call(message)).await
            })*
        }
    };
}
use service;
