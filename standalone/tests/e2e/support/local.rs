//! A server of the test's own, in this process, that can be stopped, damaged and started again.

use std::path::{Path, PathBuf};

use cloudstore_standalone::{Config, Stack};
use tempfile::TempDir;

use super::{Api, User, eventually};

/// A stack and its data directory. Everything is gone when it is dropped.
pub(crate) struct Local {
    stack: Option<Stack>,
    config: Config,
    // Removed after the stack, which is declared before it.
    _dir: Option<TempDir>,
}

/// What is in durable storage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects {
    /// BLAKE3 of each blob, in hexadecimal, sorted.
    pub(crate) blobs: Vec<String>,
    /// Those that have an outboard beside them, sorted.
    pub(crate) outboards: Vec<String>,
}

impl Local {
    /// With the defaults of a fresh installation.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With other limits or times.
    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("data"));
        configure(&mut config);
        let mut local = Self {
            stack: None,
            config,
            _dir: Some(dir),
        };
        local.launch().await;
        local
    }

    /// On a directory of the test's choice.
    pub(crate) async fn at(data: &Path, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(data);
        configure(&mut config);
        let mut local = Self {
            stack: None,
            config,
            _dir: None,
        };
        local.launch().await;
        local
    }

    /// Starts (again) on the same data directory, and the same port once it is known.
    pub(crate) async fn launch(&mut self) {
        let stack = Stack::start(self.config.clone()).await.unwrap();
        self.config.listen = stack
            .url()
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap();
        self.stack = Some(stack);
    }

    /// Stops in good order.
    pub(crate) async fn stop(&mut self) {
        self.stack.take().unwrap().stop().await.unwrap();
    }

    /// Stops, does something to the data directory, starts again.
    pub(crate) async fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.stop().await;
        change(&self.config.data);
        self.launch().await;
    }

    /// Starts again with other limits or times.
    pub(crate) async fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) {
        self.stop().await;
        change(&mut self.config);
        self.launch().await;
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(&self.stack.as_ref().unwrap().url())
    }

    pub(crate) async fn user(&self) -> User {
        self.api().user().await
    }

    pub(crate) fn data(&self) -> &Path {
        &self.config.data
    }

    /// The data file of an upload.
    pub(crate) fn data_file(&self, id: &str) -> PathBuf {
        self.staging(id, "data")
    }

    /// The sidecar of an upload.
    pub(crate) fn side_file(&self, id: &str) -> PathBuf {
        self.staging(id, "side")
    }

    fn staging(&self, id: &str, kind: &str) -> PathBuf {
        self.data()
            .join("staging")
            .join(format!("{}.{kind}", id.replace('-', "")))
    }

    /// Names of everything in the staging directory.
    pub(crate) fn staged(&self) -> Vec<String> {
        let mut names: Vec<_> = walk(&self.data().join("staging"))
            .iter()
            .map(|path| name(path))
            .collect();
        names.sort_unstable();
        names
    }

    /// Waits until no upload and no staged copy is left.
    pub(crate) async fn nothing_staged(&self) {
        eventually("the staging directory is empty", async || {
            self.staged().is_empty().then_some(())
        })
        .await;
    }

    /// What is in durable storage now.
    pub(crate) fn objects(&self) -> Objects {
        let mut objects = Objects::default();
        for file in walk(&self.data().join("blobs")) {
            let name = name(&file);
            match name.strip_suffix(".outboard") {
                Some(blob) => objects.outboards.push(blob.to_owned()),
                None => objects.blobs.push(name),
            }
        }
        objects.blobs.sort_unstable();
        objects.outboards.sort_unstable();
        objects
    }

    /// Where an object of durable storage is.
    pub(crate) fn object(&self, blake3: &str) -> PathBuf {
        self.data()
            .join("blobs")
            .join(&blake3[..2])
            .join(&blake3[2..4])
            .join(blake3)
    }

    /// Unfinished objects of the store.
    pub(crate) fn temporary_files(&self) -> Vec<String> {
        let mut names: Vec<_> = walk(&self.data().join("tmp"))
            .iter()
            .map(|path| name(path))
            .collect();
        names.retain(|name| name != "lock");
        names
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Every file below a directory that may not exist yet; what vanishes meanwhile is left out.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(walk(&entry.path())),
            Ok(_) => files.push(entry.path()),
            Err(_) => {}
        }
    }
    files
}
