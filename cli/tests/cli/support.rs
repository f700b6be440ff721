//! A server in a process of its own, and a user with a home directory.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_cloudstore");
/// In the server's data directory.
const LOG: &str = "log";
/// What has not happened by then does not happen.
const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const PASSWORD: &str = "correct horse battery";

/// `cloudstore serve`, killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    data: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (child, url) = serve(data.path(), "127.0.0.1:0", None);
        Self { child, url, data }
    }

    /// One whose log is kept.
    pub(crate) fn logging(filter: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (child, url) = serve(data.path(), "127.0.0.1:0", Some(filter));
        Self { child, url, data }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.data.path().join(LOG)).unwrap()
    }

    /// As a power button would, and back on the same address with the same data.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        (self.child, self.url) = serve(self.data.path(), &address, None);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data: &Path, listen: &str, log: Option<&str>) -> (Child, String) {
    let stderr = match log {
        Some(_) => fs::File::create(data.join(LOG)).unwrap().into(),
        None => Stdio::null(),
    };
    let mut child = Command::new(BINARY)
        .args(["serve", "--listen", listen, "--data"])
        .arg(data)
        .args(["--log-filter", log.unwrap_or("warn")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .expect("the server tells its URL");
    (child, url.to_owned())
}

/// What a command did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The last line: the summary.
    pub(crate) fn summary(&self) -> Value {
        let summary = self.lines().pop().unwrap();
        assert_eq!(summary["type"], "summary");
        summary
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.fails_with(0)
    }

    #[track_caller]
    pub(crate) fn fails_with(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "{}\n{}",
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Somebody with a home directory and a current directory.
pub(crate) struct User {
    pub(crate) home: TempDir,
    pub(crate) dir: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A user who is logged in.
    pub(crate) fn at(server: &Server) -> Self {
        let user = Self::new();
        let at = ["--server", &server.url];
        user.with_input(
            &[&at[..], &["register", "alice", "--password-stdin"]].concat(),
            PASSWORD,
        )
        .ok();
        user.with_input(
            &[&at[..], &["login", "alice", "--password-stdin"]].concat(),
            PASSWORD,
        )
        .ok();
        user
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    pub(crate) fn with_input(&self, args: &[&str], input: impl AsRef<[u8]> + Send) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // The command may end without reading it all.
            scope.spawn(move || drop(stdin.write_all(input.as_ref())));
            child.wait_with_output().unwrap().into()
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Everything on the server, sorted.
    pub(crate) fn listing(&self, folder: &str) -> Vec<String> {
        let listed = self.run(&["ls", "-r", folder]).ok();
        let mut names = listed.text().lines().map(str::to_owned).collect::<Vec<_>>();
        names.sort();
        names
    }
}

/// Tries until it gets something.
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "it did not happen");
        std::thread::yield_now();
    }
}

/// Content that does not compress, repeat, or occur in another test.
pub(crate) fn content(seed: &str, len: usize) -> Vec<u8> {
    let mut content = vec![0; len];
    blake3::Hasher::new()
        .update(seed.as_bytes())
        .finalize_xof()
        .fill(&mut content);
    content
}

/// Every file below a directory with its content, by relative path; folders end with a slash.
pub(crate) fn snapshot(top: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.push((format!("{name}/"), Vec::new()));
                folders.push(path);
            } else {
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
