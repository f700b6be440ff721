//! The other nodes: which there are, and which have been away for too long.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cloudstore_backends::discovery::{Instance, Instances};
use cloudstore_service::trust::{Tokens, Trusted};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// Nodes whose absence is remembered. Rows name nodes that existed once, and those are few.
const MAX_ABSENT: usize = 1_000;

/// How an instance of upload-svc and the others know each other.
pub struct Peers {
    /// The instances that are ready, this one among them.
    pub instances: watch::Receiver<Instances>,
    /// Makes this instance's service tokens.
    pub tokens: Tokens,
    /// Whose service tokens it accepts.
    pub trusted: Trusted,
}

impl Peers {
    /// This node and no other.
    pub(crate) fn none(node: &str) -> Self {
        let this = Instance {
            id: node.to_owned(),
            // Nobody asks where the own node is.
            address: ([0, 0, 0, 0], 0).into(),
            version: String::new(),
        };
        Self {
            instances: watch::channel(vec![this]).1,
            tokens: Arc::new(|_| String::new()),
            trusted: Trusted::fixed(Vec::new()),
        }
    }
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It serves here.
    At(SocketAddr),
    /// Not to be seen, but it may come back.
    Away,
    /// Away for so long that nobody waits for it any more.
    Lost,
}

/// The nodes, and since when those that are missed have been away.
pub(crate) struct Directory {
    instances: watch::Receiver<Instances>,
    lost_after: Duration,
    absent: Mutex<HashMap<String, Instant>>,
}

impl Directory {
    pub(crate) fn new(instances: watch::Receiver<Instances>, lost_after: Duration) -> Self {
        Self {
            instances,
            lost_after,
            absent: Mutex::default(),
        }
    }

    /// Where a node is now. The first question for a missing one starts its time, unless
    /// [`Directory::follow`] has seen it leave.
    pub(crate) fn find(&self, node: &str) -> Place {
        let instances = self.instances.borrow();
        if let Some(found) = instances.iter().find(|one| one.id == node) {
            return Place::At(found.address);
        }
        // An empty list is one that has not been received yet: it says nothing about anybody.
        if !instances.is_empty() && self.missed(node).elapsed() >= self.lost_after {
            return Place::Lost;
        }
        Place::Away
    }

    /// The nodes that nobody waits for any more.
    pub(crate) fn lost(&self) -> Vec<String> {
        let absent: Vec<String> = self.absent().keys().cloned().collect();
        let lost = |node: &String| self.find(node) == Place::Lost;
        absent.into_iter().filter(lost).collect()
    }

    /// Notes who leaves and who comes back, until shutdown.
    pub(crate) async fn follow(&self, shutdown: CancellationToken) {
        let mut instances = self.instances.clone();
        let ids = |instances: &Instances| -> Vec<String> {
            instances.iter().map(|one| one.id.clone()).collect()
        };
        let mut known = ids(&instances.borrow_and_update());
        while let Some(Ok(())) = shutdown.run_until_cancelled(instances.changed()).await {
            let present = ids(&instances.borrow_and_update());
            self.absent().retain(|node, _| !present.contains(node));
            for node in known.iter().filter(|node| !present.contains(node)) {
                self.missed(node);
            }
            known = present;
        }
    }

    /// Since when a node has been missed; from now on if it was not before.
    fn missed(&self, node: &str) -> Instant {
        let mut absent = self.absent();
        if absent.len() >= MAX_ABSENT && !absent.contains_key(node) {
            return Instant::now();
        }
        *absent.entry(node.to_owned()).or_insert_with(Instant::now)
    }

    fn absent(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use cloudstore_backends::discovery::Instance;

    use super::*;

    const LOST_AFTER: Duration = Duration::from_secs(900);

    fn instance(id: &str) -> Instance {
        Instance {
            id: id.to_owned(),
            address: ([127, 0, 0, 1], 1).into(),
            version: String::new(),
        }
    }

    fn directory(ids: &[&str]) -> (watch::Sender<Instances>, Directory) {
        let (sender, receiver) = watch::channel(ids.iter().copied().map(instance).collect());
        (sender, Directory::new(receiver, LOST_AFTER))
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_lost_after_a_while() {
        let (sender, directory) = directory(&["a", "b"]);
        assert!(matches!(directory.find("b"), Place::At(_)));
        sender.send_replace(vec![instance("a")]);
        assert_eq!(directory.find("b"), Place::Away);
        tokio::time::advance(LOST_AFTER - Duration::from_secs(1)).await;
        assert_eq!(directory.find("b"), Place::Away);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(directory.find("b"), Place::Lost);
        assert_eq!(directory.find("c"), Place::Away, "its time begins now");
        assert_eq!(directory.lost(), ["b"]);
        sender.send_replace(vec![instance("a"), instance("b")]);
        assert!(matches!(directory.find("b"), Place::At(_)));
        assert!(directory.lost().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_list_says_nothing() {
        let (_sender, directory) = directory(&[]);
        assert_eq!(directory.find("b"), Place::Away);
        tokio::time::advance(LOST_AFTER * 2).await;
        assert_eq!(directory.find("b"), Place::Away);
    }

    #[tokio::test(start_paused = true)]
    async fn coming_back_starts_the_time_again() {
        let (sender, directory) = directory(&["a", "b"]);
        let directory = Arc::new(directory);
        let stop = CancellationToken::new();
        let (followed, shutdown) = (directory.clone(), stop.clone());
        let task = tokio::spawn(async move { followed.follow(shutdown).await });
        let hour = Duration::from_secs(3_600);
        for ids in [&["a"][..], &["a", "b"], &["a"]] {
            sender.send_replace(ids.iter().copied().map(instance).collect());
            // Lets the follower run before the clock moves.
            tokio::time::sleep(Duration::from_millis(1)).await;
            if ids.len() == 2 {
                tokio::time::advance(hour).await;
            }
        }
        assert_eq!(directory.find("b"), Place::Away);
        tokio::time::advance(LOST_AFTER).await;
        assert_eq!(directory.find("b"), Place::Lost);
        stop.cancel();
        task.await.unwrap();
    }
}
