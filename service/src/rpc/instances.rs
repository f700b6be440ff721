//! Which instance of a service gets a call.
//!
//! Not tonic's balance channel, because of what it does when things go wrong: without endpoints it
//! waits for ever; an endpoint that refuses connections fails at once and so has the least load of
//! all, which makes it the first choice; and it does not say which endpoint failed, so that a
//! repetition may well go there again.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{
    Status,
    transport::{self, Endpoint},
};

use super::call::random;

/// Instances are on the same network: one that takes longer to accept is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection, idle or not, is probed this often.
const KEEPALIVE: Duration = Duration::from_secs(3);
/// An instance that does not answer a probe for this long hangs, or its host is gone. Together with
/// [`KEEPALIVE`] less than a call's deadline, so that there is time for another instance.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long calls wait for a first instance: a service and those it needs may start together.
const EMPTY_PATIENCE: Duration = Duration::from_secs(1);
/// An instance that failed is left alone for the first time, doubled with each failure, up to the
/// second.
const PENALTY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// HTTP/2 windows: a largest message fits in at once.
const WINDOW: u32 = 16 << 20;

/// The instances of one service.
pub(super) struct Balance {
    service: &'static str,
    watch: watch::Receiver<Vec<SocketAddr>>,
    links: Mutex<Links>,
}

struct Links {
    watch: watch::Receiver<Vec<SocketAddr>>,
    list: Vec<Arc<Link>>,
    /// Since when there has been no instance.
    empty_since: Option<Instant>,
}

/// The connection to an instance.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    channel: transport::Channel,
    calls: AtomicUsize,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    failures: u32,
    until: Option<Instant>,
}

impl Balance {
    pub(super) fn new(service: &'static str, watch: watch::Receiver<Vec<SocketAddr>>) -> Self {
        let mut seen = watch.clone();
        seen.mark_changed();
        Self {
            service,
            watch,
            links: Mutex::new(Links {
                watch: seen,
                list: Vec::new(),
                empty_since: Some(Instant::now()),
            }),
        }
    }

    /// The instance for a call that failed on those in `tried` already.
    pub(super) async fn choose(&self, tried: &[SocketAddr]) -> Result<Arc<Link>, Status> {
        let mut watch = self.watch.clone();
        loop {
            watch.mark_unchanged();
            let empty_since = {
                let links = self.links();
                match (links.choose(tried), links.empty_since) {
                    (Some(link), _) => return Ok(link),
                    (None, since) => since.unwrap_or_else(Instant::now),
                }
            };
            match timeout_at(empty_since + EMPTY_PATIENCE, watch.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => {
                    let why = format!("no instance of {} is there", self.service);
                    return Err(Status::unavailable(why));
                }
            }
        }
    }

    /// The links, as many as there are instances at this moment.
    fn links(&self) -> MutexGuard<'_, Links> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = {
            let seen = links.watch.borrow_and_update();
            seen.has_changed().then(|| seen.clone())
        };
        if let Some(wanted) = wanted {
            links.follow(&wanted);
        }
        links
    }
}

impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.watch.borrow();
        write!(f, "Instances({}, {:?})", self.service, *addresses)
    }
}

impl Links {
    /// Dropping a link does not hurt the calls on its connection: they hold it until they end.
    fn follow(&mut self, wanted: &[SocketAddr]) {
        self.list.retain(|link| wanted.contains(&link.address));
        for &address in wanted {
            if !self.list.iter().any(|link| link.address == address) {
                self.list.push(Arc::new(Link::new(address)));
            }
        }
        if !self.list.is_empty() {
            self.empty_since = None;
        } else if self.empty_since.is_none() {
            self.empty_since = Some(Instant::now());
        }
    }

    /// The less busy of two, out of those that were not tried and did not fail lately; if there
    /// are none, out of those that were not tried; if there are none, out of all.
    fn choose(&self, tried: &[SocketAddr]) -> Option<Arc<Link>> {
        let now = Instant::now();
        let fresh = |link: &&Arc<Link>| !tried.contains(&link.address);
        let well = |link: &&Arc<Link>| link.is_well(now);
        let mut choice: Vec<_> = self.list.iter().filter(fresh).filter(well).collect();
        if choice.is_empty() {
            choice = self.list.iter().filter(fresh).collect();
        }
        if choice.is_empty() {
            choice = self.list.iter().collect();
        }
        let first = random(choice.len())?;
        let second = (first + 1 + random(choice.len() - 1).unwrap_or(0)) % choice.len();
        let busy = |index: usize| choice[index].calls.load(Relaxed);
        let best = if busy(second) < busy(first) {
            second
        } else {
            first
        };
        Some(Arc::clone(choice[best]))
    }
}

impl Link {
    fn new(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .expect("an address and a port are an authority")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE))
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        Self {
            address,
            channel: endpoint.connect_lazy(),
            calls: AtomicUsize::new(0),
            trouble: Mutex::default(),
        }
    }

    /// The connection, counted as busy while the result lives.
    pub(super) fn begin(self: Arc<Self>) -> (transport::Channel, Busy) {
        self.calls.fetch_add(1, Relaxed);
        (self.channel.clone(), Busy(self))
    }

    /// The instance could not be reached, or broke off.
    pub(super) fn failed(&self) {
        let mut trouble = self.trouble();
        let penalty = PENALTY.0 * (1 << trouble.failures.min(8));
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.until = Some(Instant::now() + penalty.min(PENALTY.1));
    }

    /// The instance answered.
    pub(super) fn answered(&self) {
        *self.trouble() = Trouble::default();
    }

    fn is_well(&self, now: Instant) -> bool {
        self.trouble().until.is_none_or(|until| until <= now)
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in hand.
pub(super) struct Busy(pub(super) Arc<Link>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Relaxed);
    }
}
