//! Stored logins: `$XDG_CONFIG_HOME/cloudstore/credentials.json`, readable by its owner only,
//! replaced as a whole and only under a lock, so that concurrent commands never lose a token.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use cloudstore_proto::http::Tokens;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Exit, Result};

/// Where the user can put the configuration directory.
const VARIABLE: &str = "XDG_CONFIG_HOME";
const FILE: &str = "credentials.json";
const LOCK: &str = "credentials.lock";
/// Beyond any sane number of profiles; a larger file is not ours.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// One login.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Login {
    /// The only server that ever sees these tokens.
    pub(crate) server: String,
    /// As typed at login.
    pub(crate) username: String,
    /// For requests.
    pub(crate) access_token: String,
    /// By this machine's clock, in Unix milliseconds.
    pub(crate) expires_at_ms: i64,
    /// For the next pair.
    pub(crate) refresh_token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({} at {})", self.username, self.server)
    }
}

impl Login {
    /// From the answer to a login.
    pub(crate) fn new(server: &str, username: &str, tokens: Tokens) -> Self {
        let mut login = Self {
            server: server.to_owned(),
            username: username.to_owned(),
            access_token: String::new(),
            expires_at_ms: 0,
            refresh_token: String::new(),
        };
        login.renew(tokens);
        login
    }

    /// Takes the answer to a refresh.
    pub(crate) fn renew(&mut self, tokens: Tokens) {
        let lifetime_ms = i64::try_from(tokens.expires_in.saturating_mul(1_000));
        self.expires_at_ms = now_ms().saturating_add(lifetime_ms.unwrap_or(i64::MAX));
        self.access_token = tokens.access_token;
        self.refresh_token = tokens.refresh_token;
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    #[serde(default)]
    profiles: BTreeMap<String, Login>,
}

/// Where logins are stored.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// In the user's configuration directory.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self {
            dir: user_dir(VARIABLE, ".config")?,
        })
    }

    #[cfg(test)]
    fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The login of a profile.
    pub(crate) fn get(&self, profile: &str) -> Result<Option<Login>> {
        Ok(self.read()?.profiles.remove(profile))
    }

    /// Waits for the other commands that change the file.
    pub(crate) async fn lock(&self) -> Result<Guard> {
        let store = self.clone();
        let locked = tokio::task::spawn_blocking(move || {
            create_private_dir(&store.dir)?;
            let lock = private_file(&store.dir.join(LOCK))?;
            lock.lock()?;
            Ok(Guard { store, _lock: lock })
        });
        locked
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| {
                self.unusable(&error)
                    .during(format!("cannot lock {}", self.path()))
            })
    }

    fn path(&self) -> String {
        self.dir.join(FILE).display().to_string()
    }

    fn read(&self) -> Result<Stored> {
        let path = self.dir.join(FILE);
        let failed = |error: &io::Error| {
            self.unusable(error)
                .during(format!("cannot read {}", self.path()))
        };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::default()),
            Err(error) => return Err(failed(&error)),
            Ok(metadata) if metadata.len() > MAX_FILE_BYTES => return Err(self.damaged("too long")),
            Ok(_) => {}
        }
        let text = fs::read(&path).map_err(|error| failed(&error))?;
        serde_json::from_slice(&text).map_err(|error| self.damaged(&error.to_string()))
    }

    fn unusable(&self, error: &io::Error) -> Error {
        Error::own_dir(error, &self.dir, VARIABLE)
    }

    fn damaged(&self, why: &str) -> Error {
        Error::new(Exit::Failed, format!("the file is damaged ({why})"))
            .during(format!("cannot read {}", self.path()))
            .advise("delete it and run `cloudstore login`")
    }

    fn write(&self, stored: &Stored) -> io::Result<()> {
        // Created with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        serde_json::to_writer_pretty(&mut file, stored)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(self.dir.join(FILE))?;
        fs::File::open(&self.dir)?.sync_all()
    }
}

/// The right to change the file, until dropped.
pub(crate) struct Guard {
    store: Store,
    _lock: fs::File,
}

impl Guard {
    /// The login of a profile.
    pub(crate) fn get(&self, profile: &str) -> Result<Option<Login>> {
        self.store.get(profile)
    }

    /// Stores a login.
    pub(crate) fn put(&self, profile: &str, login: &Login) -> Result<()> {
        self.change(|profiles| {
            profiles.insert(profile.to_owned(), login.clone());
        })
    }

    /// Forgets a login.
    pub(crate) fn remove(&self, profile: &str) -> Result<()> {
        self.change(|profiles| {
            profiles.remove(profile);
        })
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Login>)) -> Result<()> {
        let mut stored = self.store.read()?;
        change(&mut stored.profiles);
        self.store.write(&stored).map_err(|error| {
            let what = format!("cannot write {}", self.store.path());
            self.store.unusable(&error).during(what)
        })
    }
}

/// `$variable/cloudstore`, or `$HOME/fallback/cloudstore`. As the XDG specification says, a
/// relative path in the variable is ignored.
pub(crate) fn user_dir(variable: &str, fallback: &str) -> Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(fallback)));
    base.map(|base| base.join("cloudstore")).ok_or_else(|| {
        Error::usage("there is no home directory").advise(format!("set HOME or {variable}"))
    })
}

/// A directory that only its owner can look into.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Opens or creates a file that only its owner can read, for reading and writing.
pub(crate) fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// This machine's clock in Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn login(name: &str) -> Login {
        let tokens = Tokens {
            access_token: "access".into(),
            token_type: "Bearer".into(),
            expires_in: 600,
            refresh_token: "refresh".into(),
        };
        Login::new("http://127.0.0.1:8080/", name, tokens)
    }

    #[tokio::test]
    async fn profiles_are_kept_apart_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&dir.path().join("cloudstore"));
        assert!(store.get("default").unwrap().is_none());
        {
            let guard = store.lock().await.unwrap();
            guard.put("default", &login("alice")).unwrap();
            guard.put("work", &login("bob")).unwrap();
            guard.remove("default").unwrap();
        }
        assert!(store.get("default").unwrap().is_none());
        let bob = store.get("work").unwrap().unwrap();
        assert_eq!(bob.username, "bob");
        assert!(bob.expires_at_ms > now_ms());
        let mode = fs::metadata(store.dir.join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let mode = fs::metadata(&store.dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_file_is_told_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{").unwrap();
        let error = Store::at(dir.path()).get("default").unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }

    #[test]
    fn debug_shows_no_token() {
        let text = format!("{:?}", login("alice"));
        assert!(
            !text.contains("access") && !text.contains("refresh"),
            "{text}"
        );
    }
}
