//! Messages on their way to the broker: a bounded buffer between whoever publishes and the
//! session that has the connection.

use std::time::Duration;

use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::timeout,
};

use crate::queue::{Error, Job};

/// Messages that wait for a free channel. A burst of completed uploads fits; beyond it the sweep
/// is the better way.
const WAITING: usize = 1024;
/// How long a publisher waits for the broker's confirmation. It is in the way of an answer to a
/// client, and the row has been committed already.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To the consumers.
    Jobs,
    /// To the consumers, after a rest.
    Retry,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) job: Job,
    pub(super) target: Target,
    /// How often the job was retried, this time included.
    pub(super) retries: u32,
}

/// A message, and who waits for its confirmation.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) message: Message,
    pub(super) answer: oneshot::Sender<Result<(), Error>>,
}

/// The buffer.
#[derive(Debug)]
pub(super) struct Outbox {
    entry: mpsc::Sender<Request>,
    exit: Mutex<mpsc::Receiver<Request>>,
    /// There is a session that takes messages.
    open: watch::Sender<bool>,
}

/// Messages are taken for as long as this lives.
pub(super) struct Opened<'a>(&'a Outbox);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.open.send_replace(false);
    }
}

impl Outbox {
    pub(super) fn new() -> Self {
        let (entry, exit) = mpsc::channel(WAITING);
        Self {
            entry,
            exit: Mutex::new(exit),
            open: watch::Sender::new(false),
        }
    }

    pub(super) fn opened(&self) -> Opened<'_> {
        self.open.send_replace(true);
        Opened(self)
    }

    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// Sends a message and waits for its confirmation, but not for a connection, and not for long.
    /// After an error nobody knows whether the message has arrived.
    pub(super) async fn send(&self, message: Message) -> Result<(), Error> {
        let mut open = self.open.subscribe();
        if !*open.borrow_and_update() {
            return Err(Error::Unavailable("no connection to the broker".into()));
        }
        let (answer, answered) = oneshot::channel();
        let request = Request { message, answer };
        self.entry.try_send(request).map_err(|_| Error::Full)?;
        let lost = || Error::Unavailable("connection to the broker lost".into());
        let confirmed = async {
            tokio::select! {
                biased;
                answer = answered => answer.unwrap_or_else(|_| Err(lost())),
                _ = open.wait_for(|open| !open) => Err(lost()),
            }
        };
        timeout(PATIENCE, confirmed)
            .await
            .unwrap_or_else(|_| Err(Error::Unavailable("no confirmation in time".into())))
    }

    /// The next message that somebody still waits for. Several may wait for it.
    pub(super) async fn next(&self) -> Request {
        let mut exit = self.exit.lock().await;
        loop {
            let request = exit.recv().await;
            let request = request.expect("invariant: the other end is in the same value");
            if !request.answer.is_closed() {
                return request;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str) -> Message {
        Message {
            job: Job {
                blake3: name.into(),
                traceparent: None,
            },
            target: Target::Jobs,
            retries: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_session_sending_fails_at_once() {
        let started = tokio::time::Instant::now();
        let sent = Outbox::new().send(message("a")).await;
        assert!(matches!(sent, Err(Error::Unavailable(_))));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_ends_fails_what_it_has_not_confirmed() {
        let outbox = Outbox::new();
        let opened = outbox.opened();
        let session = async {
            let taken = outbox.next().await;
            drop(opened);
            taken
        };
        let (first, second, taken) = tokio::join!(
            outbox.send(message("a")),
            outbox.send(message("b")),
            session
        );
        assert!(matches!(first, Err(Error::Unavailable(_))));
        assert!(matches!(second, Err(Error::Unavailable(_))));
        assert!(taken.answer.is_closed());
        // The next session does not send what nobody waits for.
        let _opened = outbox.opened();
        let (sent, ()) = tokio::join!(outbox.send(message("c")), async {
            let request = outbox.next().await;
            assert_eq!(request.message.job.blake3, "c");
            request.answer.send(Ok(())).unwrap();
        });
        sent.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_and_room_are_bounded() {
        let outbox = Outbox::new();
        let _opened = outbox.opened();
        let sends = (0..=WAITING).map(|_| outbox.send(message("a")));
        let sent = futures::future::join_all(sends).await;
        let full = sent.iter().filter(|sent| matches!(sent, Err(Error::Full)));
        assert_eq!(full.count(), 1);
        let late = |sent: &&Result<_, _>| matches!(sent, Err(Error::Unavailable(_)));
        assert_eq!(sent.iter().filter(late).count(), WAITING);
    }
}
