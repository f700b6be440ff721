//! The HTTP API, typed. Every call retries, refreshes the login and turns problems into errors.

pub(crate) mod answer;
mod api;
mod auth;
pub(crate) mod body;
mod position;
mod retry;
pub(crate) mod throttle;
pub(crate) mod tree;
pub(crate) mod wire;

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Response;
use serde::de::DeserializeOwned;
use url::Url;

pub(crate) use self::{
    answer::within,
    api::Content,
    auth::{Auth, logged_out},
    retry::{Backoff, is_retryable},
};
use self::{
    answer::{Answer, Json},
    wire::{Request, Trouble, Wire},
};
use crate::error::{Error, Result};

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A server and a login. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    wire: Wire,
    auth: Auth,
}

impl Client {
    /// Speaks over `wire` as `auth`.
    pub(crate) fn new(wire: Wire, auth: Auth) -> Self {
        Self(Arc::new(Inner { wire, auth }))
    }

    /// The server's URL.
    pub(crate) fn base(&self) -> &Url {
        self.0.wire.base()
    }

    /// A fresh count of repetitions.
    pub(crate) fn backoff(&self) -> Backoff {
        self.0.wire.backoff()
    }

    /// For the user, naming the server.
    pub(crate) fn error(&self, trouble: Trouble) -> Error {
        let unauthenticated = trouble.is_unauthenticated();
        let error = trouble.into_error(self.base());
        match self.0.auth {
            Auth::Token(_) if unauthenticated => {
                error.advise("set CLOUDSTORE_TOKEN to a token that works, or unset it and log in")
            }
            _ => error,
        }
    }

    /// A JSON answer.
    async fn fetch<T: DeserializeOwned + Send>(&self, request: Request) -> Result<T> {
        Ok(self.run::<Json<T>>(request).await?.0)
    }

    /// An answer without content.
    async fn execute(&self, request: Request) -> Result<()> {
        self.run(request).await
    }

    /// The head of an answer whose body is read by the caller.
    async fn open(&self, request: Request) -> Result<Response> {
        self.run(request).await
    }

    async fn run<T: Answer>(&self, request: Request) -> Result<T> {
        self.ask(request)
            .await
            .map_err(|trouble| self.error(trouble))
    }

    /// Any answer, or why there is none. The login goes to our server only.
    pub(crate) async fn ask<T: Answer>(&self, mut request: Request) -> Result<T, Trouble> {
        let Inner { wire, auth } = &*self.0;
        let token = if wire.is_for_us(&request) {
            auth.bearer(wire).await.map_err(Trouble::Local)?
        } else {
            None
        };
        let trouble = match wire.run(&mut request, token.as_deref()).await {
            Ok(value) => return Ok(value),
            Err(trouble) => trouble,
        };
        if let Some(token) = token.filter(|_| trouble.is_unauthenticated() && request.can_be_sent())
            && let Some(token) = auth.renew(wire, &token).await.map_err(Trouble::Local)?
        {
            return wire.run(&mut request, Some(&token)).await;
        }
        Err(trouble)
    }
}

/// Percent-encodes each name of a normalised remote path; empty for the root.
pub(crate) fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len() + 8);
    for segment in cloudstore_proto::path::segments(path) {
        encoded.push('/');
        encoded.extend(utf8_percent_encode(segment, SEGMENT));
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_change_the_shape_of_a_url() {
        assert_eq!(encode_path("/"), "");
        assert_eq!(encode_path("/a b/c%2Fd?e#f"), "/a%20b/c%252Fd%3Fe%23f");
        assert_eq!(encode_path("/ü/x.tar.gz~"), "/%C3%BC/x.tar.gz~");
    }
}
