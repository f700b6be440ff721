//! Commands, and the transactions they run in.

use async_trait::async_trait;
use sqlx::MySqlConnection;

use super::error::Outcome;

/// A transaction, or a connection that only reads.
pub(super) struct Tx<'c> {
    /// The connection.
    pub(super) conn: &'c mut MySqlConnection,
    /// When the work began, Unix milliseconds.
    pub(super) now: i64,
    /// This is the primary: nothing that was committed is missing.
    pub(super) is_primary: bool,
}

/// Work on the database: implemented by the requests.
///
/// It runs by reference and may run several times: a transaction that meets a deadlock is rolled
/// back and begun again.
#[async_trait]
pub(super) trait Command: Send + Sync + 'static {
    /// What the caller gets.
    type Reply: Send + 'static;
    /// Does the work. Whatever an error leaves behind is rolled back.
    async fn run(&self, tx: &mut Tx<'_>) -> Outcome<Self::Reply>;
}
