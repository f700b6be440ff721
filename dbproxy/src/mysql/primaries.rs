//! Which server takes the writes.
//!
//! The primary is the first of the configured servers that answers and is not read-only. Everybody
//! decides by the state of the servers alone, so that all processes agree. Whoever moves the role
//! has to see to it that the old primary is read-only before the new one is not, and that servers
//! start read-only.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use sqlx::mysql::MySqlConnectOptions;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    gtid::{Flavour, Position},
    pools::Pool,
    probe::{self, Look, Probe},
};

/// How often the servers are looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// Positions of the primary are kept for this long: a replica that is further behind is out anyway.
const HISTORY: Duration = Duration::from_secs(30);
/// What the primary said longer ago than this does not count against replicas: the primary, not the
/// replica, is what stands still.
const RECENT: Duration = Duration::from_secs(2);

/// A server that may be the primary.
pub(super) struct Primary {
    pub(super) name: String,
    /// For writes.
    pub(super) writes: Arc<Pool>,
    /// For reads, so that many of them never take the connections of writes.
    pub(super) reads: Arc<Pool>,
    pub(super) options: MySqlConnectOptions,
    /// The same without the database, which may be missing.
    pub(super) on_server: MySqlConnectOptions,
    flavour: OnceLock<Flavour>,
}

impl Primary {
    /// Known of every server that was elected.
    pub(super) fn flavour(&self) -> Flavour {
        self.flavour.get().copied().unwrap_or(Flavour::MariaDb)
    }

    /// Gives up the connections there are.
    pub(super) fn forget(&self) {
        self.writes.forget();
        self.reads.forget();
    }
}

/// The servers that may be the primary, and which one is.
pub(super) struct Primaries {
    servers: Vec<Arc<Primary>>,
    state: watch::Sender<State>,
    /// Number of the last look that began.
    begun: AtomicU64,
    look_now: Notify,
    history: Mutex<History>,
}

/// Where the primary was, and since when.
#[derive(Default)]
struct History {
    positions: VecDeque<(Instant, Position)>,
    /// When it told the last one.
    answered: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    current: Option<usize>,
    /// Number of the last look that ended.
    looks: u64,
}

impl Primaries {
    /// Servers in order of preference; their options name no database.
    pub(super) fn new(servers: &[MySqlConnectOptions], database: &str, size: u32) -> Self {
        let servers = servers.iter().map(|on_server| {
            let options = on_server.clone().database(database);
            Arc::new(Primary {
                name: probe::name(&options),
                writes: Pool::new(options.clone(), size),
                reads: Pool::new(options.clone(), size),
                options,
                on_server: on_server.clone(),
                flavour: OnceLock::new(),
            })
        });
        Self {
            servers: servers.collect(),
            state: watch::Sender::default(),
            begun: AtomicU64::new(0),
            look_now: Notify::new(),
            history: Mutex::default(),
        }
    }

    /// Connections for [`Primaries::look`] and [`Primaries::watch`].
    pub(super) fn probes(servers: &[MySqlConnectOptions]) -> Vec<Probe> {
        servers.iter().cloned().map(Probe::new).collect()
    }

    /// The primary, if there is one.
    pub(super) fn current(&self) -> Option<Arc<Primary>> {
        let current = self.state.borrow().current?;
        self.servers.get(current).cloned()
    }

    /// The primary; waits this long for one.
    pub(super) async fn elected(&self, wait: Duration) -> Option<Arc<Primary>> {
        let mut state = self.state.subscribe();
        let found = timeout(wait, state.wait_for(|state| state.current.is_some())).await;
        let current = found.ok()?.ok()?.current?;
        self.servers.get(current).cloned()
    }

    /// A call found the primary gone, or found that it is none: looks again at once, and waits for
    /// what is seen then.
    pub(super) async fn suspect(&self, primary: &Primary, wait: Duration) {
        primary.forget();
        let next = self.begun.load(Ordering::SeqCst) + 1;
        let mut state = self.state.subscribe();
        self.look_now.notify_one();
        // Without an answer in time the caller decides by what was known before.
        let _ = timeout(wait, state.wait_for(|state| state.looks >= next)).await;
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long the primary has had something that this state lacks; `None` when the primary
    /// does not tell at the moment.
    pub(super) fn lag(&self, position: Option<&Position>) -> Option<Duration> {
        let history = self.history();
        if history.answered?.elapsed() > RECENT {
            return None;
        }
        let lacks = |wanted: &Position| !position.is_some_and(|own| own.covers(wanted));
        let first = history.positions.iter().find(|(_, wanted)| lacks(wanted));
        Some(first.map_or(Duration::ZERO, |(since, _)| since.elapsed()))
    }

    /// Looks at the servers again and again until shutdown.
    pub(super) async fn watch(self: Arc<Self>, mut probes: Vec<Probe>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = timeout(PERIOD, self.look_now.notified()) => {}
            }
            self.look(&mut probes).await;
        }
    }

    /// Looks at every server and decides which is the primary.
    pub(super) async fn look(&self, probes: &mut [Probe]) {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let looks = join_all(probes.iter_mut().map(|probe| probe.look(false))).await;
        let mut current = None;
        for (index, look) in looks.iter().enumerate() {
            let Ok(Look {
                flavour,
                read_only: false,
                position,
                at,
                ..
            }) = look
            else {
                continue;
            };
            let _ = self.servers[index].flavour.set(*flavour);
            if let Some(position) = position {
                self.remember(*at, position.clone());
            }
            current = Some(index);
            break;
        }
        let before = self.state.borrow().current;
        if before != current || number == 1 {
            self.tell(before, current, &looks);
        }
        self.state.send_replace(State {
            current,
            looks: number,
        });
    }

    fn remember(&self, at: Instant, position: Position) {
        let mut history = self.history();
        history.answered = Some(at);
        if history
            .positions
            .back()
            .is_none_or(|(_, last)| *last != position)
        {
            history.positions.push_back((at, position));
        }
        // The last one stays, however long nothing is written.
        while history.positions.len() > 1
            && history
                .positions
                .front()
                .is_some_and(|(since, _)| since.elapsed() > HISTORY)
        {
            history.positions.pop_front();
        }
    }

    /// Says once what changed.
    fn tell(&self, before: Option<usize>, current: Option<usize>, looks: &[sqlx::Result<Look>]) {
        if let Some(server) = before.and_then(|before| self.servers.get(before)) {
            // Nothing new may go there by accident.
            server.forget();
        }
        if let Some(current) = current {
            tracing::info!(primary = %self.servers[current].name, "this is the primary");
        } else {
            for (server, look) in self.servers.iter().zip(looks) {
                match look {
                    Ok(_) => tracing::error!(server = %server.name, "no primary: it is read-only"),
                    Err(error) => tracing::error!(server = %server.name, %error, "no primary"),
                }
            }
        }
        metrics::counter!("dbproxy_primary_changes_total").increment(1);
    }

    /// Closes every connection.
    pub(super) async fn close(&self) {
        for server in &self.servers {
            server.writes.close().await;
            server.reads.close().await;
        }
    }
}
