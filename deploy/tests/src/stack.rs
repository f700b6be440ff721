//! The processes of the stack, through the scripts in `deploy/local`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use cloudstore_proto::http::admin::{Transfer, Transfers};
use cloudstore_service::{testing::server, trust::Identity};
use cloudstore_testkit::eventually;
use tokio::process::Command;
use uuid::Uuid;

use crate::{Metrics, servers::on_replica};

/// Instances of upload-svc, which are the names of the staging nodes.
pub const UPLOAD_NODES: [&str; 2] = ["upload-1", "upload-2"];
/// Instances of transfer-worker.
pub const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
/// Instances of dbproxy.
pub const DATABASES: [&str; 2] = ["dbproxy-1", "dbproxy-2"];
/// Every instance of every service.
pub const INSTANCES: [&str; 10] = [
    "account-1",
    "account-2",
    "upload-1",
    "upload-2",
    "download-1",
    "download-2",
    "worker-1",
    "worker-2",
    "dbproxy-1",
    "dbproxy-2",
];

/// Graces and leases as short as tests want them.
const SETTINGS: [(&str, &str); 4] = [
    ("CLOUDSTORE_TRANSFER_GRACE", "2"),
    ("CLOUDSTORE_TRANSFER_GARBAGE_GRACE", "2"),
    ("CLOUDSTORE_TRANSFER_LEASE", "6"),
    ("CLOUDSTORE_TRANSFER_CLEAN_EVERY", "1"),
];
/// What single tests set for a worker besides.
const EXTRAS: [&str; 3] = [
    "FAILPOINTS",
    "CLOUDSTORE_TRANSFER_RECONCILE_EVERY",
    "CLOUDSTORE_TRANSFER_ORPHAN_GRACE",
];
/// How long a process that dies may take to be gone.
const DEATH: Duration = Duration::from_secs(60);

/// The stack. What a test did to it is undone when this is dropped.
pub struct Stack {
    scripts: PathBuf,
    dir: PathBuf,
    programs: PathBuf,
    disturbed: AtomicBool,
    http: reqwest::Client,
}

impl Stack {
    /// The stack, with everything ready. Starts what does not run: with the programs of
    /// `CLOUDSTORE_BIN`, or of `target/debug`.
    pub async fn up() -> Self {
        cloudstore_service::tls::install_provider();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let uid = fs::metadata("/proc/self").unwrap().uid();
        let dir = std::env::var_os("CLOUDSTORE_STACK_DIR").map(PathBuf::from);
        let programs = std::env::var_os("CLOUDSTORE_BIN").map(PathBuf::from);
        let programs = programs.unwrap_or_else(|| root.join("target/debug"));
        let stack = Self {
            scripts: root.join("deploy/local").canonicalize().unwrap(),
            dir: dir.unwrap_or_else(|| format!("/var/tmp/cloudstore-stack-{uid}").into()),
            programs: programs.canonicalize().expect("the programs are built"),
            disturbed: AtomicBool::new(false),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        stack.make_ready().await;
        stack
    }

    /// A test that was killed may have left anything behind.
    async fn make_ready(&self) {
        self.resume_all();
        let programs = fs::read_to_string(self.dir.join("bin")).unwrap_or_default();
        if Path::new(programs.trim()) != self.programs {
            self.script("stack.sh", &["down", "services"], &[]).await;
        }
        let strange = WORKERS.into_iter().filter(|worker| !self.is_plain(worker));
        let strange: Vec<_> = strange.collect();
        if !strange.is_empty() {
            self.script("stack.sh", &[&["stop"], &*strange].concat(), &[])
                .await;
        }
        if !self
            .try_script("stack.sh", &["status"], &[])
            .await
            .status
            .success()
        {
            self.script("servers.sh", &["start", "mysql-replica"], &[])
                .await;
            on_replica("START SLAVE").await;
            self.script("stack.sh", &["up"], &[]).await;
        }
    }

    /// The gateway.
    #[must_use]
    pub fn url(&self) -> String {
        server("GATEWAY_URL")
    }

    /// Where the stack keeps its data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The staging directory of an instance of upload-svc.
    #[must_use]
    pub fn staging(&self, node: &str) -> PathBuf {
        self.dir.join(node).join("staging")
    }

    /// Do the servers run as root, each as a user of its own?
    #[must_use]
    pub fn is_root(&self) -> bool {
        fs::metadata("/proc/self").unwrap().uid() == 0
    }

    /// Where an instance serves HTTP.
    #[must_use]
    pub fn address(&self, instance: &str) -> String {
        let (service, number) = instance.split_once('-').unwrap();
        let port = match service {
            "account" => 7010,
            "upload" => 7020,
            "download" => 7030,
            "worker" => 7040,
            "dbproxy" => 7050,
            _ => panic!("{instance} is no instance of a service"),
        };
        format!("127.0.0.1{number}:{port}")
    }

    /// Starts what is stopped and waits until it is ready.
    pub async fn start(&self, names: &[&str]) {
        self.start_with(names, &[]).await;
    }

    /// The same, with more variables in the environment of the processes.
    pub async fn start_with(&self, names: &[&str], variables: &[(&str, &str)]) {
        self.change("start", names, variables).await;
    }

    /// SIGTERM, and waits until it has finished.
    pub async fn stop(&self, names: &[&str]) {
        self.change("stop", names, &[]).await;
    }

    /// SIGTERM, then starts it again.
    pub async fn restart(&self, name: &str) {
        self.change("restart", &[name], &[]).await;
    }

    /// SIGKILL: nothing is finished, flushed or said goodbye to.
    pub async fn kill(&self, names: &[&str]) {
        self.change("kill", names, &[]).await;
    }

    /// Waits until it is ready; for the replica: until it has what the primary has now.
    pub async fn wait(&self, name: &str) {
        self.script("stack.sh", &["wait", name], &[]).await;
    }

    async fn change(&self, how: &str, names: &[&str], variables: &[(&str, &str)]) {
        self.disturbed.store(true, Ordering::Relaxed);
        self.script("stack.sh", &[&[how], names].concat(), variables)
            .await;
    }

    /// SIGSTOP: it stays there and answers nothing.
    pub fn pause(&self, name: &str) {
        self.disturbed.store(true, Ordering::Relaxed);
        send_signal("STOP", self.pid(name).expect("it runs"));
    }

    /// SIGCONT after [`Stack::pause`].
    pub fn resume(&self, name: &str) {
        send_signal("CONT", self.pid(name).expect("it runs"));
    }

    fn resume_all(&self) {
        let names = fs::read_dir(self.dir.join("pid"))
            .into_iter()
            .flatten()
            .flatten();
        for name in names {
            if let Some(pid) = self.pid(&name.file_name().to_string_lossy()) {
                send_signal("CONT", pid);
            }
        }
    }

    /// The process of that name, if it runs.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        let noted = fs::read_to_string(self.dir.join("pid").join(name)).ok()?;
        let (pid, started) = noted.trim().split_once(' ')?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name in parentheses: the state, and 19 fields on the start.
        let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
        (fields[0] != "Z" && fields[19] == started).then(|| pid.parse().unwrap())
    }

    /// Starts a process with variables that let it die, and waits until it has. It may never have
    /// been ready.
    pub async fn start_to_die(&self, name: &str, variables: &[(&str, &str)]) {
        self.disturbed.store(true, Ordering::Relaxed);
        self.try_script("stack.sh", &["start", name], variables)
            .await;
        let gone = async || match self.pid(name) {
            None => Ok(()),
            Some(pid) => Err(format!("{name} ({pid}) does not die of {variables:?}")),
        };
        eventually(DEATH, gone).await;
    }

    /// Does a worker, if it runs, run as tests want it, without the extras of a single one?
    fn is_plain(&self, worker: &str) -> bool {
        let Some(pid) = self.pid(worker) else {
            return true;
        };
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let variables: Vec<_> = environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='))
            .collect();
        let is_extra = |(name, _): &(&str, &str)| EXTRAS.contains(name);
        SETTINGS.iter().all(|setting| variables.contains(setting))
            && !variables.iter().any(is_extra)
    }

    /// What an instance says about itself.
    pub async fn metrics(&self, instance: &str) -> Metrics {
        let url = format!("http://{}/metrics", self.address(instance));
        let answer = self.http.get(url).send().await.unwrap();
        Metrics::parse(&answer.text().await.unwrap())
    }

    /// The sum of a metric over several instances.
    pub async fn sum(&self, instances: &[&str], name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut sum = 0.0;
        for instance in instances {
            sum += self.metrics(instance).await.sum(name, labels);
        }
        sum
    }

    /// Transfers that wait, run or are parked, as operators see them.
    pub async fn transfers(&self) -> Vec<Transfer> {
        let admin = Identity::create_or_load("admin", &self.dir.join("tests-admin.key")).unwrap();
        let (key, value) = admin.published();
        let published = format!("{}/v1/kv/cloudstore/{key}", server("CONSUL_URL"));
        self.http.put(published).body(value).send().await.unwrap();
        let url = format!("http://{}/internal/v1/transfers", self.address(WORKERS[0]));
        let token = admin.token("transfer-worker");
        let answer = self.http.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<Transfers>().await.unwrap().transfers
    }

    /// The staged copy of a blob on its way to durable storage.
    pub async fn staged_copy(&self, blake3: &str) -> PathBuf {
        let transfers = self.transfers().await;
        let transfer = transfers.iter().find(|transfer| transfer.blake3 == blake3);
        let transfer = transfer.unwrap_or_else(|| panic!("{blake3} is not in {transfers:?}"));
        let id: Uuid = transfer.staging_id.parse().unwrap();
        let name = format!("{}.data", id.simple());
        self.staging(&transfer.node).join(name)
    }

    /// How many healthy instances of a service Consul knows.
    pub async fn registered(&self, service: &str) -> usize {
        let url = format!(
            "{}/v1/health/service/{service}?passing",
            server("CONSUL_URL")
        );
        let answer = self.http.get(url).send().await.unwrap();
        let entries: Vec<serde_json::Value> = answer.json().await.unwrap();
        entries.len()
    }

    async fn script(&self, name: &str, args: &[&str], variables: &[(&str, &str)]) {
        let output = self.try_script(name, args, variables).await;
        check(format!("{name} {}", args.join(" ")), &output);
    }

    async fn try_script(&self, name: &str, args: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::from(self.command(name, args, variables));
        command.output().await.unwrap()
    }

    fn command(
        &self,
        name: &str,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> std::process::Command {
        let mut command = std::process::Command::new(self.scripts.join(name));
        command
            .args(args)
            .envs(SETTINGS)
            .envs(variables.iter().copied());
        command.env("CLOUDSTORE_BIN", &self.programs);
        command.env("CLOUDSTORE_STACK_DIR", &self.dir);
        command
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if !self.disturbed.load(Ordering::Relaxed) {
            return;
        }
        self.resume_all();
        match self.command("stack.sh", &["up"], &[]).output() {
            Ok(output) if output.status.success() => {}
            // The next test tries again, and says why it cannot.
            output => eprintln!("the stack is not restored: {output:?}"),
        }
    }
}

/// To the whole group: nginx and RabbitMQ have children.
fn send_signal(signal: &str, pid: u32) {
    let mut kill = std::process::Command::new("kill");
    let sent = kill
        .args(["-s", signal, "--", &format!("-{pid}")])
        .status()
        .unwrap();
    assert!(sent.success(), "SIG{signal} for {pid}");
}

/// What a command prints; fails the test when the command fails.
pub(crate) async fn output(command: &mut Command) -> String {
    let what = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let output = command.kill_on_drop(true).output().await;
    check(what, &output.unwrap())
}

fn check(what: impl AsRef<OsStr>, output: &Output) -> String {
    let what = what.as_ref().to_string_lossy();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{what}: {}\n{out}{err}",
        output.status
    );
    out
}
