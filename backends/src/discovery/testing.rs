//! The contract suite of the port.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};

use super::{Discovery, Instance, Instances, Registration};

/// Far longer than any announcement takes, so that a lost one fails the suite instead of stopping it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the whole suite. Services and keys are called after `name`, which is new.
///
/// # Panics
/// When discovery breaks a promise.
pub async fn contract(discovery: Arc<dyn Discovery>, name: &str) {
    let health = Readiness::start().await;
    instances_come_and_go(&*discovery, name, health.address).await;
    registering_again_replaces(&*discovery, name, health.address).await;
    services_are_separate(&*discovery, name, health.address).await;
    settings_are_seen_below_their_prefix(&*discovery, name).await;
    a_prefix_without_keys_is_empty(&*discovery, name).await;
}

/// A process as discovery sees it: something that answers `/readyz`.
#[derive(Debug)]
pub struct Readiness {
    /// Where it answers.
    pub address: SocketAddr,
    ready: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Readiness {
    /// One that is ready.
    ///
    /// # Panics
    /// Without a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (ready, state) = watch::channel(true);
        let server = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let ready = *state.borrow();
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    // One small request each: it arrives in one piece.
                    let _ = socket.read(&mut request).await;
                    let status = if ready {
                        "200 OK"
                    } else {
                        "503 Service Unavailable"
                    };
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    );
                    let _ = socket.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self {
            address,
            ready,
            server,
        }
    }

    /// From now on it is ready, or not.
    pub fn set(&self, ready: bool) {
        self.ready.send_replace(ready);
    }
}

/// An instance of a service with a health address.
#[must_use]
pub fn registration(service: &str, id: &str, health: SocketAddr) -> Registration {
    Registration {
        service: service.to_owned(),
        instance: Instance {
            id: id.to_owned(),
            address: SocketAddr::new([127, 0, 0, 11].into(), 7000),
            version: "1.2.3".to_owned(),
        },
        health,
    }
}

/// Waits until a list consists of these ids.
///
/// # Panics
/// When it does not in time.
pub async fn listed(instances: &mut watch::Receiver<Instances>, ids: &[&str]) {
    let expected =
        |instances: &Instances| instances.iter().map(|one| one.id.as_str()).eq(ids.to_vec());
    let seen = tokio::time::timeout(PATIENCE, instances.wait_for(expected)).await;
    let seen = seen.map(|seen| seen.map(drop));
    assert!(
        matches!(seen, Ok(Ok(()))),
        "waited for {ids:?}, there is {:?}",
        *instances.borrow()
    );
}

async fn register(discovery: &dyn Discovery, registration: &Registration) {
    let registered = tokio::time::timeout(PATIENCE, discovery.register(registration)).await;
    registered
        .expect("registering ends")
        .expect("an instance can be registered");
}

async fn withdraw(discovery: &dyn Discovery, service: &str, id: &str) {
    let withdrawn = discovery.deregister(service, id).await;
    withdrawn.expect("an instance can be withdrawn");
}

async fn instances_come_and_go(discovery: &dyn Discovery, name: &str, health: SocketAddr) {
    let service = format!("{name}-a");
    let mut watched = discovery.watch(&service);
    assert!(watched.borrow().is_empty());
    let (first, second) = (
        registration(&service, "node-1", health),
        registration(&service, "node-2", health),
    );
    register(discovery, &second).await;
    listed(&mut watched, &["node-2"]).await;
    assert_eq!(watched.borrow()[0], second.instance);
    register(discovery, &first).await;
    listed(&mut watched, &["node-1", "node-2"]).await;
    let again = discovery.watch(&service);
    assert!(again.same_channel(&watched), "all share one watch");
    withdraw(discovery, &service, "node-2").await;
    listed(&mut watched, &["node-1"]).await;
    withdraw(discovery, &service, "node-2").await;
    withdraw(discovery, &service, "node-1").await;
    listed(&mut watched, &[]).await;
}

async fn registering_again_replaces(discovery: &dyn Discovery, name: &str, health: SocketAddr) {
    let service = format!("{name}-b");
    let mut watched = discovery.watch(&service);
    let mut own = registration(&service, "node-1", health);
    register(discovery, &own).await;
    listed(&mut watched, &["node-1"]).await;
    own.instance.address.set_port(7001);
    own.instance.version = "1.2.4".to_owned();
    register(discovery, &own).await;
    let replaced = watched.wait_for(|list| **list == [own.instance.clone()]);
    let replaced = tokio::time::timeout(PATIENCE, replaced).await.is_ok();
    assert!(replaced, "the new address is seen");
    withdraw(discovery, &service, "node-1").await;
}

async fn services_are_separate(discovery: &dyn Discovery, name: &str, health: SocketAddr) {
    let (one, other) = (format!("{name}-c"), format!("{name}-d"));
    let (mut of_one, mut of_other) = (discovery.watch(&one), discovery.watch(&other));
    // The same id in both.
    for service in [&one, &other] {
        register(discovery, &registration(service, "node-1", health)).await;
    }
    listed(&mut of_one, &["node-1"]).await;
    listed(&mut of_other, &["node-1"]).await;
    withdraw(discovery, &one, "node-1").await;
    listed(&mut of_one, &[]).await;
    listed(&mut of_other, &["node-1"]).await;
    withdraw(discovery, &other, "node-1").await;
}

async fn settings_are_seen_below_their_prefix(discovery: &dyn Discovery, name: &str) {
    let prefix = format!("{name}/settings/");
    let mut watched = discovery.watch_settings(&prefix);
    assert!(watched.borrow().is_empty());
    let publish = async |key: String, value: &[u8]| {
        let published = discovery.publish(&key, value).await;
        published.expect("a key can be set");
    };
    let bytes: Vec<u8> = (0..=255).collect();
    publish(format!("{prefix}deep/bytes"), &bytes).await;
    publish(format!("{prefix}empty"), b"").await;
    publish(format!("{name}/other"), b"elsewhere").await;
    for value in ["1", "2"] {
        publish(format!("{prefix}limit"), value.as_bytes()).await;
    }
    let expected = [
        ("deep/bytes", bytes.as_slice()),
        ("empty", b""),
        ("limit", b"2"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let expected = expected.into_iter().collect();
    let read = discovery.read_settings(&prefix).await;
    assert_eq!(read.expect("settings can be read"), expected);
    let seen = watched.wait_for(|all| *all == expected);
    let seen = tokio::time::timeout(PATIENCE, seen).await.is_ok();
    assert!(seen, "what was set is seen");
    assert!(discovery.watch_settings(&prefix).same_channel(&watched));
}

async fn a_prefix_without_keys_is_empty(discovery: &dyn Discovery, name: &str) {
    let prefix = format!("{name}/nothing/");
    let read = discovery.read_settings(&prefix).await;
    assert!(read.expect("settings can be read").is_empty());
}
