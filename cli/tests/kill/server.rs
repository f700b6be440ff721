//! `cloudstore serve` as a child process that is killed and started again.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use cloudstore_testkit::check::Places;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Far more than a start takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server and its data directory.
pub(crate) struct Server {
    dir: TempDir,
    child: Child,
    quota: u64,
    address: String,
}

impl Server {
    pub(crate) async fn start(quota: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (child, address) = launch(dir.path(), "127.0.0.1:0", quota).await;
        Self {
            dir,
            child,
            quota,
            address,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// SIGKILL: nothing is finished, flushed or said goodbye to.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts and is killed again after so long, most likely while it still recovers.
    pub(crate) async fn stumble(&mut self, life: Duration) {
        self.child = spawn(self.dir.path(), &self.address, self.quota);
        tokio::time::sleep(life).await;
        self.kill().await;
    }

    /// On the same address and data directory.
    pub(crate) async fn restart(&mut self) {
        let (child, address) = launch(self.dir.path(), &self.address, self.quota).await;
        assert_eq!(address, self.address);
        self.child = child;
    }

    /// Names of the files below a part of the data directory.
    fn files(&self, part: &str) -> Vec<String> {
        let mut names = Vec::new();
        walk(&self.dir.path().join("data").join(part), &mut names);
        names.sort_unstable();
        names
    }
}

impl Places for Server {
    async fn objects(&self) -> Vec<String> {
        self.files("blobs")
    }

    async fn leftovers(&self) -> Vec<String> {
        let mut left = self.files("staging");
        left.extend(self.files("tmp"));
        // The lock of the server that runs.
        left.retain(|name| name != "lock");
        left
    }
}

async fn launch(dir: &Path, listen: &str, quota: u64) -> (Child, String) {
    let mut child = spawn(dir, listen, quota);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line())
        .await
        .expect("a start within a minute")
        .unwrap();
    let address = line
        .as_deref()
        .and_then(|line| line.strip_prefix("listening on http://"));
    let Some(address) = address else {
        let log = std::fs::read_to_string(stderr(dir)).unwrap();
        panic!("the server said {line:?} and\n{log}");
    };
    (child, address.to_owned())
}

fn spawn(dir: &Path, listen: &str, quota: u64) -> Child {
    let stderr = File::options()
        .create(true)
        .append(true)
        .open(stderr(dir))
        .unwrap();
    Command::new(env!("CARGO_BIN_EXE_cloudstore"))
        .args(["serve", "--listen", listen, "--data"])
        .arg(dir.join("data"))
        .env("CLOUDSTORE_ACCOUNT_QUOTA", quota.to_string())
        .env("CLOUDSTORE_TRANSFER_GRACE", "0")
        .env("CLOUDSTORE_TRANSFER_GARBAGE_GRACE", "0")
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn stderr(dir: &Path) -> PathBuf {
    dir.join("stderr")
}

fn walk(dir: &Path, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            walk(&path, names);
        } else {
            names.push(name(&path));
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
