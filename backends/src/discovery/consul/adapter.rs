//! The port on top of Consul's requests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Api, ConsulConfig, announcing::Announcement, watching::follow};
use crate::discovery::{Discovery, Error, Instance, Instances, Registration, Settings};

/// How long a withdrawn instance may still be listed. Consul's agent tells its servers a moment
/// after it has answered.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(5);
/// How often the list is looked at meanwhile.
const WITHDRAWN_LOOK: Duration = Duration::from_millis(20);

/// Instances and settings in Consul. When it is dropped, watches stop and nothing is announced
/// again; what was announced stays until its checks fail.
pub struct ConsulDiscovery {
    api: Arc<Api>,
    watches: Mutex<Watches>,
    /// By what is announced: an instance's service and id, or a key.
    announced: tokio::sync::Mutex<HashMap<Announced, Announcement>>,
}

#[derive(Default)]
struct Watches {
    instances: HashMap<String, watch::Receiver<Instances>>,
    settings: HashMap<String, watch::Receiver<Settings>>,
    tasks: JoinSet<()>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Announced {
    Instance(String, String),
    Key(String),
}

impl ConsulDiscovery {
    /// Uses the agent at an address. Nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up, or for an address that is not HTTP.
    pub fn new(config: ConsulConfig) -> Result<Self, Error> {
        Ok(Self {
            api: Arc::new(Api::new(config)?),
            watches: Mutex::default(),
            announced: tokio::sync::Mutex::default(),
        })
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is announced under this name. Whatever is announced next comes after it.
    async fn stop(&self, name: &Announced) {
        let announcement = self.announced.lock().await.remove(name);
        if let Some(announcement) = announcement {
            announcement.stop().await;
        }
    }
}

fn instances(items: &BTreeMap<String, Instance>) -> Instances {
    items.values().cloned().collect()
}

fn tell<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|old| {
        let changed = *old != new;
        *old = new;
        changed
    });
}

#[async_trait]
impl Discovery for ConsulDiscovery {
    async fn register(&self, registration: &Registration) -> Result<(), Error> {
        let (service, id) = (&registration.service, &registration.instance.id);
        let name = Announced::Instance(service.clone(), id.clone());
        self.stop(&name).await;
        let say = {
            let (api, registration) = (self.api.clone(), Arc::new(registration.clone()));
            move || {
                let (api, registration) = (api.clone(), registration.clone());
                async move { api.register(&registration).await }
            }
        };
        let known = {
            let (api, service, id) = (self.api.clone(), service.clone(), id.clone());
            move || {
                let (api, service, id) = (api.clone(), service.clone(), id.clone());
                async move { api.is_registered(&service, &id).await }
            }
        };
        let announcement = Announcement::start(format!("{service} {id}"), false, say, known);
        let mut said = announcement.said();
        self.announced.lock().await.insert(name, announcement);
        let said = said.wait_for(|said| *said).await;
        said.map(drop)
            .map_err(|_| Error::Unavailable("withdrawn before it was announced".into()))
    }

    async fn deregister(&self, service: &str, id: &str) -> Result<(), Error> {
        self.stop(&Announced::Instance(service.to_owned(), id.to_owned()))
            .await;
        self.api.deregister(service, id).await?;
        let until = Instant::now() + WITHDRAWN_WITHIN;
        while self.api.list(service).await?.items.contains_key(id) {
            if Instant::now() >= until {
                return Err(Error::Unavailable("withdrawn, but still listed".into()));
            }
            sleep(WITHDRAWN_LOOK).await;
        }
        Ok(())
    }

    fn watch(&self, service: &str) -> watch::Receiver<Instances> {
        let mut watches = self.watches();
        if let Some(receiver) = watches.instances.get(service) {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(Instances::new());
        let (api, name) = (self.api.clone(), service.to_owned());
        watches.tasks.spawn(async move {
            let fetch = |index, wait| api.wait_instances(&name, index, wait);
            follow(&name, fetch, |items| tell(&sender, instances(items))).await;
        });
        watches
            .instances
            .insert(service.to_owned(), receiver.clone());
        receiver
    }

    fn watch_settings(&self, prefix: &str) -> watch::Receiver<Settings> {
        let mut watches = self.watches();
        if let Some(receiver) = watches.settings.get(prefix) {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(Settings::new());
        let (api, name) = (self.api.clone(), prefix.to_owned());
        watches.tasks.spawn(async move {
            let fetch = |index, wait| api.wait_settings(&name, index, wait);
            follow(&name, fetch, |items| tell(&sender, items.clone())).await;
        });
        watches.settings.insert(prefix.to_owned(), receiver.clone());
        receiver
    }

    async fn read_settings(&self, prefix: &str) -> Result<Settings, Error> {
        Ok(self.api.settings(prefix).await?.items)
    }

    async fn publish(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let name = Announced::Key(key.to_owned());
        self.stop(&name).await;
        // The caller hears of a failure, and tries again.
        self.api.set(key, value).await?;
        let say = {
            let (api, key, value) = (self.api.clone(), key.to_owned(), value.to_owned());
            move || {
                let (api, key, value) = (api.clone(), key.clone(), value.clone());
                async move { api.set(&key, &value).await }
            }
        };
        let known = {
            let (api, key) = (self.api.clone(), key.to_owned());
            move || {
                let (api, key) = (api.clone(), key.clone());
                async move { api.is_set(&key).await }
            }
        };
        let announcement = Announcement::start(format!("key {key}"), true, say, known);
        self.announced.lock().await.insert(name, announcement);
        Ok(())
    }
}
