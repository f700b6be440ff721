//! Discovery through a real Consul: the shared one, and private ones that are stopped.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use cloudstore_backends::discovery::{
    Discovery as _, Instances, Settings,
    consul::{ConsulConfig, ConsulDiscovery},
    testing::{self, Readiness, listed, registration},
};
use cloudstore_service::testing::server;
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::{interval, timeout},
};
use uuid::Uuid;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(url: &str) -> ConsulDiscovery {
    let config = ConsulConfig {
        url: url.parse().unwrap(),
        prefix: "cloudstore-test/".into(),
        token: None,
        check_interval: Duration::from_secs(1),
    };
    ConsulDiscovery::new(config).unwrap()
}

fn own_name() -> String {
    format!("test-{}", Uuid::now_v7())
}

/// A Consul of the test's own, in memory.
struct Consul {
    url: String,
    ports: [u16; 4],
    process: Option<Child>,
}

impl Consul {
    /// Not started yet.
    fn new() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        // All at once, so that they differ.
        let held = [free(), free(), free(), free()];
        let ports = held.map(|one| one.local_addr().unwrap().port());
        Self {
            url: format!("http://127.0.0.1:{}", ports[0]),
            ports,
            process: None,
        }
    }

    /// Starts it empty and waits until it answers.
    async fn start(&mut self) {
        let [http, rpc, lan, wan] = self.ports;
        let mut command = Command::new(program());
        command
            .args(["agent", "-dev", "-node=test", "-log-level=err"])
            .args(["-bind=127.0.0.1", "-client=127.0.0.1"])
            .arg(format!("-http-port={http}"))
            .arg(format!("-server-port={rpc}"))
            .arg(format!("-serf-lan-port={lan}"))
            .arg(format!("-serf-wan-port={wan}"))
            .args(["-dns-port=-1", "-grpc-port=-1"])
            .stdout(Stdio::null())
            .kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
        let client = connect(&self.url);
        let mut again = interval(Duration::from_millis(50));
        let answers = async {
            while client.read_settings("").await.is_err() {
                again.tick().await;
            }
        };
        timeout(PATIENCE, answers).await.unwrap();
    }

    /// Kills it; what it knew is lost.
    async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }
}

/// On PATH, or where setup.sh puts it.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::env::var_os("CLOUDSTORE_TOOLS").map(PathBuf::from);
    let cache = || {
        std::env::home_dir()
            .unwrap()
            .join(".cache/cloudstore/tools")
    };
    let places = std::env::split_paths(&path).chain([tools.unwrap_or_else(cache).join("bin")]);
    let mut candidates = places.map(|place| place.join("consul"));
    let found = candidates.find(|candidate| candidate.is_file());
    found.expect("consul is installed by deploy/local/setup.sh")
}

/// Every list that a watch shows, from now on.
fn record(mut watched: watch::Receiver<Instances>) -> (Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let recorder = tokio::spawn({
        let seen = seen.clone();
        async move {
            while watched.changed().await.is_ok() {
                let list = watched.borrow_and_update();
                let ids: Vec<_> = list.iter().map(|one| one.id.as_str()).collect();
                seen.lock().unwrap().push(ids.join(" "));
            }
        }
    });
    (seen, recorder)
}

#[tokio::test]
async fn contract() {
    let discovery = connect(&server("CONSUL_URL"));
    testing::contract(Arc::new(discovery), &own_name()).await;
}

#[tokio::test]
async fn only_instances_that_are_ready_are_listed() {
    let (discovery, service) = (connect(&server("CONSUL_URL")), own_name());
    let (ready, unready) = (Readiness::start().await, Readiness::start().await);
    unready.set(false);
    for (id, health) in [("a", &ready), ("b", &unready)] {
        let registration = registration(&service, id, health.address);
        discovery.register(&registration).await.unwrap();
    }
    let mut watched = discovery.watch(&service);
    listed(&mut watched, &["a"]).await;
    unready.set(true);
    listed(&mut watched, &["a", "b"]).await;
    ready.set(false);
    listed(&mut watched, &["b"]).await;
    // Somebody else's word counts, too: any process may withdraw an instance.
    let operator = connect(&server("CONSUL_URL"));
    unready.set(false);
    listed(&mut watched, &[]).await;
    for id in ["a", "b"] {
        discovery.deregister(&service, id).await.unwrap();
        operator.deregister(&service, id).await.unwrap();
    }
}

#[tokio::test]
async fn what_somebody_else_withdraws_comes_back_while_its_process_lives() {
    let (discovery, service) = (connect(&server("CONSUL_URL")), own_name());
    let health = Readiness::start().await;
    let own = registration(&service, "a", health.address);
    discovery.register(&own).await.unwrap();
    let mut watched = discovery.watch(&service);
    listed(&mut watched, &["a"]).await;
    let operator = connect(&server("CONSUL_URL"));
    operator.deregister(&service, "a").await.unwrap();
    listed(&mut watched, &[]).await;
    listed(&mut watched, &["a"]).await;
    discovery.deregister(&service, "a").await.unwrap();
    listed(&mut watched, &[]).await;
}

#[tokio::test]
async fn a_consul_that_restarts_empty_makes_nobody_disappear() {
    let mut consul = Consul::new();
    consul.start().await;
    let watcher = connect(&consul.url);
    let (lives, dies) = (connect(&consul.url), connect(&consul.url));
    let (first, second) = (Readiness::start().await, Readiness::start().await);
    let (one, two) = (
        registration("upload-svc", "node-1", first.address),
        registration("upload-svc", "node-2", second.address),
    );
    lives.register(&one).await.unwrap();
    dies.register(&two).await.unwrap();
    lives.publish("settings/limit", b"5").await.unwrap();
    let mut watched = watcher.watch("upload-svc");
    let mut settings = watcher.watch_settings("settings/");
    listed(&mut watched, &["node-1", "node-2"]).await;
    let five = Settings::from([("limit".to_owned(), b"5".to_vec())]);
    settings.wait_for(|all| *all == five).await.unwrap();
    settings.mark_unchanged();
    let (seen, _recorder) = record(watched.clone());
    // One process dies together with Consul.
    consul.kill().await;
    drop((dies, second));
    assert!(watcher.read_settings("settings/").await.is_err());
    consul.start().await;
    // For a newcomer there is only what was announced again.
    let newcomer = connect(&consul.url);
    let mut fresh = newcomer.watch("upload-svc");
    listed(&mut fresh, &["node-1"]).await;
    let mut limits = newcomer.watch_settings("settings/");
    limits.wait_for(|all| *all == five).await.unwrap();
    // Whoever watched all the time saw no gap, and in the end that one is gone.
    listed(&mut watched, &["node-1"]).await;
    assert_eq!(*seen.lock().unwrap(), ["node-1"]);
    assert!(!settings.has_changed().unwrap());
    assert_eq!(*settings.borrow(), five);
}

#[tokio::test]
async fn registering_waits_for_a_consul_that_is_not_there_yet() {
    let mut consul = Consul::new();
    let discovery = connect(&consul.url);
    let health = Readiness::start().await;
    let own = registration("upload-svc", "node-1", health.address);
    let mut watched = discovery.watch("upload-svc");
    assert!(discovery.publish("settings/x", b"1").await.is_err());
    {
        let registering = discovery.register(&own);
        tokio::pin!(registering);
        assert!(
            timeout(Duration::from_millis(300), &mut registering)
                .await
                .is_err()
        );
        consul.start().await;
        timeout(PATIENCE, registering).await.unwrap().unwrap();
    }
    listed(&mut watched, &["node-1"]).await;
    consul.kill().await;
    assert!(discovery.deregister("upload-svc", "node-1").await.is_err());
    // It goes away all the same: nobody announces it again.
    consul.start().await;
    listed(&mut watched, &[]).await;
    discovery.deregister("upload-svc", "node-1").await.unwrap();
}

#[tokio::test]
async fn watches_end_with_their_adapter() {
    let discovery = connect(&server("CONSUL_URL"));
    let (mut instances, mut settings) = (discovery.watch("a"), discovery.watch_settings("b/"));
    drop(discovery);
    let ended = async { while instances.changed().await.is_ok() {} };
    timeout(PATIENCE, ended).await.unwrap();
    let ended = async { while settings.changed().await.is_ok() {} };
    timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn names_that_would_be_paths_are_refused() {
    let discovery = connect(&server("CONSUL_URL"));
    for name in ["../acl", "a/../b", "a b", "a?b", "a%2fb", "\u{e4}"] {
        assert!(discovery.publish(name, b"").await.is_err(), "{name}");
        assert!(discovery.read_settings(name).await.is_err(), "{name}");
        assert!(discovery.deregister(name, "a").await.is_err(), "{name}");
    }
}
