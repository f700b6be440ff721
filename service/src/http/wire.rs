//! HTTP/1 requests that hyper lets pass and that another server on the way may have understood
//! differently.
//!
//! Not among them: a request with both Content-Length and Transfer-Encoding, of which hyper hides
//! the former. It is answered, but as every chunked request it is the last of its connection, so
//! that nothing behind it can become a request.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, Version, header, uri::Authority};

use crate::{Kind, Problem};

/// Why a request is to be refused. The listener, which knows what came over a wire, puts it into
/// the request's extensions, and the router answers it, so that it is logged and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

/// Looks at an HTTP/1 request as it arrived.
pub(crate) fn flaw<B>(request: &http::Request<B>) -> Option<Malformed> {
    if !codings_are_clear(request.headers()) {
        return Some(Malformed("the only Transfer-Encoding is: chunked"));
    }
    host_flaw(request.version(), request.headers())
}

/// hyper goes by the last coding, which must be chunked, and leaves the others to the application.
fn codings_are_clear(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_none_or(chunked) && codings.next().is_none()
}

/// RFC 9112 section 3.2.
fn host_flaw(version: Version, headers: &HeaderMap) -> Option<Malformed> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => Some(Malformed("there is no Host header")),
        (_, Some(_)) => Some(Malformed("there is more than one Host header")),
        (Some(host), None) if !is_host(host.as_bytes()) => Some(Malformed(
            "the Host header is neither a name nor an address",
        )),
        _ => None,
    }
}

fn is_host(value: &[u8]) -> bool {
    value.is_empty() || (!value.contains(&b'@') && Authority::try_from(value).is_ok())
}

/// The layer that answers them.
pub(super) async fn refuse(request: Request, next: Next) -> Response {
    let Some(&Malformed(detail)) = request.extensions().get() else {
        return next.run(request).await;
    };
    let mut response = Problem::new(Kind::MalformedRequest, detail).into_response();
    let close = const { HeaderValue::from_static("close") };
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flawed(version: Version, headers: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        flaw(&request.body(()).unwrap()).is_some()
    }

    #[test]
    fn hosts() {
        for host in ["example.org", "localhost:8080", "[::1]:80", "10.0.0.1", ""] {
            assert!(!flawed(Version::HTTP_11, &[("host", host)]), "{host}");
        }
        for host in ["a b", "a/b", "user@example.org", "[::1"] {
            assert!(flawed(Version::HTTP_11, &[("host", host)]), "{host}");
        }
        assert!(flawed(Version::HTTP_11, &[]));
        assert!(!flawed(Version::HTTP_10, &[]));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(flawed(version, &[("host", "a"), ("host", "a")]));
        }
    }

    #[test]
    fn codings() {
        let host = ("host", "x");
        for coding in ["chunked", "Chunked"] {
            assert!(!flawed(
                Version::HTTP_11,
                &[host, ("transfer-encoding", coding)]
            ));
        }
        for coding in ["gzip, chunked", "chunked, chunked", "identity", ""] {
            let headers = [host, ("transfer-encoding", coding)];
            assert!(flawed(Version::HTTP_11, &headers), "{coding}");
        }
        let twice = ("transfer-encoding", "chunked");
        assert!(flawed(Version::HTTP_11, &[host, twice, twice]));
    }
}
