//! nginx as a peer: DAV PUT into a directory, plain GET with sendfile.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

use super::{SYSTEM_DIRS, Target};
use crate::{
    error::{Context as _, Error, Result},
    place::{Place, Places},
    process::Process,
};

/// It listens within milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Times that another program may snatch the port between our choice and the server's start.
pub(super) const PORT_ATTEMPTS: u32 = 5;

/// Finds the program.
pub(crate) fn find() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(env::split_paths(SYSTEM_DIRS));
    let mut programs = dirs.map(|dir| dir.join("nginx"));
    programs.find(|program| program.is_file()).ok_or_else(|| {
        Error::new(
            "nginx was not found on PATH or in /usr/sbin: `make bench` installs it where it can, \
             by hand it is `apt-get install nginx-light`",
        )
    })
}

/// The program's version, for instance `nginx/1.22.1`.
pub(crate) fn version(program: &Path) -> Result<String> {
    let output = Command::new(program)
        .arg("-v")
        .output()
        .context(program.display())?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text
        .trim()
        .trim_start_matches("nginx version:")
        .trim()
        .to_owned())
}

/// A running nginx.
pub(crate) struct Nginx {
    // Before the directory, so that it has ended when its files are removed.
    _process: Process,
    _dir: TempDir,
    target: Target,
}

impl Nginx {
    /// Starts it with a data directory in `place`.
    pub(crate) async fn start(program: &Path, places: &Places, place: &Place) -> Result<Self> {
        let dir = place.subdirectory("nginx-")?;
        for name in ["files", "temp"] {
            fs::create_dir(dir.path().join(name)).context(dir.path().display())?;
        }
        let log = places.logs.join("nginx.log");
        for _ in 0..PORT_ATTEMPTS {
            let address = free_address()?;
            let configuration = dir.path().join("nginx.conf");
            fs::write(&configuration, configure(dir.path(), &log, address))
                .context(configuration.display())?;
            let mut command = Command::new(program);
            command
                .arg("-p")
                .arg(dir.path())
                .arg("-c")
                .arg(&configuration)
                .arg("-e")
                .arg(&log);
            let mut process = Process::spawn("nginx", command, &log)?;
            if listens(&mut process, address).await? {
                return Ok(Self {
                    _process: process,
                    _dir: dir,
                    target: Target::open(address),
                });
            }
        }
        Err(Error::new(format!(
            "nginx does not start, see {}",
            log.display()
        )))
    }

    /// Where to send requests.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

/// Waits until the server accepts connections; false if it ended instead.
pub(super) async fn listens(process: &mut Process, address: SocketAddr) -> Result<bool> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if process.exit()?.is_some() {
            return Ok(false);
        }
        if TcpStream::connect(address).await.is_ok() {
            return Ok(true);
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(false)
}

/// A port that nobody listens on at this moment.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("choosing a port")?;
    listener.local_addr().context("choosing a port")
}

/// The configuration: what speeds nginx up is on, what it would do beyond storing files is off.
fn configure(dir: &Path, log: &Path, address: SocketAddr) -> String {
    // Workers started by root would otherwise be somebody who may not write here.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let (dir, log) = (dir.display(), log.display());
    format!(
        "{user}
daemon off;
worker_processes 2;
pid \"{dir}/nginx.pid\";
error_log \"{log}\" warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    client_body_temp_path \"{dir}/temp\";
    proxy_temp_path \"{dir}/temp\";
    fastcgi_temp_path \"{dir}/temp\";
    uwsgi_temp_path \"{dir}/temp\";
    scgi_temp_path \"{dir}/temp\";
    server {{
        listen {address};
        root \"{dir}/files\";
        location / {{
            dav_methods PUT DELETE;
            create_full_put_path on;
        }}
    }}
}}
"
    )
}
