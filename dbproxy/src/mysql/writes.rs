//! Write transactions on the primary.
//!
//! An answer is given after COMMIT has returned, together with the position that contains the
//! write. What fails before COMMIT was sent has changed nothing and is begun again, a bounded number
//! of times: a deadlock, a lock that took too long, a lost connection, a primary that is none any
//! more. What fails after it has an unknown outcome and is `Unavailable`: the caller repeats the
//! call, and every call can be repeated.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cloudstore_service::{Kind, Problem, Result};
use sqlx::{Row as _, raw_sql};
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    Shared,
    error::{Fail, Trouble, database, trouble, unavailable},
    pools::Lease,
    primaries::Primary,
    tx::{Command, Tx},
};
use crate::position;

/// How long a write waits for a connection. Whoever would wait for longer comes too late.
const MAX_CONNECTION_WAIT: Duration = Duration::from_secs(5);
/// How long one transaction may take. Lists of revocations look back further than this.
const MAX_TRANSACTION: Duration = Duration::from_secs(8);
/// No transaction is begun again after this: the caller has given up soon.
const MAX_REPEATING: Duration = Duration::from_secs(8);
/// Transactions of one call. Locks are taken in one order, so that deadlocks are rare.
const ATTEMPTS: u32 = 20;
/// First and longest pause before a repetition; the pause is a random part of it and doubles.
const PAUSES: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(250));
/// How long a write waits for a primary while there is none.
const ELECTION: Duration = Duration::from_secs(1);

/// Why an attempt failed.
enum Failed {
    /// For good.
    Answer(Fail),
    /// Nothing was changed.
    Undone(sqlx::Error),
    /// COMMIT was sent and not answered.
    Unknown(sqlx::Error),
}

/// Runs a command in a task of its own: it goes on when the caller does not wait any more.
pub(super) async fn write<C: Command>(shared: &Arc<Shared>, command: C) -> Result<C::Reply> {
    shared.open()?;
    let work = shared.clone();
    let repeated = async move { repeat(&work, &command).await };
    let task = shared.tasks.spawn(repeated.in_current_span());
    match task.await {
        Ok(Ok((reply, reached))) => {
            if let Some(reached) = reached {
                position::reached(reached);
            }
            Ok(reply)
        }
        Ok(Err(problem)) => Err(problem),
        Err(_) => Err(Problem::internal("a command panicked")),
    }
}

async fn repeat<C: Command>(shared: &Shared, command: &C) -> Result<(C::Reply, Option<String>)> {
    let begun = Instant::now();
    let mut pause = PAUSES.0;
    for attempt in 1.. {
        let Some(primary) = shared.primaries.elected(ELECTION).await else {
            return Err(unavailable());
        };
        let error = match transaction(shared, &primary, command).await {
            Ok(done) => return Ok(done),
            Err(Failed::Answer(fail)) => return Err(fail.into()),
            Err(Failed::Unknown(error)) => {
                metrics::counter!("dbproxy_unknown_commits_total").increment(1);
                shared.primaries.suspect(&primary, ELECTION).await;
                let detail = "the database did not confirm; the call may be repeated";
                return Err(Problem::new(Kind::Unavailable, detail).caused_by(error));
            }
            Err(Failed::Undone(error)) => error,
        };
        let cause = trouble(&error);
        let repeatable = matches!(
            cause,
            Trouble::Contention | Trouble::Lost | Trouble::NotPrimary
        ) && !matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed);
        if !repeatable || attempt >= ATTEMPTS || begun.elapsed() > MAX_REPEATING {
            return Err(database(error));
        }
        metrics::counter!("dbproxy_repeated_transactions_total").increment(1);
        tracing::debug!(%error, attempt, "a transaction is begun again");
        if cause != Trouble::Contention {
            shared.primaries.suspect(&primary, ELECTION).await;
        }
        sleep(part_of(pause)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
    Err(unavailable())
}

/// A random part, so that those who met once do not meet again.
fn part_of(pause: Duration) -> Duration {
    // The end of an id is random.
    let random = Uuid::now_v7().as_bytes()[15];
    pause * u32::from(random) / 255
}

async fn transaction<C: Command>(
    shared: &Shared,
    primary: &Primary,
    command: &C,
) -> std::result::Result<(C::Reply, Option<String>), Failed> {
    let lease = primary.writes.get(MAX_CONNECTION_WAIT).await;
    let mut lease = lease.map_err(Failed::Undone)?;
    let work = timeout(MAX_TRANSACTION, run(shared, &mut lease, command)).await;
    let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let reply = match work {
        Ok(Ok(reply)) => reply,
        Ok(Err(Fail::Sql(error))) if trouble(&error) != Trouble::Other => {
            return undo(lease, Failed::Undone(error)).await;
        }
        Ok(Err(fail)) => return undo(lease, Failed::Answer(fail)).await,
        // The connection is closed with the lease, and the server gives the transaction up.
        Err(_) => return Err(Failed::Undone(late())),
    };
    let answer = timeout(
        MAX_TRANSACTION,
        raw_sql(primary.flavour().commit()).fetch_one(&mut lease.connection),
    );
    match answer.await {
        Ok(Ok(row)) => {
            let text: String = row.try_get_unchecked(0).unwrap_or_default();
            lease.give_back();
            Ok((reply, primary.flavour().token(&text)))
        }
        // The server says that it has rolled back.
        Ok(Err(error)) if matches!(trouble(&error), Trouble::Contention | Trouble::NotPrimary) => {
            undo(lease, Failed::Undone(error)).await
        }
        Ok(Err(error)) => Err(Failed::Unknown(error)),
        Err(_) => Err(Failed::Unknown(late())),
    }
}

async fn run<C: Command>(
    shared: &Shared,
    lease: &mut Lease,
    command: &C,
) -> std::result::Result<C::Reply, Fail> {
    raw_sql("START TRANSACTION")
        .execute(&mut lease.connection)
        .await?;
    let mut tx = Tx {
        conn: &mut lease.connection,
        now: shared.clock.now_ms(),
        is_primary: true,
    };
    command.run(&mut tx).await
}

/// Rolls back and keeps the connection if it is any good.
async fn undo<T>(mut lease: Lease, failed: Failed) -> std::result::Result<T, Failed> {
    let undone = raw_sql("ROLLBACK").execute(&mut lease.connection);
    if let Ok(Ok(_)) = timeout(MAX_CONNECTION_WAIT, undone).await {
        lease.give_back();
    }
    Err(failed)
}
