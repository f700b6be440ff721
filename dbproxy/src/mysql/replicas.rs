//! Which servers answer reads, and how far each of them is.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{Row as _, mysql::MySqlConnectOptions};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    gtid::{Flavour, Position},
    pools::{Lease, Pool},
    primaries::Primaries,
    probe::{self, Look, Probe},
};

/// How often a replica is looked at.
const PERIOD: Duration = Duration::from_millis(150);
/// A replica that is further behind than this answers nobody: what callers without a position see
/// is never much older.
const MAX_LAG: Duration = Duration::from_secs(10);
/// A replica that was out has to be this near before it answers again, so that it does not come
/// and go.
const BACK_LAG: Duration = Duration::from_secs(1);
/// How long a read waits for a replica to have what it has to see; then the primary answers. On
/// healthy servers that takes a few milliseconds.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// A server that answers reads.
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) pool: Arc<Pool>,
    flavour: OnceLock<Flavour>,
    state: Mutex<State>,
    look_now: Notify,
}

struct State {
    /// Why it answers nobody; `None` when it does.
    out: Option<String>,
    /// It answered when it was last looked at.
    reachable: bool,
    position: Option<Position>,
    /// It lacks something and got nothing between the last two looks: waiting does not help.
    stands_still: bool,
}

impl Replica {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_healthy(&self) -> bool {
        self.state().out.is_none()
    }

    fn has(&self, wanted: &Position) -> bool {
        let state = self.state();
        let position = state.position.as_ref();
        state.reachable && position.is_some_and(|position| position.covers(wanted))
    }

    /// A call met an error here: out until it was looked at again, which happens at once.
    pub(super) fn suspect(&self, why: &sqlx::Error) {
        self.pool.forget();
        let mut state = self.state();
        if state.out.is_none() {
            tracing::warn!(replica = %self.name, error = %why, "a read failed on a replica");
            state.out = Some("a read failed".to_owned());
            self.count_ejection();
        }
        state.reachable = false;
        drop(state);
        self.look_now.notify_one();
    }

    fn count_ejection(&self) {
        let name = self.name.clone();
        metrics::counter!("dbproxy_replica_ejections_total", "replica" => name).increment(1);
    }

    /// Waits on a connection of this replica until it has what is wanted, but not for long.
    async fn wait(&self, lease: &mut Lease, text: &str, wait: Duration) -> sqlx::Result<bool> {
        let flavour = self.flavour.get().copied().unwrap_or(Flavour::MariaDb);
        let row = sqlx::query(flavour.wait())
            .bind(text)
            .bind(wait.as_secs_f64())
            .fetch_one(&mut lease.connection)
            .await?;
        Ok(row.try_get_unchecked::<Option<i64>, _>(0)? == Some(0))
    }
}

/// A position that a read has to see.
pub(super) struct Wanted {
    pub(super) text: String,
    pub(super) position: Position,
}

/// The servers that answer reads.
pub(super) struct Replicas {
    servers: Vec<Arc<Replica>>,
    next: AtomicUsize,
    /// How many are healthy.
    healthy: watch::Sender<usize>,
}

impl Replicas {
    /// The options of the servers name no database.
    pub(super) fn new(servers: &[MySqlConnectOptions], database: &str, size: u32) -> Self {
        let servers = servers.iter().map(|options| {
            Arc::new(Replica {
                name: probe::name(options),
                pool: Pool::new(options.clone().database(database), size),
                flavour: OnceLock::new(),
                state: Mutex::new(State {
                    out: Some("not looked at yet".to_owned()),
                    reachable: false,
                    position: None,
                    stands_still: false,
                }),
                look_now: Notify::new(),
            })
        });
        Self {
            servers: servers.collect(),
            next: AtomicUsize::new(0),
            healthy: watch::Sender::new(0),
        }
    }

    pub(super) fn servers(&self) -> &[Arc<Replica>] {
        &self.servers
    }

    /// Follows how many replicas answer reads.
    pub(super) fn healthy(&self) -> watch::Receiver<usize> {
        self.healthy.subscribe()
    }

    /// Every replica, starting with another one each time.
    fn in_turn(&self) -> impl Iterator<Item = &Arc<Replica>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len().max(1);
        let (before, after) = self.servers.split_at(first);
        after.iter().chain(before)
    }

    /// A replica that answers anybody.
    pub(super) fn any(&self) -> Option<Arc<Replica>> {
        self.in_turn().find(|replica| replica.is_healthy()).cloned()
    }

    /// A replica that answers at all, however old its answer: for when there is no primary.
    pub(super) fn reachable(&self) -> Option<Arc<Replica>> {
        let mut servers = self.in_turn();
        servers.find(|replica| replica.state().reachable).cloned()
    }

    /// A replica that has what is wanted, with a connection; waits for one a little if none is
    /// known to.
    pub(super) async fn with(&self, wanted: &Wanted) -> Option<(Arc<Replica>, Lease)> {
        let known = self.in_turn().find(|replica| replica.has(&wanted.position));
        if let Some(replica) = known {
            let lease = replica.pool.get(MAX_WAIT).await;
            return lease.ok().map(|lease| (replica.clone(), lease));
        }
        let hopeful = |replica: &&Arc<Replica>| {
            let state = replica.state();
            state.out.is_none() && !state.stands_still
        };
        let replica = self.in_turn().find(hopeful)?;
        let deadline = Instant::now() + MAX_WAIT;
        let mut lease = replica.pool.get(MAX_WAIT).await.ok()?;
        let left = deadline.saturating_duration_since(Instant::now());
        // Half as long again as the server was told: it may be the one that does not answer.
        let waited = timeout(
            MAX_WAIT + MAX_WAIT / 2,
            replica.wait(&mut lease, &wanted.text, left),
        );
        match waited.await {
            Ok(Ok(true)) => Some((replica.clone(), lease)),
            Ok(Ok(false)) => {
                lease.give_back();
                None
            }
            Ok(Err(error)) => {
                replica.suspect(&error);
                None
            }
            Err(_) => None,
        }
    }

    /// Looks at one replica again and again until shutdown. It is out until it has `floor`, the
    /// state in which the tables are there.
    pub(super) async fn watch(
        self: Arc<Self>,
        replica: Arc<Replica>,
        on_server: MySqlConnectOptions,
        primaries: Arc<Primaries>,
        floor: Option<Position>,
        stop: CancellationToken,
    ) {
        let mut probe = Probe::new(on_server);
        loop {
            let look = probe.look(true).await;
            let seen = Self::judge(&replica, look, &primaries, floor.as_ref());
            self.note(&replica, seen);
            tokio::select! {
                () = stop.cancelled() => return,
                _ = timeout(PERIOD, replica.look_now.notified()) => {}
            }
        }
    }

    /// What a look says about a replica.
    fn judge(
        replica: &Replica,
        look: sqlx::Result<Look>,
        primaries: &Primaries,
        floor: Option<&Position>,
    ) -> State {
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                return State {
                    out: Some(error.to_string()),
                    reachable: false,
                    position: None,
                    stands_still: false,
                };
            }
        };
        let _ = replica.flavour.set(look.flavour);
        let position = look.position;
        let has = |wanted| position.as_ref().is_some_and(|at| at.covers(wanted));
        let has_tables = floor.is_none_or(has);
        // Without a primary nobody knows how far behind it is, and it has what there is.
        let lag = primaries.lag(position.as_ref());
        if let Some(lag) = lag {
            let name = replica.name.clone();
            metrics::gauge!("dbproxy_replica_lag_seconds", "replica" => name)
                .set(lag.as_secs_f64());
        }
        let before = replica.state();
        let bearable = if before.out.is_none() {
            MAX_LAG
        } else {
            BACK_LAG
        };
        let out = if let Some(stopped) = look.stopped {
            Some(stopped)
        } else if !has_tables {
            Some("it does not have the tables yet".to_owned())
        } else if lag.is_some_and(|lag| lag > bearable) {
            Some("it is too far behind".to_owned())
        } else {
            None
        };
        State {
            out,
            reachable: has_tables,
            stands_still: lag.is_some_and(|lag| lag > PERIOD) && before.position == position,
            position,
        }
    }

    /// Remembers what was seen, and says once what changed.
    fn note(&self, replica: &Replica, seen: State) {
        let why = seen.out.clone();
        let before = std::mem::replace(&mut *replica.state(), seen).out;
        match (&before, &why) {
            (Some(_), None) => tracing::info!(replica = %replica.name, "a replica answers reads"),
            (None, Some(why)) => {
                replica.pool.forget();
                replica.count_ejection();
                tracing::warn!(replica = %replica.name, %why, "a replica answers no reads");
            }
            (Some(before), Some(why)) if before != why => {
                tracing::warn!(replica = %replica.name, %why, "a replica answers no reads");
            }
            _ => {}
        }
        let healthy = self.servers.iter().filter(|one| one.is_healthy()).count();
        self.healthy.send_if_modified(|known| {
            let changed = *known != healthy;
            *known = healthy;
            changed
        });
    }

    /// Closes every connection.
    pub(super) async fn close(&self) {
        for replica in &self.servers {
            replica.pool.close().await;
        }
    }
}
