//! rustus, a tus server in Rust, with its file storage.

use std::{env, path::PathBuf, process::Command};

use tempfile::TempDir;

use super::{
    Target, find,
    nginx::{PORT_ATTEMPTS, free_address, listens},
    version,
};
use crate::{
    error::{Error, Result},
    place::{Place, Places},
    process::Process,
};

/// The largest body that it is to take: it refuses larger ones with a limit of its own, 256 KiB
/// unless told. Larger than any request here.
const MAX_BODY_BYTES: usize = 1 << 30;

/// Hooks that it prepares messages for, whether anybody gets them or not. All by default; it takes
/// no empty list, so this is the one that uploads never come to.
const HOOKS: &str = "pre-terminate";

/// Finds the program.
pub(crate) fn program() -> Result<PathBuf> {
    find("rustus")
}

/// The program's version, for instance `Rustus 0.5.10`.
pub(crate) fn program_version() -> Option<String> {
    version(program(), "--version")
}

/// A running rustus.
pub(crate) struct Rustus {
    // Before the directory, so that it has ended when its files are removed.
    _process: Process,
    _dir: TempDir,
    target: Target,
}

impl Rustus {
    /// Starts it with its data and what it notes about them in `place`. It does not flush and
    /// writes no line for each request.
    pub(crate) async fn start(places: &Places, place: &Place) -> Result<Self> {
        let program = program()?;
        let dir = place.subdirectory("rustus-")?;
        let log = places.logs.join("rustus.log");
        for _ in 0..PORT_ATTEMPTS {
            let address = free_address()?;
            let mut command = Command::new(&program);
            for (name, _) in env::vars_os() {
                if name.to_string_lossy().starts_with("RUSTUS_") {
                    command.env_remove(name);
                }
            }
            command
                .args(["--host", &address.ip().to_string()])
                .args(["--port", &address.port().to_string()])
                .args(["--storage", "file-storage", "--data-dir"])
                .arg(dir.path().join("data"))
                .args(["--info-storage", "file-info-storage", "--info-dir"])
                .arg(dir.path().join("info"))
                .args(["--max-body-size", &MAX_BODY_BYTES.to_string()])
                .args(["--hooks", HOOKS])
                .args(["--log-level", "ERROR"]);
            let mut process = Process::spawn("rustus", command, &log)?;
            if listens(&mut process, address).await? {
                return Ok(Self {
                    _process: process,
                    _dir: dir,
                    target: Target::open(address),
                });
            }
        }
        Err(Error::new(format!(
            "rustus does not start, see {}",
            log.display()
        )))
    }

    /// Where to send requests.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}
