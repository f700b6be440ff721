//! Request ids, the access log and the request metrics.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use crate::{
    body::{IDLE_TIMEOUT, KeepsArriving},
    context::{self, Context, trace_and_parent},
    position,
};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A caller's request id that is longer than this is replaced.
const MAX_REQUEST_ID: usize = 64;
/// Route label of requests that no route matches: paths themselves are never labels.
const UNMATCHED: &str = "unmatched";
/// Status label, as nginx has it, when the client went away before the response's head.
const CLIENT_CLOSED: u16 = 499;

/// The outermost layer of every router.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let context = context_of(request.headers());
    let mut exchange = Exchange::begin(&request, &context);
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let asked = request.headers().contains_key(header::EXPECT);
    let request = request.map(|body| keeps_arriving(body, asked));
    let span = exchange.span.clone();
    let mut response = context::scope(context.clone(), next.run(request))
        .instrument(span)
        .await;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(context.id()) {
        headers.insert(X_REQUEST_ID, id);
    }
    if let Some(position) = context.advanced()
        && let Ok(position) = HeaderValue::from_str(&position)
    {
        headers.insert(position::HEADER, position);
    }
    headers
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(const { HeaderValue::from_static("nosniff") });
    if chunked {
        // hyper goes by the chunked coding and hides a Content-Length that came along. Whatever a
        // gateway took for the end of such a body, nothing behind it becomes a request (RFC 9112
        // section 6.1).
        headers.insert(
            header::CONNECTION,
            const { HeaderValue::from_static("close") },
        );
    }
    exchange.status = Some(response.status());
    response
}

fn keeps_arriving(body: Body, asked: bool) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Body::new(KeepsArriving::new(body, IDLE_TIMEOUT, asked))
}

/// One request and its answer; counted and logged when dropped, so also when the client goes away.
struct Exchange {
    span: Span,
    method: &'static str,
    route: String,
    start: Instant,
    status: Option<StatusCode>,
}

impl Exchange {
    fn begin(request: &Request, context: &Context) -> Self {
        let method = method_label(request.method());
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or_else(|| UNMATCHED.to_owned(), |path| path.as_str().to_owned());
        let span = tracing::info_span!(
            "request",
            request_id = context.id(),
            method,
            route,
            trace_id = tracing::field::Empty,
            parent_id = tracing::field::Empty,
        );
        if let Some((trace, parent)) = context.traceparent().and_then(trace_and_parent) {
            span.record("trace_id", trace);
            span.record("parent_id", parent);
        }
        metrics::gauge!("cloudstore_http_requests_in_flight").increment(1.0);
        Self {
            span,
            method,
            route,
            start: Instant::now(),
            status: None,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let status = self.status.map_or(CLIENT_CLOSED, |status| status.as_u16());
        let seconds = self.start.elapsed().as_secs_f64();
        let labels = [
            ("method", self.method.to_owned()),
            ("route", std::mem::take(&mut self.route)),
            ("status", status.to_string()),
        ];
        metrics::gauge!("cloudstore_http_requests_in_flight").decrement(1.0);
        metrics::counter!("cloudstore_http_requests_total", &labels).increment(1);
        metrics::histogram!("cloudstore_http_request_duration_seconds", &labels).record(seconds);
        let latency_ms = seconds * 1_000.0;
        let probe = matches!(&*labels[1].1, "/healthz" | "/readyz" | "/metrics");
        self.span.in_scope(|| {
            if probe {
                tracing::debug!(status, latency_ms, "answered");
            } else {
                tracing::info!(status, latency_ms, "answered");
            }
        });
    }
}

/// Methods are free text on the wire; labels are not.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| method == *known)
        .unwrap_or("OTHER")
}

fn context_of(headers: &HeaderMap) -> Context {
    let id = request_id(headers);
    let position = text(headers, position::HEADER);
    match text(headers, "traceparent").filter(|value| trace_and_parent(value).is_some()) {
        Some(traceparent) => Context::new(id, Some(traceparent), position),
        None => Context::new(id, Some(&new_traceparent()), position),
    }
}

/// Of a trace that begins here. Nobody is asked to record it, but every log line can name it.
fn new_traceparent() -> String {
    let trace = Uuid::now_v7().simple();
    // The last part of such an id is random.
    let (_, parent) = Uuid::now_v7().as_u64_pair();
    format!("00-{trace}-{parent:016x}-00")
}

/// The caller's id if it is short and harmless in logs, else a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    headers
        .get(X_REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(harmless))
        .map_or_else(|| Uuid::now_v7().to_string().into(), Into::into)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn request_ids() {
        let id = |value: &str| request_id(&headers("x-request-id", value)).to_string();
        assert_eq!(id("abc-1.2_Z"), "abc-1.2_Z");
        for odd in ["", "a b", "a\tb", "<script>", &"x".repeat(65)] {
            assert!(Uuid::parse_str(&id(odd)).is_ok(), "{odd}");
        }
        assert!(Uuid::parse_str(&request_id(&HeaderMap::new())).is_ok());
    }

    #[test]
    fn every_request_has_a_trace() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = context_of(&headers("traceparent", given));
        assert_eq!(context.traceparent(), Some(given));
        let new = context_of(&headers("traceparent", "nonsense"));
        assert!(new.traceparent().and_then(trace_and_parent).is_some());
    }
}
