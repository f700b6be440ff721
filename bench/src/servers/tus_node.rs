//! @tus/server, the tus server in Node.js of the protocol's authors, with its file store.

use std::{
    fs,
    io::BufReader,
    path::PathBuf,
    process::{ChildStdout, Command},
    time::Duration,
};

use serde::Deserialize;
use tempfile::TempDir;

use super::{Target, find, listening_on, tools, version};
use crate::{
    error::{Context as _, Error, Result},
    place::{Place, Places},
    process::Process,
};

/// Node.js reads its modules in less than a second.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Where `make bench` puts what is in `bench/peers`, with the packages that it names.
fn installed() -> PathBuf {
    tools().join("tus-node")
}

/// Versions of the package and of Node.js, where both are found.
pub(crate) fn program_version() -> Option<String> {
    #[derive(Deserialize)]
    struct Package {
        version: String,
    }
    let package = installed().join("node_modules/@tus/server/package.json");
    let package: Package = serde_json::from_slice(&fs::read(package).ok()?).ok()?;
    let node = version(find("node"), "--version")?;
    Some(format!("{} on Node.js {node}", package.version))
}

/// A running @tus/server.
pub(crate) struct TusNode {
    // Before the directory, so that it has ended when its files are removed.
    _process: Process,
    _output: BufReader<ChildStdout>,
    _dir: TempDir,
    target: Target,
}

impl TusNode {
    /// Starts it with its data in `place`.
    pub(crate) async fn start(places: &Places, place: &Place) -> Result<Self> {
        let server = installed().join("tus-server.mjs");
        if !server.is_file() {
            let server = server.display();
            return Err(Error::new(format!(
                "{server} is missing: `make bench` installs it"
            )));
        }
        let dir = place.subdirectory("tus-node-")?;
        let mut command = Command::new(find("node")?);
        command.arg(server).arg(dir.path());
        command.env("NODE_ENV", "production");
        for name in ["NODE_OPTIONS", "NODE_DEBUG", "DEBUG"] {
            command.env_remove(name);
        }
        let log = places.logs.join("tus-node.log");
        let mut process = Process::spawn("@tus/server", command, &log)?;
        let ready = process.first_line(START_TIMEOUT).await;
        let (line, output) = ready.context(format_args!("@tus/server, see {}", log.display()))?;
        let address = listening_on("@tus/server", &line)?;
        Ok(Self {
            _process: process,
            _output: output,
            _dir: dir,
            target: Target::open(address),
        })
    }

    /// Where to send requests.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}
