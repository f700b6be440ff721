//! One request to another node: sent on as it came, answered as it was answered.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use axum::{
    body::{Body, HttpBody as _},
    response::Response,
};
use cloudstore_backends::staging::Tokens;
use cloudstore_service::{Kind, Problem, Result, context, position};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header, request::Parts, uri,
};
use hyper_util::{
    client::legacy::{Client as Http, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::sync::oneshot;

use super::{
    AUDIENCE, FORWARDED, SERVICE_TOKEN,
    carried::{Carried, Failure},
};

/// A node in the same network that does not take a connection within this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Unused connections are closed after this time: before the other side does it, after 10 s, so
/// that no request is sent into a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Unused connections kept for each node.
const IDLE_CONNECTIONS: usize = 32;
/// Read buffer of a connection; what a body may be ahead of its reader.
const READ_BUFFER: usize = 256 * 1024;
/// A machine that vanished without a word is noticed by probes after this time and three of
/// [`PROBE_EVERY`], also in the middle of a body. Nothing else bounds an answer: a completion may
/// have to read a large file first.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// Time between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Probes without an answer until a connection counts as dead.
const PROBES: u32 = 3;
/// Bytes that are on their way for this long without being acknowledged end the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(25);

/// What concerns one connection only (RFC 9110 section 7.6.1), and the length's other form. The
/// fields that `Connection` names come on top. `Trailer` is not among them: it announces what goes
/// all the way, such as the checksum of a body.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Why there is no answer.
pub(super) enum Failed {
    /// No connection: the owner has seen nothing of the request.
    Unreachable(Error),
    /// The client's body broke off.
    Body(axum::Error),
    /// The owner went away in the middle.
    Broken(Error),
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        let unavailable = |detail, error| Self::new(Kind::Unavailable, detail).caused_by(error);
        match failed {
            Failed::Unreachable(error) => {
                unavailable("the node that holds this upload cannot be reached", error)
            }
            Failed::Broken(error) => unavailable(
                "the node that holds this upload broke the connection off",
                error,
            ),
            Failed::Body(error) => error.into(),
        }
    }
}

/// Talks to the other nodes: HTTP/1.1 with connections that are kept, no proxy, no redirects, no
/// limit for a body's length or time.
pub(super) struct Client {
    http: Http<HttpConnector, Carried>,
    node: HeaderValue,
    tokens: Tokens,
}

impl Client {
    /// For this node; its name is told to the others if a header can carry it.
    pub(super) fn new(node: &str, tokens: Tokens) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_keepalive(Some(PROBE_AFTER));
        connector.set_keepalive_interval(Some(PROBE_EVERY));
        connector.set_keepalive_retries(Some(PROBES));
        #[cfg(target_os = "linux")]
        connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_max_buf_size(READ_BUFFER)
            .build(connector);
        let unnamed = const { HeaderValue::from_static("unnamed") };
        Self {
            http,
            node: HeaderValue::from_str(node).unwrap_or(unnamed),
            tokens,
        }
    }

    /// Sends a request on. Dropping the call, or its client going away, ends it at the owner, too.
    pub(super) async fn send(
        &self,
        to: SocketAddr,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, Failed> {
        let waits = parts.headers.get(header::EXPECT).is_some() && !body.is_end_stream();
        let (asks, asked) = oneshot::channel();
        let (body, failure) = Carried::new(body, waits.then_some(asked));
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = absolute(to, &parts.uri);
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers(&parts.headers, waits);
        if waits {
            let asks = Mutex::new(Some(asks));
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == http::StatusCode::CONTINUE
                    && let Ok(mut asks) = asks.lock()
                    && let Some(asks) = asks.take()
                {
                    // Fails when the body is gone already: nobody waits for it then.
                    let _ = asks.send(());
                }
            });
        }
        match self.http.request(request).await {
            Ok(answer) => Ok(passed_back(answer)),
            Err(error) => Err(failed(error, &failure)),
        }
    }

    fn headers(&self, from: &HeaderMap, waits: bool) -> HeaderMap {
        let mut headers = end_to_end(from);
        // The host is another one now, and nobody speaks for this node but itself.
        for name in [header::HOST, FORWARDED, SERVICE_TOKEN] {
            headers.remove(name);
        }
        if !waits {
            headers.remove(header::EXPECT);
        }
        headers.insert(FORWARDED, self.node.clone());
        set(&mut headers, SERVICE_TOKEN, &(self.tokens)(AUDIENCE));
        let context = context::Context::current();
        if let Some(context) = &context {
            set(&mut headers, X_REQUEST_ID, context.id());
        }
        // Both may be newer than what the client sent.
        if let Some(traceparent) = context.as_ref().and_then(|context| context.traceparent()) {
            set(&mut headers, TRACEPARENT, traceparent);
        }
        if let Some(position) = context.and_then(|context| context.position()) {
            set(&mut headers, POSITION, &position);
        }
        headers
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const POSITION: HeaderName = HeaderName::from_static(position::HEADER);

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn absolute(to: SocketAddr, from: &Uri) -> Uri {
    let path = from.path_and_query().cloned();
    let uri = Uri::builder()
        .scheme(uri::Scheme::HTTP)
        .authority(to.to_string())
        .path_and_query(path.unwrap_or_else(|| uri::PathAndQuery::from_static("/")));
    uri.build().expect("invariant: all three parts are valid")
}

/// The fields that are meant for whoever is at the end of the way.
fn end_to_end(from: &HeaderMap) -> HeaderMap {
    let mut headers = from.clone();
    for named in from.get_all(header::CONNECTION) {
        let names = named.to_str().unwrap_or_default().split(',');
        for name in names.filter_map(|name| HeaderName::try_from(name.trim()).ok()) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}

fn passed_back(answer: Response<hyper::body::Incoming>) -> Response {
    let (mut parts, body) = answer.into_parts();
    parts.headers = end_to_end(&parts.headers);
    parts.extensions.clear();
    if let Some(position) = parts.headers.get(POSITION)
        && let Ok(position) = position.to_str()
    {
        context::advance(position);
    }
    Response::from_parts(parts, Body::new(body))
}

fn failed(error: Error, failure: &Failure) -> Failed {
    match failure.take() {
        Some(error) => Failed::Body(error),
        None if error.is_connect() => Failed::Unreachable(error),
        None => Failed::Broken(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_stays_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Private"),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("trailer", "upload-checksum"),
            ("x-private", "1"),
            ("x-other", "2"),
            ("authorization", "Bearer x"),
            ("content-length", "5"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = end_to_end(&headers);
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "content-length", "trailer"]);
    }

    #[test]
    fn addresses_of_both_families() {
        let from: Uri = "/api/v1/uploads/x?y=%2F".parse().unwrap();
        let v4 = absolute(([127, 0, 0, 11], 7020).into(), &from);
        assert_eq!(v4, "http://127.0.0.11:7020/api/v1/uploads/x?y=%2F");
        let v6: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(absolute(v6, &from).authority().unwrap(), "[::1]:80");
    }
}
