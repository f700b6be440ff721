//! Interim (1xx) responses, which a handler may send before its final one (RFC 9110 section 15.2).
//!
//! hyper's server has no way to send them, so the listener writes them into the connection itself
//! (`listener/inject`). A handler takes an [`Interim`] as an argument.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::extract::FromRequestParts;
use http::{HeaderMap, StatusCode, request::Parts};
use tokio::sync::{Notify, oneshot};

/// Interim responses of one connection that may wait to be written. Handlers send one after the
/// other, so this is more than its streams can have; one that is too many is not sent.
const MAX_WAITING: usize = 64;

/// Sends interim responses for one request. It costs nothing while it is not used.
#[derive(Clone, Debug, Default)]
pub struct Interim(Option<Exchange>);

#[derive(Clone, Debug)]
struct Exchange {
    id: u32,
    outbox: Arc<Outbox>,
}

impl Interim {
    pub(crate) fn new(id: u32, outbox: &Arc<Outbox>) -> Self {
        let outbox = Arc::clone(outbox);
        Self(Some(Exchange { id, outbox }))
    }

    /// Whether this client can be sent any: not if it speaks HTTP/1.0, and not if it is one of our
    /// own proxies, as nginx takes an interim response for the final one.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.0.is_some()
    }

    /// Sends an interim response, and returns once it was handed to the network: true, or, when
    /// the request cannot have one (any more), false. `status` is one of 102 to 199: 100 belongs
    /// to the server, and 101 is a final one.
    ///
    /// It takes as long as the client takes to read what was sent before. When this is cancelled,
    /// the response may or may not be sent, but never a part of it.
    pub async fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let Some(exchange) = &self.0 else {
            return false;
        };
        if !(102..200).contains(&status.as_u16()) {
            tracing::error!(%status, "not the status of an interim response");
            return false;
        }
        let (done, written) = oneshot::channel();
        let message = Message {
            id: exchange.id,
            status,
            headers: headers.clone(),
            done,
        };
        exchange.outbox.put(message) && written.await.is_ok()
    }
}

impl<S: Sync> FromRequestParts<S> for Interim {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// An interim response on its way from a handler to its connection.
#[derive(Debug)]
pub(crate) struct Message {
    /// Of the request, unique within the connection.
    pub(crate) id: u32,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Told when it was written; dropped when it never will be.
    pub(crate) done: oneshot::Sender<()>,
}

/// Between the handlers of a connection and what writes to it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    /// Something was put in.
    pub(crate) filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    /// The connection has ended.
    closed: bool,
}

impl Outbox {
    fn put(&self, message: Message) -> bool {
        let mut waiting = self.waiting();
        if waiting.closed || waiting.messages.len() >= MAX_WAITING {
            return false;
        }
        waiting.messages.push_back(message);
        drop(waiting);
        self.filled.notify_one();
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().messages.is_empty()
    }

    /// Forgets those for which nobody waits or that can no longer be sent, and returns the first of
    /// the others if `ready`.
    pub(crate) fn take(&self, ready: bool, is_open: impl Fn(u32) -> bool) -> Option<Message> {
        let mut waiting = self.waiting();
        let messages = &mut waiting.messages;
        messages.retain(|message| !message.done.is_closed() && is_open(message.id));
        ready.then(|| messages.pop_front()).flatten()
    }

    /// Nothing will be written any more.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.messages.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
