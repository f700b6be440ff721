//! Which instances of a service there are, and what operators set for all of them.

use std::{collections::BTreeMap, net::SocketAddr};

use async_trait::async_trait;
use tokio::sync::watch;

#[cfg(feature = "consul")]
pub mod consul;
pub mod fixed;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// One instance of a service that can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// Unique name. For upload-svc the name of the staging node, which stays the same over
    /// restarts.
    pub id: String,
    /// Where it serves: HTTP, or gRPC for dbproxy.
    pub address: SocketAddr,
    /// Its release.
    pub version: String,
}

/// What an instance says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Name of the service, such as `upload-svc`.
    pub service: String,
    /// The instance.
    pub instance: Instance,
    /// Where `/readyz` answers over HTTP; for all services but dbproxy the same as the instance's
    /// address.
    pub health: SocketAddr,
}

/// Instances of a service, those that are ready only, sorted by id.
pub type Instances = Vec<Instance>;

/// Settings and published facts by key, without the common prefix.
pub type Settings = BTreeMap<String, Vec<u8>>;

/// What is below a prefix, keys without it.
fn below(prefix: &str, settings: &Settings) -> Settings {
    let found = settings.iter().filter_map(|(key, value)| {
        let rest = key.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
        Some((rest.to_owned(), value.clone()))
    });
    found.collect()
}

/// Why discovery failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Anything that may work when tried again.
    #[error("discovery: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Finding each other.
///
/// What is watched never becomes worse because discovery is away: while it cannot be asked, the
/// last known list stays. An empty list is believed only when discovery itself says so.
#[async_trait]
pub trait Discovery: Send + Sync {
    /// Announces an instance and keeps it announced, also when discovery forgets everything, until
    /// [`deregister`](Discovery::deregister). Returns when it has been announced for the first
    /// time. It counts as ready as long as its `/readyz` answers 200.
    async fn register(&self, registration: &Registration) -> Result<(), Error>;

    /// Withdraws an instance: when it returns `Ok`, new watchers do not see it. Withdrawing what
    /// is not there is fine.
    async fn deregister(&self, service: &str, id: &str) -> Result<(), Error>;

    /// The ready instances of a service, from now on. The value is empty until discovery has
    /// answered once. All calls for one service share one watch.
    fn watch(&self, service: &str) -> watch::Receiver<Instances>;

    /// Everything below a prefix such as `settings/`, from now on, keys without the prefix.
    fn watch_settings(&self, prefix: &str) -> watch::Receiver<Settings>;

    /// Asks for everything below a prefix right now, past what is watched.
    async fn read_settings(&self, prefix: &str) -> Result<Settings, Error>;

    /// Sets a key, and sets it again whenever discovery has forgotten it, for the life of this
    /// process.
    async fn publish(&self, key: &str, value: &[u8]) -> Result<(), Error>;
}
