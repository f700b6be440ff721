//! The body of a request on its way to the owner.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

/// Why a body could not be carried to its end: its client stalled or went away.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<axum::Error>>>);

impl Failure {
    pub(super) fn take(&self) -> Option<axum::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: axum::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Passes a body on frame by frame, as the owner takes them.
pub(super) struct Carried {
    body: Body,
    demand: Demand,
    failure: Failure,
}

/// Does the owner want the body?
enum Demand {
    /// It, or its client, did not say that it would wait to be asked.
    Given,
    /// Resolves when the owner asks.
    Awaited(oneshot::Receiver<()>),
    /// It answered without asking.
    Refused,
}

/// What the connection to the owner ends with; [`Failure`] has the cause.
#[derive(Debug, thiserror::Error)]
#[error("the body of the forwarded request broke off")]
pub(super) struct BrokeOff;

impl Carried {
    /// `asked` is there when the client sends the body only when it is told to.
    pub(super) fn new(body: Body, asked: Option<oneshot::Receiver<()>>) -> (Self, Failure) {
        let failure = Failure::default();
        let carried = Self {
            body,
            demand: asked.map_or(Demand::Given, Demand::Awaited),
            failure: failure.clone(),
        };
        (carried, failure)
    }
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let this = self.get_mut();
        if let Demand::Awaited(asked) = &mut this.demand {
            this.demand = match ready!(Pin::new(asked).poll(cx)) {
                Ok(()) => Demand::Given,
                Err(_) => Demand::Refused,
            };
        }
        if matches!(this.demand, Demand::Refused) {
            // An error would cut the owner's answer off. The end of the connection, which follows
            // that answer, drops this body.
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                this.failure.set(error);
                BrokeOff
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
