//! What can end a command: a problem that is the caller's business, or the database.

use cloudstore_service::{Kind, Problem};
use sqlx::mysql::MySqlDatabaseError;

/// Result of database work.
pub(super) type Outcome<T> = Result<T, Fail>;

/// Why a command has no result.
#[derive(Debug)]
pub(super) enum Fail {
    /// For the caller.
    Problem(Problem),
    /// For the operator.
    Sql(sqlx::Error),
}

impl From<Problem> for Fail {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<sqlx::Error> for Fail {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Fail> for Problem {
    fn from(fail: Fail) -> Self {
        match fail {
            Fail::Problem(problem) => problem,
            Fail::Sql(error) => database(error),
        }
    }
}

/// Something the schema rules out was found in the database.
pub(super) fn corrupt(what: &'static str) -> Fail {
    Fail::Problem(Problem::internal(what))
}

/// What an error means for the work that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another transaction was in the way: the same work may succeed a moment later.
    Contention,
    /// The server takes no writes: it is not the primary any more.
    NotPrimary,
    /// The connection is gone, or the server is about to go.
    Lost,
    /// No room on the server's disk.
    Full,
    /// Anything else: repeating would not help.
    Other,
}

/// What an error means. Numbers: <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>
/// and <https://mariadb.com/kb/en/mariadb-error-code-reference/>.
pub(super) fn trouble(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::Database(error) => {
            let number = error
                .try_downcast_ref::<MySqlDatabaseError>()
                .map_or(0, MySqlDatabaseError::number);
            match number {
                // Lock wait timeout, deadlock, changed since it was read (MariaDB with snapshot
                // isolation, clusters).
                1205 | 1213 | 1020 => Trouble::Contention,
                // --read-only, read-only mode, read-only transaction, --super-read-only.
                1290 | 1836 | 1792 | 3100 => Trouble::NotPrimary,
                // Too many connections (of the server, of a user), shutdown, killed, node not ready.
                1040 | 1203 | 1053 | 1927 | 1317 | 3169 | 4031 | 1047 => Trouble::Lost,
                // Disk, table or tablespace full; a file that cannot be written.
                1021 | 1114 | 1026 | 3 => Trouble::Full,
                _ => Trouble::Other,
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => Trouble::Lost,
        _ => Trouble::Other,
    }
}

/// How a database error looks to callers, with its text for the log.
pub(super) fn database(error: sqlx::Error) -> Problem {
    let problem = match trouble(&error) {
        Trouble::Contention => Problem::new(
            Kind::Overloaded,
            "other work was in the way for too long; the call may be repeated",
        ),
        Trouble::NotPrimary | Trouble::Lost => unavailable(),
        Trouble::Full => Problem::new(
            Kind::InsufficientStorage,
            "the disk of the database is full",
        ),
        Trouble::Other => Problem::new(Kind::Internal, "something went wrong in the database"),
    };
    problem.caused_by(error)
}

/// Did the server end a statement because of its time (MySQL, MariaDB)?
pub(super) fn takes_too_long(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    let error = error.and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| [3024, 1969].contains(&error.number()))
}

/// Did a statement violate a uniqueness rule? Only the statement is undone then, the transaction
/// goes on.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}

/// The database cannot be reached now.
pub(super) fn unavailable() -> Problem {
    Problem::new(Kind::Unavailable, "the database is not available")
}
