//! cloudstore on its embedded default, as `cloudstore serve` starts it.

use std::{
    env,
    io::BufReader,
    net::SocketAddr,
    path::Path,
    process::{ChildStdout, Command},
    time::{Duration, Instant},
};

use cloudstore_proto::http::{Entry, File, FileState, Listing, Login, Refresh, Register, Tokens};
use hyper::Method;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{Target, listening_on};
use crate::{
    client::{Answer, Connection, Payload},
    content::Content,
    error::{Context as _, Error, Result},
    place::{Place, Places},
    process::Process,
};

/// An empty data directory is set up in a second even by a build that is not optimised.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What the account may hold, far more than any row sends.
const QUOTA_BYTES: u64 = 1 << 40;

/// Access tokens live ten minutes; one this old is replaced before a run.
const TOKEN_AGE: Duration = Duration::from_secs(5 * 60);

/// Files go to durable storage as soon as they are acknowledged; the largest takes seconds.
const STORED_DEADLINE: Duration = Duration::from_secs(180);

/// Time between two looks at files that are on their way.
const STORED_POLL: Duration = Duration::from_millis(50);

const USERNAME: &str = "bench";

/// A running cloudstore with one account.
pub(crate) struct Cloudstore<'a> {
    // Before the directory, so that it has ended when its files are removed.
    process: Process,
    _output: BufReader<ChildStdout>,
    _dir: TempDir,
    address: SocketAddr,
    tokens: Tokens,
    issued: Instant,
    program: &'a Path,
    places: &'a Places,
    place: &'a Place,
}

impl<'a> Cloudstore<'a> {
    /// Starts it with an empty data directory in `place` and the settings, registers an account and
    /// logs in.
    pub(crate) async fn start(
        program: &'a Path,
        places: &'a Places,
        place: &'a Place,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let dir = place.subdirectory("cloudstore-")?;
        let mut command = Command::new(program);
        command
            .arg("serve")
            .arg("--data")
            .arg(dir.path())
            .args(["--listen", "127.0.0.1:0"]);
        // Nobody's settings but these: the log is like nginx's, without a line for each request.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("CLOUDSTORE_") {
                command.env_remove(name);
            }
        }
        command.env("CLOUDSTORE_ACCOUNT_QUOTA", QUOTA_BYTES.to_string());
        command.env("CLOUDSTORE_LOG_FILTER", "warn");
        command.envs(settings.iter().copied());
        let log = places.logs.join("cloudstore.log");
        let mut process = Process::spawn("cloudstore", command, &log)?;
        let ready = process.first_line(START_TIMEOUT).await;
        let (line, output) = ready.context(format_args!("cloudstore, see {}", log.display()))?;
        let address = listening_on("cloudstore", &line)?;
        let tokens = register(address).await?;
        Ok(Self {
            process,
            _output: output,
            _dir: dir,
            address,
            tokens,
            issued: Instant::now(),
            program,
            places,
            place,
        })
    }

    /// The process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Where to send requests, with a token that is good for the next run.
    pub(crate) async fn target(&mut self) -> Result<Target> {
        if self.issued.elapsed() > TOKEN_AGE {
            let refresh = Refresh {
                refresh_token: self.tokens.refresh_token.clone(),
            };
            let mut connection = Connection::open(self.address).await?;
            let request = target(self.address, None).json("/api/v1/sessions/refresh", &refresh);
            self.tokens = connection
                .call(request)
                .await?
                .json()
                .context("refreshing")?;
            self.issued = Instant::now();
        }
        Ok(target(self.address, Some(&self.tokens)))
    }

    /// The same server if there is room for so many bytes, else a new one with an empty data
    /// directory: deleted files are kept for a while, as they should be.
    pub(crate) async fn with_room(self, bytes: u64) -> Result<Self> {
        if self.place.has_room(bytes)? {
            return Ok(self);
        }
        let (program, places, place) = (self.program, self.places, self.place);
        eprintln!("starting cloudstore anew, without the files that it still keeps");
        drop(self);
        place.require_room(bytes)?;
        Self::start(program, places, place, &[]).await
    }

    /// Waits until no more than `used` bytes of its file system are in use, which takes the setting
    /// that content nobody refers to is removed at once, and until the server has nothing left to
    /// do.
    pub(crate) async fn swept(&self, used: u64) -> Result<()> {
        let start = Instant::now();
        while self.place.used()? > used {
            if start.elapsed() > STORED_DEADLINE {
                return Err(Error::new("deleted files are still there"));
            }
            sleep(STORED_POLL).await;
        }
        self.process.quiet().await
    }

    /// Waits until the file, or all files of the folder, are in durable storage and the server has
    /// nothing left to do. Returns how long it took for them to get there.
    pub(crate) async fn settle(&mut self, path: &str) -> Result<Duration> {
        let time = self.stored(path).await?;
        self.process.quiet().await?;
        Ok(time)
    }

    /// Waits until the file, or all files of the folder, are in durable storage. Returns how long
    /// it took for them to get there.
    pub(crate) async fn stored(&mut self, path: &str) -> Result<Duration> {
        let start = Instant::now();
        while !self.is_stored(path).await? {
            if start.elapsed() > STORED_DEADLINE {
                return Err(Error::new(format!(
                    "{path} is still not in durable storage"
                )));
            }
            sleep(STORED_POLL).await;
        }
        Ok(start.elapsed())
    }

    /// What the server says about a file.
    pub(crate) async fn file(&mut self, path: &str) -> Result<File> {
        let target = self.target().await?;
        let mut connection = Connection::open(self.address).await?;
        let url = format!("{}{path}", target.entry_root);
        let request = target.request(Method::GET, &url, Payload::empty());
        let listing: Listing = connection.call(request).await?.json().context(&url)?;
        match listing.entry {
            Entry::File(file) => Ok(file),
            _ => Err(Error::new(format!("{path} is not a file"))),
        }
    }

    async fn is_stored(&mut self, path: &str) -> Result<bool> {
        let target = self.target().await?;
        let mut connection = Connection::open(self.address).await?;
        let mut cursor = String::new();
        loop {
            let url = format!("{}{path}{cursor}", target.entry_root);
            let request = target.request(Method::GET, &url, Payload::empty());
            let listing: Listing = connection.call(request).await?.json().context(&url)?;
            let entries = listing.entries.iter().flatten().chain([&listing.entry]);
            let staged = |entry| {
                matches!(
                    entry,
                    &Entry::File(File {
                        state: FileState::Staged,
                        ..
                    })
                )
            };
            if entries.into_iter().any(staged) {
                return Ok(false);
            }
            match listing.next_cursor {
                Some(next) => cursor = format!("?cursor={next}"),
                None => return Ok(true),
            }
        }
    }
}

/// Fails unless the server's answer to an upload names this content.
pub(crate) fn check(file: &File, content: &Content) -> Result<()> {
    if file.size == content.size() && file.blake3 == content.blake3() {
        return Ok(());
    }
    Err(Error::new(format!(
        "{} became {} bytes with another digest",
        file.path, file.size
    )))
}

/// Like [`check`], for the answer to a direct upload.
pub(crate) fn check_put(answer: &Answer, content: &Content) -> Result<()> {
    check(&answer.json()?, content)
}

fn target(address: SocketAddr, tokens: Option<&Tokens>) -> Target {
    Target {
        address,
        content_root: "/api/v1/content",
        entry_root: "/api/v1/files",
        authorization: tokens.map(|tokens| format!("Bearer {}", tokens.access_token)),
    }
}

/// Creates the account and logs in.
async fn register(address: SocketAddr) -> Result<Tokens> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).context("making a password")?;
    let (username, password) = (USERNAME.to_owned(), hex::encode(secret));
    let account = Register {
        username: username.clone(),
        password: password.clone(),
        email: None,
        display_name: None,
    };
    let anybody = target(address, None);
    let mut connection = Connection::open(address).await?;
    let answer = connection
        .call(anybody.json("/api/v1/accounts", &account))
        .await?;
    answer.success().context("registering")?;
    let login = anybody.json("/api/v1/sessions", &Login { username, password });
    connection.call(login).await?.json().context("logging in")
}
