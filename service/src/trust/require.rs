//! Lets only services in: a layer for tonic servers and for axum routes.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::response::IntoResponse as _;
use http::{HeaderMap, Request, Response, header};
use tonic::Status;
use tower::{Layer, Service};

use super::{Caller, Trusted};
use crate::{Problem, auth};

/// gRPC services that anybody may call: they say that the server lives and what it speaks.
const OPEN: [&str; 2] = ["/grpc.health.v1.", "/grpc.reflection."];

/// A layer that demands of each request a token of one of `allowed`, made for `audience`. Handlers
/// find the [`Caller`] in the request's extensions. gRPC calls are refused with a status, others
/// with a problem. Health and reflection of gRPC stay open.
///
/// Works with `tonic::transport::Server::layer` and `axum::Router::layer`.
#[must_use]
pub fn require(
    trusted: Trusted,
    audience: &'static str,
    allowed: &'static [&'static str],
) -> Require {
    Require {
        trusted,
        audience,
        allowed,
    }
}

/// See [`require`].
#[derive(Clone)]
pub struct Require {
    trusted: Trusted,
    audience: &'static str,
    allowed: &'static [&'static str],
}

impl Require {
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let token = auth::bearer(headers)?;
        self.trusted
            .verify(token, self.audience, self.allowed)
            .await
    }
}

impl<S> Layer<S> for Require {
    type Service = Required<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Required {
            inner,
            require: self.clone(),
        }
    }
}

/// The service that [`require`] makes.
#[derive(Clone)]
pub struct Required<S> {
    inner: S,
    require: Require,
}

impl<S, B, R> Service<Request<B>> for Required<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: RefusalBody,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that is ready is used, the clone stays behind.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let path = request.uri().path();
        if OPEN.iter().any(|prefix| path.starts_with(prefix)) && is_grpc(request.headers()) {
            return Box::pin(inner.call(request));
        }
        let require = self.require.clone();
        let headers = request.headers().clone();
        Box::pin(async move {
            match require.caller(&headers).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(problem) if is_grpc(&headers) => Ok(Status::from(problem).into_http()),
                Err(problem) => Ok(R::problem(problem)),
            }
        })
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A body that can say why somebody is not let in.
pub trait RefusalBody: Default {
    /// The answer to a request that is not gRPC.
    fn problem(problem: Problem) -> Response<Self>;
}

impl RefusalBody for axum::body::Body {
    fn problem(problem: Problem) -> Response<Self> {
        problem.into_response()
    }
}

impl RefusalBody for tonic::body::Body {
    fn problem(problem: Problem) -> Response<Self> {
        problem.into_response().map(Self::new)
    }
}
