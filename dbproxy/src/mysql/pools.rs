//! Connections to one server.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cloudstore_proto::path;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySqlConnection,
    mysql::MySqlConnectOptions, raw_sql,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long opening a connection may take. Servers are near; one that takes longer is in trouble.
const CONNECT: Duration = Duration::from_secs(2);
/// Idle connections are closed after this: sooner than proxies and firewalls forget them.
const MAX_IDLE: Duration = Duration::from_secs(120);
/// Statements that a connection keeps prepared: those of every day, and few enough that some
/// processes together stay far below the 16,382 that a server allows.
const STATEMENTS: usize = 100;
/// Steps of a recursive query, which takes one for each level of a tree: the longest path has a slash
/// and a letter for each, the root folder is above them, and the last step finds nothing. Both kinds
/// of server stop after 1,000 if nobody says more.
const MAX_STEPS: usize = path::MAX_PATH_BYTES / "/x".len() + 2;

/// Of every connection. READ COMMITTED: under a lock a command sees what others committed, and
/// takes no locks on what is not there. A lock that takes longer than five seconds is as good as
/// a deadlock. Text of the wrong length is refused, not cut. The bound of recursive queries has one
/// name in MySQL, which reads the first kind of comment, and another in MariaDB, which reads the
/// second one.
fn session() -> String {
    format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
        SET SESSION innodb_lock_wait_timeout = 5, time_zone = '+00:00',
            sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'
            /*!80003 , cte_max_recursion_depth = {MAX_STEPS} */
            /*M!100202 , max_recursive_iterations = {MAX_STEPS} */"
    )
}

/// Opens a connection that is set up as every connection is.
pub(super) async fn connect(options: &MySqlConnectOptions) -> sqlx::Result<MySqlConnection> {
    let opened = timeout(CONNECT, async {
        let mut connection = options.connect().await?;
        raw_sql(AssertSqlSafe(session()))
            .execute(&mut connection)
            .await?;
        Ok(connection)
    });
    opened.await.unwrap_or_else(|_| {
        let what = "the server does not accept connections in time";
        Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            what,
        )))
    })
}

/// How to connect to a server of this address (`mysql://user:password@host:port`).
pub(super) fn options(url: &str) -> sqlx::Result<MySqlConnectOptions> {
    let options: MySqlConnectOptions = url.parse()?;
    Ok(options
        .charset("utf8mb4")
        .collation("utf8mb4_bin")
        .pipes_as_concat(false)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging())
}

/// A bounded number of connections. They are opened when they are needed and kept when they were
/// given back; whoever drops one instead (because of an error, or because the caller went away in
/// the middle of a statement) closes it.
pub(super) struct Pool {
    options: MySqlConnectOptions,
    idle: Mutex<Idle>,
    places: Arc<Semaphore>,
}

struct Idle {
    connections: Vec<(MySqlConnection, Instant)>,
    /// Grows when the connections of this moment are given up.
    generation: u64,
}

/// A connection while somebody uses it.
pub(super) struct Lease {
    pub(super) connection: MySqlConnection,
    generation: u64,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(options: MySqlConnectOptions, size: u32) -> Arc<Self> {
        Arc::new(Self {
            options,
            idle: Mutex::new(Idle {
                connections: Vec::new(),
                generation: 0,
            }),
            places: Arc::new(Semaphore::new(size as usize)),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection; waits this long for a place. `PoolTimedOut` when there was none in time.
    pub(super) async fn get(self: &Arc<Self>, wait: Duration) -> sqlx::Result<Lease> {
        let place = timeout(wait, self.places.clone().acquire_owned())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let (kept, generation) = {
            let mut idle = self.idle();
            // The last one used is the warmest; the others may grow old.
            idle.connections
                .retain(|(_, since)| since.elapsed() < MAX_IDLE);
            (idle.connections.pop(), idle.generation)
        };
        let connection = match kept {
            Some((connection, _)) => connection,
            None => connect(&self.options).await?,
        };
        Ok(Lease {
            connection,
            generation,
            pool: self.clone(),
            _place: place,
        })
    }

    /// Gives up the connections there are: the server has gone away, or is not what it was.
    pub(super) fn forget(&self) {
        let mut idle = self.idle();
        idle.generation += 1;
        idle.connections.clear();
    }

    /// Closes what is idle; nobody gets a connection any more.
    pub(super) async fn close(&self) {
        self.places.close();
        let connections = std::mem::take(&mut self.idle().connections);
        for (connection, _) in connections {
            // The server notices the end of the connection, too.
            let _ = timeout(CONNECT, connection.close()).await;
        }
    }
}

impl Lease {
    /// Keeps the connection for the next one. Only for connections without a transaction whose last
    /// statement was read to its end.
    pub(super) fn give_back(self) {
        let mut idle = self.pool.idle();
        if idle.generation == self.generation && !self.pool.places.is_closed() {
            idle.connections.push((self.connection, Instant::now()));
        }
    }
}
