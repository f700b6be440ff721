//! The one connection that writes, and the task that owns it.
//!
//! Commands that wait at the same time are folded into one transaction, so that one flush of the
//! log serves them all. Each runs inside a savepoint of its own: a command that fails is rolled
//! back alone. Nobody gets an answer before the commit, and when the commit fails nobody gets a
//! good one.

use std::{io, panic::AssertUnwindSafe, sync::Arc, thread, time::Duration};

use async_trait::async_trait;
use cloudstore_service::{Kind, Problem, Result};
use futures::FutureExt as _;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::error::{Fail, Outcome, classify, unavailable};
use crate::clock::Clock;

/// Commands that may wait. At the rates this machine reaches, more would wait for seconds.
const QUEUE: usize = 4_096;
/// Commands in one transaction: enough to share a flush, few enough to bound what one failure of
/// the disk takes with it.
const MAX_BATCH: usize = 256;
/// A transaction takes no further command after this, so that the first one does not wait for long.
const MAX_BATCH_TIME: Duration = Duration::from_millis(50);
/// How long a caller waits for a place in the queue.
const MAX_QUEUE_WAIT: Duration = Duration::from_secs(5);

/// A transaction, or a connection that only reads.
pub(super) struct Tx<'c> {
    /// The connection.
    pub(super) conn: &'c mut SqliteConnection,
    /// When the work began, Unix milliseconds.
    pub(super) now: i64,
}

/// Work on the database: implemented by the requests.
#[async_trait]
pub(super) trait Command: Send + 'static {
    /// What the caller gets.
    type Reply: Send + 'static;
    /// Does the work. Whatever an error leaves behind is rolled back.
    async fn run(self, tx: &mut Tx<'_>) -> Outcome<Self::Reply>;
}

/// Hands commands to the writer task.
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
    closing: CancellationToken,
    /// The task has ended.
    closed: CancellationToken,
}

impl Writer {
    /// Starts the task on an open connection; `options` opens it again should it break.
    ///
    /// It has a thread of its own: every statement is a round trip to SQLite's thread, and waking
    /// a parked thread costs less than waking the scheduler.
    pub(super) fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            connection: Some(connection),
            options,
            clock,
            closing: closing.clone(),
        };
        let runtime = Handle::current();
        let ended = closed.clone().drop_guard();
        thread::Builder::new()
            .name("database-writer".to_owned())
            .spawn(move || {
                runtime.block_on(task.run(jobs));
                drop(ended);
            })?;
        Ok(Self {
            queue,
            closing,
            closed,
        })
    }

    /// Runs a command and waits until it is durable.
    pub(super) async fn run<C: Command>(&self, command: C) -> Result<C::Reply> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending {
            command: Some(command),
            outcome: None,
            reply,
        });
        match self.queue.send_timeout(job, MAX_QUEUE_WAIT).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(unavailable())),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(unavailable()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Problem::new(
                Kind::Overloaded,
                "too many writes are waiting",
            )),
        }
    }

    /// Finishes what waits, then closes the connection.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.closed.cancelled().await;
    }
}

/// A command with its caller, whatever its type.
#[async_trait]
trait Job: Send {
    /// The caller does not wait any more.
    fn is_abandoned(&self) -> bool;
    /// Runs the command and keeps its outcome. After an error its changes must go; the kind is
    /// there when it was the database's.
    async fn run(&mut self, tx: &mut Tx<'_>) -> std::result::Result<(), Option<Kind>>;
    /// Tells the caller. `lost`: the transaction failed, and with it every command.
    fn answer(self: Box<Self>, lost: Option<Kind>);
}

struct Pending<C: Command> {
    command: Option<C>,
    outcome: Option<Outcome<C::Reply>>,
    reply: oneshot::Sender<Result<C::Reply>>,
}

#[async_trait]
impl<C: Command> Job for Pending<C> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    async fn run(&mut self, tx: &mut Tx<'_>) -> std::result::Result<(), Option<Kind>> {
        let Some(command) = self.command.take() else {
            return Err(None);
        };
        // A panic must not take the only writer with it.
        let outcome = AssertUnwindSafe(command.run(tx)).catch_unwind().await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(Fail::Problem(Problem::internal("a command panicked"))));
        let ran = match &outcome {
            Ok(_) => Ok(()),
            Err(Fail::Problem(_)) => Err(None),
            Err(Fail::Sql(error)) => Err(Some(classify(error).kind())),
        };
        self.outcome = Some(outcome);
        ran
    }

    fn answer(self: Box<Self>, lost: Option<Kind>) {
        let result = match (lost, self.outcome) {
            // A command's own error is the same in any transaction.
            (None, Some(outcome)) | (Some(_), Some(outcome @ Err(_))) => {
                outcome.map_err(Problem::from)
            }
            (Some(kind), _) => Err(Problem::new(
                kind,
                "the database failed; the call may be repeated",
            )),
            (None, None) => Err(unavailable()),
        };
        // A caller that has gone is not waiting for an answer.
        let _ = self.reply.send(result);
    }
}

/// Why a whole transaction failed.
struct Lost {
    /// For the callers.
    kind: Kind,
    /// For the log.
    error: sqlx::Error,
}

impl From<sqlx::Error> for Lost {
    fn from(error: sqlx::Error) -> Self {
        Self {
            kind: classify(&error).kind(),
            error,
        }
    }
}

struct Task {
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    clock: Arc<dyn Clock>,
    closing: CancellationToken,
}

impl Task {
    async fn run(mut self, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
        let closing = self.closing.clone();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let job = tokio::select! {
                biased;
                () = closing.cancelled(), if !jobs.is_closed() => {
                    jobs.close();
                    continue;
                }
                job = jobs.recv() => job,
            };
            let Some(job) = job else { break };
            batch.push(job);
            let lost = self.transaction(&mut jobs, &mut batch).await.err();
            if let Some(Lost { error, .. }) = &lost {
                tracing::error!(%error, commands = batch.len(), "a transaction was lost");
                // Whatever state the connection is in, a new one is in none.
                self.connection = None;
            }
            metrics::histogram!("dbproxy_commands_per_transaction")
                .record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
            for job in batch.drain(..) {
                job.answer(lost.as_ref().map(|lost| lost.kind));
            }
        }
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    /// Runs the first job of the batch and those that come while it runs, and commits.
    async fn transaction(
        &mut self,
        jobs: &mut mpsc::Receiver<Box<dyn Job>>,
        batch: &mut Vec<Box<dyn Job>>,
    ) -> std::result::Result<(), Lost> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        let conn = self.connection.as_mut().expect("it was opened above");
        let deadline = Instant::now() + MAX_BATCH_TIME;
        let mut savepoint = "BEGIN IMMEDIATE; SAVEPOINT command";
        while let Some(job) = batch.last_mut() {
            if !job.is_abandoned() {
                sqlx::query(savepoint).execute(&mut *conn).await?;
                savepoint = "RELEASE command; SAVEPOINT command";
                let now = self.clock.now_ms();
                if let Err(kind) = job
                    .run(&mut Tx {
                        conn: &mut *conn,
                        now,
                    })
                    .await
                {
                    // Fails when SQLite has rolled back the whole transaction on its own, as it
                    // does when the disk is full; then nothing of it may be committed.
                    let undone = sqlx::query("ROLLBACK TO command").execute(&mut *conn).await;
                    undone.map_err(|error| Lost {
                        kind: kind.unwrap_or_else(|| classify(&error).kind()),
                        error,
                    })?;
                }
            }
            if batch.len() == MAX_BATCH || Instant::now() >= deadline {
                break;
            }
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        if savepoint.starts_with("RELEASE") {
            // Releases the last savepoint, too.
            sqlx::query("COMMIT").execute(&mut *conn).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;
    use tempfile::TempDir;

    use super::*;
    use crate::clock::SystemClock;

    /// Adds a row of this many bytes, then panics if it has to.
    struct Add {
        bytes: u32,
        panics: bool,
    }

    #[async_trait]
    impl Command for Add {
        type Reply = i64;

        async fn run(self, tx: &mut Tx<'_>) -> Outcome<i64> {
            sqlx::query("INSERT INTO t VALUES (zeroblob(?))")
                .bind(self.bytes)
                .execute(&mut *tx.conn)
                .await?;
            assert!(!self.panics, "as asked");
            let row = sqlx::query("SELECT count(*) FROM t")
                .fetch_one(&mut *tx.conn)
                .await?;
            Ok(row.try_get(0)?)
        }
    }

    async fn writer(dir: &TempDir) -> Writer {
        let options = SqliteConnectOptions::new()
            .filename(dir.path().join("db"))
            .create_if_missing(true)
            .pragma("max_page_count", "50");
        let mut connection = options.connect().await.unwrap();
        sqlx::query("CREATE TABLE t (x BLOB)")
            .execute(&mut connection)
            .await
            .unwrap();
        Writer::start(connection, options, Arc::new(SystemClock)).unwrap()
    }

    fn add(bytes: u32) -> Add {
        Add {
            bytes,
            panics: false,
        }
    }

    #[tokio::test]
    async fn a_full_disk_refuses_what_does_not_fit() {
        let dir = TempDir::new().unwrap();
        let writer = writer(&dir).await;
        let (first, large, last) = tokio::join!(
            writer.run(add(10)),
            writer.run(add(1 << 20)),
            writer.run(add(10))
        );
        assert_eq!(large.unwrap_err().kind(), Kind::InsufficientStorage);
        // Those in one transaction with it either are kept or are refused, too: never half.
        let kept = i64::from(first.is_ok()) + i64::from(last.is_ok());
        assert_eq!(
            writer.run(add(10)).await.unwrap(),
            kept + 1,
            "it goes on without a restart"
        );
        writer.close().await;
    }

    #[tokio::test]
    async fn a_panic_takes_only_its_own_command() {
        let dir = TempDir::new().unwrap();
        let writer = writer(&dir).await;
        let (first, panicked, last) = tokio::join!(
            writer.run(add(10)),
            writer.run(Add {
                bytes: 10,
                panics: true
            }),
            writer.run(add(10))
        );
        assert_eq!((first.unwrap(), last.unwrap()), (1, 2));
        assert_eq!(panicked.unwrap_err().kind(), Kind::Internal);
        writer.close().await;
        assert_eq!(
            writer.run(add(1)).await.unwrap_err().kind(),
            Kind::Unavailable
        );
    }

    #[tokio::test]
    async fn what_waits_is_finished_before_the_end() {
        let dir = TempDir::new().unwrap();
        let writer = writer(&dir).await;
        let mut waiting = Box::pin(writer.run(add(10)));
        assert!(
            futures::poll!(&mut waiting).is_pending(),
            "it is in the queue"
        );
        let (waited, ()) = tokio::join!(waiting, writer.close());
        assert_eq!(waited.unwrap(), 1);
    }
}
