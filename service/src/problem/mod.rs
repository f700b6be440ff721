//! Errors: one type from the database to the client. Over HTTP it is `application/problem+json`
//! (RFC 9457), over gRPC a status that carries the same facts (`grpc.rs`).
//!
//! Each has two messages: the public `detail`, and a private cause that is logged once, when the
//! problem leaves the process, and never shown.

mod convert;
mod grpc;
mod kind;

use std::{error::Error, fmt};

use axum::response::{IntoResponse, Response};
use cloudstore_proto::http as api;
use http::{HeaderValue, header};
use serde::Serialize;
use serde_json::{Map, Value};

pub use kind::Kind;

/// What fallible functions of a service return.
pub type Result<T, E = Problem> = std::result::Result<T, E>;

/// A boxed private cause.
pub type Cause = Box<dyn Error + Send + Sync>;

/// An error that may be shown to the client.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    extensions: Map<String, Value>,
    retry_after: Option<u32>,
    cause: Option<Cause>,
}

impl Problem {
    /// A problem with a detail that is fit for the client's eyes.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            extensions: Map::new(),
            retry_after: kind.retry_after(),
            cause: None,
        }))
    }

    /// A failure on our side; the client learns nothing about it but the request id.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::new(Kind::Internal, "something went wrong on the server").caused_by(cause)
    }

    /// Adds an extension member of the body. The members of RFC 9457 cannot be replaced.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        const RESERVED: [&str; 5] = ["type", "title", "status", "detail", "request_id"];
        debug_assert!(
            !RESERVED.contains(&key),
            "{key} is a member of every problem"
        );
        if let Ok(value) = serde_json::to_value(value) {
            self.0.extensions.insert(key.to_owned(), value);
        }
        self
    }

    /// Says in how many seconds the request may succeed (`Retry-After`).
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Attaches the private cause.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened this time.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Stable name of the kind.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        self.0.kind.slug()
    }

    /// An extension member.
    #[must_use]
    pub fn extension(&self, key: &str) -> Option<&Value> {
        self.0.extensions.get(key)
    }

    /// The JSON body; an empty `request_id` is left out.
    #[must_use]
    pub fn to_body(&self, request_id: &str) -> api::Problem {
        let inner = &self.0;
        api::Problem {
            kind: format!("/problems/{}", inner.kind.slug()),
            title: inner.kind.title().to_owned(),
            status: inner.kind.status().as_u16(),
            detail: inner.detail.clone(),
            request_id: request_id.to_owned(),
            extensions: inner.extensions.clone(),
        }
    }

    /// Logs the private cause, if there is one, and forgets it, so that it is logged once.
    fn log_cause(&mut self) {
        let Some(cause) = self.0.cause.take() else {
            return;
        };
        let slug = self.slug();
        let cause = Chain(&*cause);
        if self.0.kind.status().is_server_error() {
            tracing::error!(problem = slug, %cause, "request failed");
        } else {
            tracing::debug!(problem = slug, %cause, "request refused");
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.slug(), self.detail())
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

/// An error followed by what caused it.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.log_cause();
        let body = serde_json::to_vec(&self.to_body(&crate::http::request_id()))
            .expect("a problem body is maps with string keys");
        let mut response = (self.0.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(api::PROBLEM_JSON),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // RFC 6750 section 3: every 401 names the scheme; only a token that was sent is invalid.
        let challenge = match self.0.kind {
            Kind::Unauthenticated => Some("Bearer realm=\"cloudstore\""),
            Kind::TokenExpired => Some(
                "Bearer realm=\"cloudstore\", error=\"invalid_token\", error_description=\"the access token has expired\"",
            ),
            Kind::InsufficientScope => {
                Some("Bearer realm=\"cloudstore\", error=\"insufficient_scope\"")
            }
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn body_and_headers() {
        let problem = Problem::new(Kind::Overloaded, "come back later")
            .with("missing", [[1, 2]])
            .retry_after(7)
            .caused_by("the private cause");
        let response = problem.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "/problems/overloaded",
                "title": "The service is overloaded",
                "status": 503,
                "detail": "come back later",
                "missing": [[1, 2]],
            })
        );
    }

    #[test]
    fn a_401_names_the_scheme() {
        let challenge = |kind| {
            let response = Problem::new(kind, "no").into_response();
            response.headers()["www-authenticate"].clone()
        };
        let bearer = "Bearer realm=\"cloudstore\"";
        assert_eq!(challenge(Kind::Unauthenticated), bearer);
        let narrow = challenge(Kind::InsufficientScope);
        assert_eq!(narrow, format!("{bearer}, error=\"insufficient_scope\""));
    }
}
