//! Instances and settings that never change: for one process, and for hosts without Consul.
//!
//! What this process itself registers and publishes is added to its own lists, and nobody else
//! sees it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Discovery, Error, Instances, Registration, Settings, below};

/// Lists in memory. Every registered instance counts as ready.
#[derive(Debug)]
pub struct FixedDiscovery(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    instances: HashMap<String, watch::Sender<Instances>>,
    settings: Settings,
    watched: HashMap<String, watch::Sender<Settings>>,
}

impl FixedDiscovery {
    /// What there is: instances by service, settings by their whole key.
    #[must_use]
    pub fn new(instances: HashMap<String, Instances>, settings: Settings) -> Self {
        let instances = instances.into_iter().map(|(service, mut list)| {
            list.sort();
            (service, watch::Sender::new(list))
        });
        Self(Mutex::new(State {
            instances: instances.collect(),
            settings,
            watched: HashMap::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Discovery for FixedDiscovery {
    async fn register(&self, registration: &Registration) -> Result<(), Error> {
        let Registration {
            service, instance, ..
        } = registration;
        let mut state = self.lock();
        let list = state.instances.entry(service.clone()).or_default();
        list.send_modify(|list| {
            list.retain(|other| other.id != instance.id);
            list.push(instance.clone());
            list.sort();
        });
        Ok(())
    }

    async fn deregister(&self, service: &str, id: &str) -> Result<(), Error> {
        if let Some(list) = self.lock().instances.get(service) {
            list.send_modify(|list| list.retain(|instance| instance.id != id));
        }
        Ok(())
    }

    fn watch(&self, service: &str) -> watch::Receiver<Instances> {
        let mut state = self.lock();
        let list = state.instances.entry(service.to_owned()).or_default();
        list.subscribe()
    }

    fn watch_settings(&self, prefix: &str) -> watch::Receiver<Settings> {
        let mut state = self.lock();
        let current = below(prefix, &state.settings);
        let watched = state.watched.entry(prefix.to_owned());
        watched
            .or_insert_with(|| watch::Sender::new(current))
            .subscribe()
    }

    async fn read_settings(&self, prefix: &str) -> Result<Settings, Error> {
        Ok(below(prefix, &self.lock().settings))
    }

    async fn publish(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let mut state = self.lock();
        state.settings.insert(key.to_owned(), value.to_owned());
        for (prefix, watched) in &state.watched {
            if let Some(rest) = key.strip_prefix(prefix) {
                watched.send_modify(|settings| {
                    settings.insert(rest.to_owned(), value.to_owned());
                });
            }
        }
        Ok(())
    }
}
