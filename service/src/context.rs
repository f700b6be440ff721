//! What belongs to the request that is being served, wherever its work is done: its id, its trace
//! and the position of the metadata that its client has seen.
//!
//! `http::finish` sets it for each request, [`spawn`] hands it to tasks, and `rpc::Channel` puts it
//! into every call. Outside a request there is none, and everything here does nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::position;

tokio::task_local! {
    static CONTEXT: Context;
}

/// The facts of one request. Clones share them.
#[derive(Clone, Debug)]
pub struct Context(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    id: Arc<str>,
    traceparent: Option<Arc<str>>,
    position: Mutex<Position>,
}

#[derive(Debug, Default)]
struct Position {
    text: Option<Arc<str>>,
    /// Not by what the client said, but by what was done for it.
    advanced: bool,
}

impl Context {
    /// A request with this id. A traceparent or a position that is not well-formed is left out.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>, traceparent: Option<&str>, position: Option<&str>) -> Self {
        let position = position.filter(|text| position::is_valid(text));
        Self(Arc::new(Facts {
            id: id.into(),
            traceparent: traceparent
                .filter(|value| trace_and_parent(value).is_some())
                .map(Into::into),
            position: Mutex::new(Position {
                text: position.map(Into::into),
                advanced: false,
            }),
        }))
    }

    /// Work that no request asked for: a new id, and the trace of whatever caused it.
    #[must_use]
    pub fn background(traceparent: Option<&str>) -> Self {
        Self::new(Uuid::now_v7().to_string(), traceparent, None)
    }

    /// That of the current task.
    #[must_use]
    pub fn current() -> Option<Self> {
        CONTEXT.try_with(Clone::clone).ok()
    }

    /// The id of the request.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The W3C `traceparent` of the request.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    /// Reads must not be older than this.
    #[must_use]
    pub fn position(&self) -> Option<Arc<str>> {
        self.lock().text.clone()
    }

    /// The position, if it was advanced since the request came in: what its client is to be told.
    #[must_use]
    pub fn advanced(&self) -> Option<Arc<str>> {
        let position = self.lock();
        position.text.clone().filter(|_| position.advanced)
    }

    /// Something was written, or read, at this position. One that is certainly older than the
    /// present one changes nothing, else the last one counts.
    pub fn advance(&self, text: &str) {
        if !position::is_valid(text) {
            return;
        }
        let mut position = self.lock();
        let covered = |old: &Arc<str>| position::is_covered(text, old);
        if !position.text.as_ref().is_some_and(covered) {
            position.text = Some(text.into());
        }
        position.advanced = true;
    }

    fn lock(&self) -> MutexGuard<'_, Position> {
        self.0
            .position
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `future` as part of a request.
pub async fn scope<F: Future>(context: Context, future: F) -> F::Output {
    CONTEXT.scope(context, future).await
}

/// As `tokio::spawn`, but the task goes on with the caller's context and log fields.
///
/// # Panics
/// Outside a tokio runtime.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Context::current() {
        Some(context) => tokio::spawn(CONTEXT.scope(context, future).in_current_span()),
        None => tokio::spawn(future.in_current_span()),
    }
}

/// The id of the request that the current task serves.
#[must_use]
pub fn id() -> Option<Arc<str>> {
    Context::current().map(|context| Arc::clone(&context.0.id))
}

/// The W3C `traceparent` of the request that the current task serves.
#[must_use]
pub fn traceparent() -> Option<String> {
    Context::current().and_then(|context| context.traceparent().map(ToOwned::to_owned))
}

/// Reads for the current request must not be older than this.
#[must_use]
pub fn position() -> Option<String> {
    Context::current().and_then(|context| context.position().map(|text| text.to_string()))
}

/// See [`Context::advance`].
pub fn advance(position: &str) {
    if let Some(context) = Context::current() {
        context.advance(position);
    }
}

/// Trace id and parent id of a W3C `traceparent` (Trace Context, section 3.2).
pub(crate) fn trace_and_parent(value: &str) -> Option<(&str, &str)> {
    let mut parts = value.split('-');
    let (version, trace, parent, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let set = |text: &str| text.bytes().any(|b| b != b'0');
    // Version 00 has exactly four parts, later ones may have more; ff is invalid.
    let version_ok =
        hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (version_ok && hex(trace, 32) && set(trace) && hex(parent, 16) && set(parent) && hex(flags, 2))
        .then_some((trace, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = "00f067aa0ba902b7";
        let ok = format!("00-{trace}-{parent}-01");
        assert_eq!(trace_and_parent(&ok), Some((trace, parent)));
        for bad in [
            format!("ff-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-x"),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
        ] {
            assert_eq!(trace_and_parent(&bad), None, "{bad}");
            assert_eq!(Context::new("x", Some(&bad), None).traceparent(), None);
        }
    }

    #[tokio::test]
    async fn spawned_tasks_share_the_context() {
        let context = Context::new("request-1", None, Some("0-1-5"));
        scope(context.clone(), async {
            let task = spawn(async {
                assert_eq!(id().as_deref(), Some("request-1"));
                assert_eq!(position().as_deref(), Some("0-1-5"));
                spawn(async { advance("0-1-6") }).await
            });
            assert!(context.advanced().is_none());
            task.await.unwrap().unwrap();
            assert_eq!(position().as_deref(), Some("0-1-6"));
        })
        .await;
        assert_eq!(context.advanced().as_deref(), Some("0-1-6"));
    }

    #[tokio::test]
    async fn outside_a_request_there_is_nothing() {
        advance("0-1-6");
        let found = spawn(async { (id(), position(), traceparent()) }).await;
        assert_eq!(found.unwrap(), (None, None, None));
    }

    #[test]
    fn the_newest_position_stays() {
        let context = Context::new("x", None, Some("0-1-5"));
        context.advance("not a position");
        assert_eq!(context.advanced(), None);
        context.advance("0-1-7");
        context.advance("0-1-6");
        assert_eq!(context.advanced().as_deref(), Some("0-1-7"));
        context.advance("1-1-1");
        assert_eq!(context.advanced().as_deref(), Some("1-1-1"));
    }
}
