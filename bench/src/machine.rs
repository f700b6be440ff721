//! The machine and the programs that the numbers belong to.

use std::{fs, path::Path, process::Command, thread};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    process::status_bytes,
    rows::{Bench, Sizes},
    series::mebibytes,
    servers::{garage, nginx, rustus, tus_node},
};

/// Said of what cannot be found out.
const UNKNOWN: &str = "unknown";

/// A name and a value, for people.
pub(crate) struct Fact {
    /// What it is about.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) value: String,
}

/// All facts. What cannot be found out is said to be unknown.
pub(crate) fn facts(bench: &Bench) -> Vec<Fact> {
    let Sizes { runs, .. } = bench.sizes;
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let [garage, rclone] = garage::versions();
    let unknown = || UNKNOWN.to_owned();
    let facts = [
        ("date", date()),
        ("commit", commit()),
        ("processor", processor()),
        ("cores", cores.to_string()),
        ("memory", memory()),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        (
            "data of all servers",
            bench.places.memory.file_system().to_owned(),
        ),
        (
            "the same, for small files",
            bench.places.disk.file_system().to_owned(),
        ),
        ("rustc", output("rustc", &["--version"])),
        (
            "nginx",
            nginx::version(&bench.nginx).unwrap_or_else(|_| UNKNOWN.to_owned()),
        ),
        ("garage", garage.unwrap_or_else(unknown)),
        ("rclone", rclone.unwrap_or_else(unknown)),
        ("rustus", rustus::program_version().unwrap_or_else(unknown)),
        (
            "@tus/server",
            tus_node::program_version().unwrap_or_else(unknown),
        ),
        ("runs", runs.to_string()),
    ];
    facts.map(|(name, value)| Fact { name, value }).into()
}

fn date() -> String {
    // A zero is a valid fraction of a second, and is not written.
    let now = OffsetDateTime::now_utc().replace_nanosecond(0);
    now.ok()
        .and_then(|now| now.format(&Rfc3339).ok())
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The commit that is checked out, and whether the files are those of the commit.
fn commit() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(root)
            .args(arguments)
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return UNKNOWN.to_owned();
    };
    // The results themselves are written before they are committed.
    let changes = git(&[
        "status",
        "--porcelain",
        "--",
        ":/",
        ":(top,exclude)bench/RESULTS.md",
    ]);
    match changes {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} with local changes"),
    }
}

fn processor() -> String {
    let text = read("/proc/cpuinfo");
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| UNKNOWN.to_owned(), |(_, model)| model.trim().to_owned())
}

fn memory() -> String {
    let total = status_bytes(&read("/proc/meminfo"), "MemTotal");
    total.map_or_else(
        || UNKNOWN.to_owned(),
        |bytes| format!("{:.1} GiB", mebibytes(bytes) / 1024.0),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| UNKNOWN.to_owned(), |text| text.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => UNKNOWN.to_owned(),
    }
}
