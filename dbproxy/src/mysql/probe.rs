//! Looking at a server: who it is, and how far it is.

use std::time::{Duration, Instant};

use sqlx::{MySqlConnection, Row as _, mysql::MySqlConnectOptions, raw_sql};
use tokio::time::timeout;

use super::{
    gtid::{Flavour, Position},
    pools,
};

/// A server that does not answer a trivial question in this time serves nobody now.
const MAX_ANSWER: Duration = Duration::from_secs(1);
/// Access denied for this statement.
const DENIED: u16 = 1227;

/// What a server looked like.
pub(super) struct Look {
    pub(super) flavour: Flavour,
    pub(super) read_only: bool,
    /// `None`: nothing was ever committed.
    pub(super) position: Option<Position>,
    /// Replication threads that do not run.
    pub(super) stopped: Option<String>,
    /// When it answered.
    pub(super) at: Instant,
}

/// A connection of its own to a server: busy pools do not hold up what watches over them.
pub(super) struct Probe {
    options: MySqlConnectOptions,
    connection: Option<(MySqlConnection, Flavour)>,
    /// Is this user allowed to see the threads? The warning is given once.
    sees_threads: bool,
}

impl Probe {
    pub(super) fn new(options: MySqlConnectOptions) -> Self {
        Self {
            options,
            connection: None,
            sees_threads: true,
        }
    }

    /// Looks at the server; opens the connection anew when it was lost.
    pub(super) async fn look(&mut self, threads: bool) -> sqlx::Result<Look> {
        // Taken out, and put back only when the answers were read to their end.
        let kept = self.connection.take();
        let (mut connection, flavour) = match kept {
            Some(kept) => kept,
            None => self.open().await?,
        };
        let answered = timeout(MAX_ANSWER, self.ask(&mut connection, flavour, threads));
        let look = answered.await.unwrap_or_else(|_| {
            let kind = std::io::ErrorKind::TimedOut;
            Err(sqlx::Error::Io(std::io::Error::new(
                kind,
                "no answer in time",
            )))
        })?;
        self.connection = Some((connection, flavour));
        Ok(look)
    }

    async fn open(&self) -> sqlx::Result<(MySqlConnection, Flavour)> {
        let mut connection = pools::connect(&self.options).await?;
        let row = raw_sql("SELECT @@version")
            .fetch_one(&mut connection)
            .await?;
        let flavour = Flavour::of(row.try_get_unchecked(0)?);
        Ok((connection, flavour))
    }

    async fn ask(
        &mut self,
        connection: &mut MySqlConnection,
        flavour: Flavour,
        threads: bool,
    ) -> sqlx::Result<Look> {
        let row = raw_sql("SELECT CAST(@@global.read_only AS SIGNED)")
            .fetch_one(&mut *connection)
            .await?;
        let read_only = row.try_get_unchecked::<i64, _>(0)? != 0;
        let row = raw_sql(flavour.position())
            .fetch_one(&mut *connection)
            .await?;
        let at = Instant::now();
        let position = Position::parse(row.try_get_unchecked(0)?);
        let stopped = if threads && self.sees_threads {
            self.stopped(connection, flavour).await?
        } else {
            None
        };
        Ok(Look {
            flavour,
            read_only,
            position,
            stopped,
            at,
        })
    }

    async fn stopped(
        &mut self,
        connection: &mut MySqlConnection,
        flavour: Flavour,
    ) -> sqlx::Result<Option<String>> {
        let rows = match raw_sql(flavour.status()).fetch_all(connection).await {
            Ok(rows) => rows,
            Err(sqlx::Error::Database(error))
                if error
                    .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                    .is_some_and(|error| error.number() == DENIED) =>
            {
                self.sees_threads = false;
                tracing::warn!(
                    server = self.options.get_host(),
                    %error,
                    "replication threads cannot be seen, only how far behind the replica is"
                );
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        for row in rows {
            for name in flavour.threads() {
                // A thread that connects (to a primary that is gone, maybe) is running.
                let state: String = row.try_get_unchecked(name)?;
                if state == "No" {
                    return Ok(Some(format!("{name} is No")));
                }
            }
        }
        Ok(None)
    }
}

/// How a server is called in the log and in metrics.
pub(super) fn name(options: &MySqlConnectOptions) -> String {
    format!("{}:{}", options.get_host(), options.get_port())
}
