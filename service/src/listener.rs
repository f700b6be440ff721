//! The HTTP server: HTTP/1.1 and HTTP/2 without TLS (the gateway has it) on one socket, with a
//! bound for everything a client can do slowly, often or at length.

mod client;
mod detect;
mod peers;
mod streams;

use std::{
    convert::Infallible, future::pending, io, net::SocketAddr, pin::Pin, pin::pin, sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use crate::{http::wire, telemetry};
pub use client::{ClientAddress, PublicOrigin};
use detect::{Rewind, Version};
use peers::{Admitted, Peers};
use streams::{Counted, Streams};

/// Read and write buffer of an HTTP/1 connection: large uploads arrive in frames up to this size.
const HTTP1_BUFFER: usize = 256 * 1024;
/// HTTP/2: bytes a client may send on one stream before the handler reads them. With a round trip
/// of 100 ms this allows 20 MB/s; hyper's default of 64 KiB would allow 0.6 MB/s.
const STREAM_WINDOW: u32 = 2 << 20;
/// HTTP/2: the same for all streams of a connection together, which bounds its memory.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// HTTP/2: largest frame a client may send. Fewer, larger writes than with the default of 16 KiB.
const FRAME_BYTES: u32 = 256 * 1024;
/// HTTP/2: requests at once on a connection. Browsers ask for far fewer; each may hold two groups
/// of a file (2 MiB), so this bounds what a connection holds.
const STREAMS: u32 = 32;
/// HTTP/2: a stream gets its next piece of data when less than this of the last waits to be sent.
/// More only adds memory, as pieces are larger; much less would leave gaps between them.
const SEND_BUFFER: usize = 256 * 1024;
/// HTTP/2: a connection whose peer does not answer a ping for this long, twice, is dead.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Pause after a failed `accept` (usually: out of file descriptors), which would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often recorded durations are folded into their buckets, if nobody asks for /metrics.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// Open connections from one address (IPv6: from one /64 network); further ones are closed at
    /// once.
    pub max_connections_per_address: usize,
    /// Our own proxies. They may have any number of connections, and what they say about the
    /// client's address is believed ([`ClientAddress`]).
    pub trusted_proxies: Vec<IpNet>,
    /// Time for the head of a request, counted from the end of the one before. An HTTP/2
    /// connection without an open request is closed after it.
    pub header_read_timeout: Duration,
    /// Number of header fields of a request.
    pub max_headers: usize,
    /// Bytes of the head of a request.
    pub max_header_bytes: u32,
    /// A client that takes no byte of a response for this long is cut off: its connection, or the
    /// HTTP/2 stream if only that stalls.
    pub write_stall_timeout: Duration,
    /// Time for running requests to end after the shutdown began.
    pub drain_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A quarter of the usual hard limit of file descriptors; each may also hold a file.
            max_connections: 4_096,
            // Browsers open 6, the command line tool a few dozen: enough for an office behind one
            // address, and it takes 16 addresses to use all connections up.
            max_connections_per_address: 256,
            trusted_proxies: Vec::new(),
            header_read_timeout: Duration::from_secs(10),
            max_headers: 100,
            max_header_bytes: 64 * 1024,
            write_stall_timeout: Duration::from_secs(60),
            drain_deadline: Duration::from_secs(30),
        }
    }
}

/// Serves `app` until `shutdown`, then lets running requests end until the drain deadline, then
/// cuts them off. Handlers find the client's address as [`ClientAddress`], and that of the peer,
/// which may be a proxy, as `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// None at present: failures to accept are logged and tried again.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let limits = Arc::new(limits);
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let peers = Peers::new(limits.max_connections_per_address);
    let connections = TaskTracker::new();
    let cut_off = CancellationToken::new();
    let mut upkeep = interval(METRICS_UPKEEP);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (stream, peer, permit) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = upkeep.tick() => {
                telemetry::metrics().run_upkeep();
                continue;
            }
            accepted = accept(&listener, &permits) => accepted,
        };
        let trusted = client::is_trusted(peer.ip(), &limits.trusted_proxies);
        let admitted = (!trusted).then(|| peers.admit(peer.ip()));
        if matches!(admitted, Some(None)) {
            metrics::counter!("cloudstore_http_connections_refused_total").increment(1);
            tracing::debug!(%peer, "too many connections from this address");
            continue;
        }
        let connection = Connection {
            peer,
            limits: Arc::clone(&limits),
            app: app.clone(),
            shutdown: shutdown.clone(),
        };
        let cut_off = cut_off.clone();
        connections.spawn(async move {
            let _open = Open::new(permit, admitted.flatten());
            cut_off.run_until_cancelled(connection.serve(stream)).await;
        });
    }
    drop(listener);
    connections.close();
    if timeout(limits.drain_deadline, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "drain deadline passed, cutting off"
        );
        cut_off.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// The next connection, once there is room for it. Nothing is lost when this is cancelled.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await;
    let permit = permit.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            // The client went away between its SYN and our accept.
            Err(error) if is_about_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Counts an open connection.
struct Open {
    _permit: OwnedSemaphorePermit,
    _admitted: Option<Admitted>,
}

impl Open {
    fn new(permit: OwnedSemaphorePermit, admitted: Option<Admitted>) -> Self {
        metrics::gauge!("cloudstore_http_connections").increment(1.0);
        Self {
            _permit: permit,
            _admitted: admitted,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("cloudstore_http_connections").decrement(1.0);
    }
}

struct Connection {
    peer: SocketAddr,
    limits: Arc<Limits>,
    app: Router,
    shutdown: CancellationToken,
}

type Io = TokioIo<Pin<Box<TimeoutStream<Rewind<TcpStream>>>>>;

impl Connection {
    async fn serve(self, mut stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, peer = %self.peer, "cannot set TCP_NODELAY");
        }
        let first = timeout(
            self.limits.header_read_timeout,
            detect::version(&mut stream),
        );
        let (version, read) = match self.shutdown.run_until_cancelled(first).await {
            Some(Ok(Ok(first))) => first,
            Some(Ok(Err(_)) | Err(_)) | None => return,
        };
        let mut io = TimeoutStream::new(Rewind::new(read, stream));
        io.set_write_timeout(Some(self.limits.write_stall_timeout));
        let io = TokioIo::new(Box::pin(io));
        let peer = self.peer;
        let result = match version {
            Version::Http1 => self.http1(io).await,
            Version::Http2 => self.http2(io).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, %peer, "connection ended");
        }
    }

    async fn http1(&self, io: Io) -> hyper::Result<()> {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_read_timeout)
            .max_headers(self.limits.max_headers)
            .max_header_size(self.limits.max_header_bytes as usize)
            .max_buf_size(HTTP1_BUFFER);
        let service = service_fn(|mut request: Request<Incoming>| {
            if let Some(flaw) = wire::flaw(&request) {
                request.extensions_mut().insert(flaw);
            }
            self.answer(request)
        });
        let connection = builder.serve_connection(io, service);
        drive(connection, self.shutdown.cancelled(), pending()).await
    }

    async fn http2(self, io: Io) -> hyper::Result<()> {
        let streams = Streams::new(self.limits.write_stall_timeout);
        let mut builder = http2::Builder::new(streams.clone());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .max_concurrent_streams(STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(self.limits.max_header_bytes)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY);
        let idle_timeout = self.limits.header_read_timeout;
        let shutdown = self.shutdown.clone();
        let this = Arc::new(self);
        let service = service_fn(move |request| {
            let this = Arc::clone(&this);
            async move {
                let answered = this.answer(request).await;
                answered.map(|response| response.map(Counted::new))
            }
        });
        let end = async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = streams.idle(idle_timeout) => {}
            }
        };
        let connection = builder.serve_connection(io, service);
        drive(connection, end, streams.idle(idle_timeout)).await
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let mut request = request.map(Body::new);
        let proxies = &self.limits.trusted_proxies;
        let client = client::address(self.peer.ip(), request.headers(), proxies);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let trusted = client::is_trusted(self.peer.ip(), proxies);
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(client::FromProxy(trusted));
        self.app.clone().oneshot(request).await
    }
}

/// Runs a connection until `end`. Then it finishes the requests it has and takes no more, unless
/// the client does not go along and `give_up`, which is waited for from then on, comes first.
async fn drive<C: GracefulConnection>(
    connection: C,
    end: impl Future<Output = ()>,
    give_up: impl Future<Output = ()>,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        () = end => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        result = connection => result,
        () = give_up => Ok(()),
    }
}
