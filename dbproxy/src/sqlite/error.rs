//! What can end a command: a problem that is the caller's business, or the database.

use cloudstore_service::{Kind, Problem};

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

/// How a database error looks to callers, with its text for the log.
pub(super) fn database(error: sqlx::Error) -> Problem {
    classify(&error).caused_by(error)
}

/// How a database error looks to callers. Result codes: <https://sqlite.org/rescode.html>.
pub(super) fn classify(error: &sqlx::Error) -> Problem {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const IOERR: u32 = 10;
    const FULL: u32 = 13;
    const CANTOPEN: u32 = 14;
    let code = error.as_database_error().and_then(|error| error.code());
    // Extended codes carry the primary code in their low byte.
    match (
        error,
        code.and_then(|code| code.parse::<u32>().ok())
            .map(|code| code & 0xff),
    ) {
        (_, Some(FULL)) => Problem::new(
            Kind::InsufficientStorage,
            "the disk of the database is full",
        ),
        (_, Some(BUSY | LOCKED | IOERR | CANTOPEN)) => unavailable(),
        (sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed, _) => {
            unavailable()
        }
        _ => Problem::new(Kind::Internal, "something went wrong in the database"),
    }
}

/// Did a statement violate a uniqueness rule?
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}

/// The database cannot be reached now.
pub(super) fn unavailable() -> Problem {
    Problem::new(Kind::Unavailable, "the database is not available")
}
