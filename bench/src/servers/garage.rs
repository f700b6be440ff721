//! Garage, the object storage that blobs are moved to, and rclone, which moves files there too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    find,
    nginx::{free_address, listens},
    version,
};
use crate::{
    error::{Context as _, Error, Result},
    place::{Place, Places},
    process::Process,
};

/// Access key of the only user; Garage has a form for them.
const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const BUCKET: &str = "cloudstore";
const REGION: &str = "garage";
/// As `cloudstore` sends them: parts of 16 MiB, four at a time.
const RCLONE_PARTS: [&str; 4] = [
    "--s3-chunk-size=16M",
    "--s3-upload-concurrency=4",
    "--multi-thread-streams=4",
    "--s3-no-check-bucket",
];

/// Versions of Garage and rclone, where they are found.
pub(crate) fn versions() -> [Option<String>; 2] {
    [
        version(find("garage"), "--version"),
        version(find("rclone"), "version"),
    ]
}

/// A running Garage with one bucket.
pub(crate) struct Garage {
    // Before the directory, so that it has ended when its files are removed.
    _process: Process,
    dir: TempDir,
    program: PathBuf,
    rclone: PathBuf,
    endpoint: String,
    secret: String,
}

impl Garage {
    /// Starts it with an empty data directory in `place`.
    pub(crate) async fn start(places: &Places, place: &Place) -> Result<Self> {
        let program = find("garage")?;
        let rclone = find("rclone")?;
        let dir = place.subdirectory("garage-")?;
        let (api, rpc) = (free_address()?, free_address()?);
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).context("making a secret key")?;
        let secret = hex::encode(secret);
        let configuration = format!(
            "metadata_dir = \"{dir}/meta\"\ndata_dir = \"{dir}/data\"\ndb_engine = \"lmdb\"\n\
             replication_factor = 1\nrpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\n\
             rpc_secret = \"{secret}\"\n[s3_api]\ns3_region = \"{REGION}\"\n\
             api_bind_addr = \"{api}\"\n",
            dir = dir.path().display(),
        );
        let file = dir.path().join("garage.toml");
        fs::write(&file, configuration).context(file.display())?;
        let mut command = Command::new(&program);
        command.arg("-c").arg(&file).arg("server");
        command.env("RUST_LOG", "garage=warn");
        let log = places.logs.join("garage.log");
        let mut process = Process::spawn("garage", command, &log)?;
        if !listens(&mut process, api).await? || !listens(&mut process, rpc).await? {
            let log = log.display();
            return Err(Error::new(format!("garage does not start, see {log}")));
        }
        let garage = Self {
            _process: process,
            dir,
            program,
            rclone,
            endpoint: format!("http://{api}"),
            secret,
        };
        garage.set_up()?;
        Ok(garage)
    }

    /// Makes the bucket, and the key that may use it.
    fn set_up(&self) -> Result<()> {
        let id = self.tell(&["node", "id", "-q"])?;
        let id = id.split('@').next().unwrap_or_default();
        self.tell(&["layout", "assign", "-z", "here", "-c", "100G", id])?;
        self.tell(&["layout", "apply", "--version", "1"])?;
        self.tell(&["key", "import", "--yes", ACCESS_KEY, &self.secret])?;
        self.tell(&["bucket", "create", BUCKET])?;
        self.tell(&[
            "bucket", "allow", "--read", "--write", BUCKET, "--key", ACCESS_KEY,
        ])?;
        Ok(())
    }

    /// A command to the running server.
    fn tell(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.dir.path().join("garage.toml"));
        output(command.args(arguments)).context(format_args!("garage {}", arguments.join(" ")))
    }

    /// What makes cloudstore use it.
    pub(crate) fn settings(&self) -> [(&'static str, &str); 6] {
        [
            ("CLOUDSTORE_BLOBS_BACKEND", "s3"),
            ("CLOUDSTORE_S3_ENDPOINT", &self.endpoint),
            ("CLOUDSTORE_S3_REGION", REGION),
            ("CLOUDSTORE_S3_BUCKET", BUCKET),
            ("CLOUDSTORE_S3_ACCESS_KEY", ACCESS_KEY),
            ("CLOUDSTORE_S3_SECRET_KEY", &self.secret),
        ]
    }

    /// Time that rclone takes to copy a file into the bucket.
    pub(crate) fn timed_rclone(&self, file: &Path) -> Result<Duration> {
        let mut command = Command::new(&self.rclone);
        command
            .arg("copyto")
            .args(RCLONE_PARTS)
            .arg(file)
            .arg(format!("bench:{BUCKET}/rclone"))
            .env("RCLONE_CONFIG", self.dir.path().join("none"))
            .env("RCLONE_CONFIG_BENCH_TYPE", "s3")
            .env("RCLONE_CONFIG_BENCH_PROVIDER", "Other")
            .env("RCLONE_CONFIG_BENCH_ENDPOINT", &self.endpoint)
            .env("RCLONE_CONFIG_BENCH_REGION", REGION)
            .env("RCLONE_CONFIG_BENCH_ACCESS_KEY_ID", ACCESS_KEY)
            .env("RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY", &self.secret)
            .env("RCLONE_CONFIG_BENCH_FORCE_PATH_STYLE", "true");
        let start = Instant::now();
        output(&mut command).context("rclone")?;
        Ok(start.elapsed())
    }
}

/// Standard output of a program that succeeds.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("starting it")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{}: {}", output.status, said.trim())))
}
