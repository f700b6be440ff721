//! Redis servers of a test's own, which it may stop and kill.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A server that ends with the test.
pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
    dir: TempDir,
}

impl Server {
    /// An empty server on a socket in a directory of its own.
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("redis.sock");
        let child = launch(dir.path(), &socket).await;
        Self { child, socket, dir }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Where another name for the server may be put.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// It keeps its connections and answers nobody.
    pub(crate) async fn stall(&self) {
        self.signal("-STOP").await;
    }

    pub(crate) async fn go_on(&self) {
        self.signal("-CONT").await;
    }

    /// It loses everything.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = launch(self.dir.path(), &self.socket).await;
    }

    async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let done = Command::new("kill").args([signal, &pid]).status().await;
        assert!(done.unwrap().success());
    }
}

async fn launch(dir: &Path, socket: &Path) -> Child {
    let socket = socket.to_str().unwrap();
    serve(dir, &["--port", "0", "--unixsocket", socket]).await
}

/// Starts a server without persistence and waits until it is ready.
async fn serve(dir: &Path, options: &[&str]) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(dir)
        .args(options)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    ready(&mut child, "eady to accept connections").await;
    child
}

/// Waits for a line of the log, and reads on behind the test's back.
async fn ready(child: &mut Child, line: &str) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut log = String::new();
    loop {
        let Some(next) = lines.next_line().await.unwrap() else {
            panic!("redis-server ended: {log}");
        };
        if next.contains(line) {
            break;
        }
        log += &next;
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
}

/// Ports that are free now.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A master and a sentinel that watches it.
pub(crate) struct Sentinel {
    pub(crate) url: String,
    _children: [Child; 2],
    _dir: TempDir,
}

impl Sentinel {
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let [master, sentinel] = free_ports();
        let bind = ["--bind", "127.0.0.1", "--port"];
        let number = master.to_string();
        let server = serve(dir.path(), &[&bind[..], &[&number]].concat()).await;
        let file = dir.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {sentinel}\ndir {}\nsentinel monitor main 127.0.0.1 {master} 1\n",
            dir.path().display()
        );
        std::fs::write(&file, text).unwrap();
        let mut watcher = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        ready(&mut watcher, "+monitor master main").await;
        Self {
            url: format!("redis+sentinel://127.0.0.1:{sentinel}/main"),
            _children: [server, watcher],
            _dir: dir,
        }
    }
}

/// Three masters that share the slots.
pub(crate) struct Cluster {
    pub(crate) url: String,
    _children: Vec<Child>,
    _dir: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let ports = free_ports::<6>();
        let mut children = Vec::new();
        let mut nodes = Vec::new();
        for pair in ports.chunks_exact(2) {
            let [port, bus] = [pair[0], pair[1]].map(|port| port.to_string());
            let own = dir.path().join(&port);
            std::fs::create_dir(&own).unwrap();
            let options = [
                "--bind",
                "127.0.0.1",
                "--port",
                &port,
                "--cluster-port",
                &bus,
                "--cluster-enabled",
                "yes",
            ];
            children.push(serve(&own, &options).await);
            nodes.push(format!("127.0.0.1:{port}"));
        }
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&nodes)
            .arg("--cluster-yes")
            .output();
        let created = tokio::time::timeout(Duration::from_secs(60), created).await;
        let created = created.unwrap().unwrap();
        assert!(created.status.success(), "{created:?}");
        Self {
            url: format!("redis+cluster://{}", nodes[..2].join(",")),
            _children: children,
            _dir: dir,
        }
    }
}
