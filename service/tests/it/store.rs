//! A gRPC server whose answers are scripted, and what it was asked.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use cloudstore_proto::account::{ListKeysRequest, account_store_client::AccountStoreClient};
use cloudstore_service::{Problem, rpc::Channel};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes, transport::Server};

/// What becomes of a call.
pub(crate) enum Answer {
    /// An empty message.
    Good,
    /// The same, and a position.
    At(&'static str),
    Status(Status),
    Problem(Problem),
    /// It begins and breaks off.
    Broken,
    /// Good, once somebody says so.
    When(Arc<Notify>),
}

/// What a store was asked, and what it will say. When there is nothing more to say, all is good.
#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    pub(crate) entered: Arc<Notify>,
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let script = Self::default();
        script.answers.lock().unwrap().extend(answers);
        script
    }

    /// Headers of the calls so far.
    pub(crate) fn seen(&self) -> Vec<HeaderMap> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn routes(&self) -> Routes {
        let script = self.clone();
        let handler = move |headers: HeaderMap| {
            let script = script.clone();
            async move { script.answer(headers).await }
        };
        Routes::from(Router::new().fallback(handler))
    }

    async fn answer(&self, headers: HeaderMap) -> Response {
        self.seen.lock().unwrap().push(headers);
        self.entered.notify_one();
        let answer = self.answers.lock().unwrap().pop_front();
        match answer.unwrap_or(Answer::Good) {
            Answer::Good => good(None),
            Answer::At(position) => good(Some(position)),
            Answer::Status(status) => status.into_http(),
            Answer::Problem(problem) => Status::from(problem).into_http(),
            Answer::Broken => {
                let error = Err::<Frame<Bytes>, _>(io::Error::other("broken"));
                grpc(Body::new(StreamBody::new(tokio_stream::iter([error]))))
            }
            Answer::When(go_on) => {
                go_on.notified().await;
                good(None)
            }
        }
    }
}

fn good(position: Option<&'static str>) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Frame::data(Bytes::from_static(&[0; 5])),
        Frame::trailers(trailers),
    ];
    let frames = tokio_stream::iter(frames.map(Ok::<_, Infallible>));
    let mut response = grpc(Body::new(StreamBody::new(frames)));
    if let Some(position) = position {
        let position = HeaderValue::from_static(position);
        response
            .headers_mut()
            .insert("x-cloudstore-position", position);
    }
    response
}

fn grpc(body: Body) -> Response {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}

/// A scripted store behind a socket.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    pub(crate) script: Script,
    running: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
}

impl Instance {
    pub(crate) async fn start(script: Script) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let incoming = TcpListenerStream::new(socket);
        let routes = script.routes();
        let running = tokio::spawn(async move {
            Server::builder()
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, stopped)
                .await
                .unwrap();
        });
        Self {
            address,
            script,
            running,
            stop,
        }
    }

    /// No new connections, and the old ones end after the calls in hand.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.running).await.unwrap();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// An address where nobody listens.
pub(crate) async fn nowhere() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

/// Any call.
pub(crate) async fn call(channel: &Channel) -> Result<(), Status> {
    call_with(
        channel,
        cloudstore_service::rpc::deadline(ListKeysRequest {}),
    )
    .await
}

pub(crate) async fn call_with(
    channel: &Channel,
    request: tonic::Request<ListKeysRequest>,
) -> Result<(), Status> {
    let mut client = AccountStoreClient::new(channel.clone());
    client.list_keys(request).await.map(|_| ())
}
