//! What a transfer of many files has done so far: counted, drawn on a terminal, told file by file
//! and summed up at the end.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    error::{Error, Exit, Result},
    output::{Out, count, escaped, human_bytes},
};

/// Redraws are seen, not counted.
const TICK: Duration = Duration::from_millis(100);
/// Smaller files are over before their bar is seen.
const BAR_FROM: u64 = 8 << 20;

/// Which way the bytes go; decides on words and field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the server.
    Upload,
    /// From the server.
    Download,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Its content was sent.
    Uploaded,
    /// The server had its content already.
    Instant,
    /// Its content was fetched.
    Downloaded,
    /// It was here already, with the same content.
    Unchanged,
}

/// A file that is done.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    /// On this machine.
    pub(crate) local: &'a str,
    /// On the server.
    pub(crate) remote: &'a str,
    /// Bytes.
    pub(crate) size: u64,
    /// Hexadecimal.
    pub(crate) blake3: &'a str,
    /// Where a server that has no paths keeps it.
    pub(crate) url: Option<&'a str>,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "file")]
struct DoneLine<'a> {
    local: &'a str,
    path: &'a str,
    size: u64,
    blake3: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    status: Outcome,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "file")]
struct FailedLine<'a> {
    local: &'a str,
    path: &'a str,
    status: &'static str,
    error: String,
    problem: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_sent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instant: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged: Option<u64>,
    skipped: u64,
    failed: u64,
    seconds: f64,
}

/// Shared by everything that works on one command.
pub(crate) struct Progress {
    out: Out,
    direction: Direction,
    /// Tell each file that is done.
    each: bool,
    bar: ProgressBar,
    started: Instant,
    files: AtomicU64,
    bytes: AtomicU64,
    moved: AtomicU64,
    reused: AtomicU64,
    skipped: AtomicU64,
    failed: AtomicU64,
    damaged: AtomicBool,
}

impl Progress {
    /// `each`: tell people every file, not only the failed ones.
    pub(crate) fn new(out: &Out, direction: Direction, each: bool) -> Self {
        let bar = out.bars().add(ProgressBar::new(0).with_style(style(
            "{spinner} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}",
        )));
        bar.enable_steady_tick(TICK);
        Self {
            out: out.clone(),
            direction,
            each: each || out.is_verbose(),
            bar,
            started: Instant::now(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            reused: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
        }
    }

    /// Another file is to be transferred.
    pub(crate) fn found(&self, bytes: u64) {
        self.bar.inc_length(bytes);
    }

    /// Content went over the wire.
    pub(crate) fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Relaxed);
        self.bar.inc(bytes);
    }

    /// A bar for one file, if it is worth one.
    pub(crate) fn file_bar(&self, name: &str, size: u64) -> ProgressBar {
        if size < BAR_FROM || self.bar.is_hidden() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(size)
            .with_style(style(
                "  {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}",
            ))
            .with_message(escaped(name).into_owned());
        self.out.bars().insert_before(&self.bar, bar)
    }

    /// A file is done.
    pub(crate) fn done(&self, done: &Done<'_>) -> Result<()> {
        let files = self.files.fetch_add(1, Relaxed) + 1;
        self.bytes.fetch_add(done.size, Relaxed);
        if matches!(done.outcome, Outcome::Instant | Outcome::Unchanged) {
            self.reused.fetch_add(1, Relaxed);
            self.bar.inc(done.size);
        }
        self.bar.set_message(count(files, "file"));
        self.out.record(&DoneLine {
            local: done.local,
            path: done.remote,
            size: done.size,
            blake3: done.blake3,
            url: done.url,
            status: done.outcome,
        })?;
        if !self.each {
            return Ok(());
        }
        let (from, to) = match self.direction {
            Direction::Upload => (done.local, done.url.unwrap_or(done.remote)),
            Direction::Download => (done.remote, done.local),
        };
        let size = human_bytes(done.size);
        self.out.report(match done.outcome {
            Outcome::Uploaded | Outcome::Downloaded => format!("{from} -> {to} ({size})"),
            Outcome::Instant => {
                format!("{from} -> {to} ({size}, instant: already on server, 0 B sent)")
            }
            Outcome::Unchanged => format!("{from} -> {to} ({size}, already here)"),
        })
    }

    /// A file failed; passes on an error that would hit every other file too.
    pub(crate) fn failed(&self, local: &str, remote: &str, error: Error) -> Result<()> {
        if error.ends_the_run() {
            return Err(error);
        }
        self.failed.fetch_add(1, Relaxed);
        if error.exit() == Exit::Checksum {
            self.damaged.store(true, Relaxed);
        }
        if !self.out.is_json() {
            self.out.complain(&error);
        }
        let (problem, error) = (error.slug(), error.to_string());
        let line = FailedLine {
            local,
            path: remote,
            status: "failed",
            error,
            problem,
        };
        self.out.record(&line)
    }

    /// Something that is neither a file nor a folder is left out.
    pub(crate) fn skipped(&self, local: &str, why: &str) {
        self.skipped.fetch_add(1, Relaxed);
        self.out.note(format_args!("skipped {local}: {why}"));
    }

    /// The summary line, and the exit code if a file failed.
    pub(crate) fn finish(&self) -> Result<()> {
        self.bar.finish_and_clear();
        let [files, bytes, moved, reused, skipped, failed] = [
            &self.files,
            &self.bytes,
            &self.moved,
            &self.reused,
            &self.skipped,
            &self.failed,
        ]
        .map(|count| count.load(Relaxed));
        let seconds = self.started.elapsed().as_secs_f64();
        let upload = self.direction == Direction::Upload;
        self.out.record(&Summary {
            files,
            bytes,
            bytes_sent: upload.then_some(moved),
            bytes_received: (!upload).then_some(moved),
            instant: upload.then_some(reused),
            unchanged: (!upload).then_some(reused),
            skipped,
            failed,
            seconds: (seconds * 1_000.0).round() / 1_000.0,
        })?;
        let (verb, reuse) = match self.direction {
            Direction::Upload => ("sent", "instant (already on server, 0 B sent)"),
            Direction::Download => ("received", "already here"),
        };
        let mut line = format!(
            "{}, {}, {} {verb}",
            count(files, "file"),
            human_bytes(bytes),
            human_bytes(moved)
        );
        for (number, what) in [(reused, reuse), (skipped, "skipped"), (failed, "failed")] {
            if number > 0 {
                line.push_str(&format!(", {number} {what}"));
            }
        }
        self.out.report(format_args!("{line}, {seconds:.1} s"))?;
        match (failed, self.damaged.load(Relaxed)) {
            (0, _) => Ok(()),
            (_, true) => Err(Error::told(Exit::Checksum)),
            (_, false) => Err(Error::told(Exit::Failed)),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Progress {
        Progress::new(
            &Out::new(false, true, false, false),
            Direction::Upload,
            false,
        )
    }

    #[test]
    fn one_failed_file_fails_the_command_but_not_the_others() {
        let progress = quiet();
        progress
            .failed("a", "/a", Error::new(Exit::NotFound, "gone"))
            .unwrap();
        assert_eq!(progress.finish().unwrap_err().exit(), Exit::Failed);
        progress
            .failed("b", "/b", Error::new(Exit::Checksum, "differs"))
            .unwrap();
        assert_eq!(progress.finish().unwrap_err().exit(), Exit::Checksum);
    }

    #[test]
    fn a_lost_server_ends_the_run() {
        let progress = quiet();
        let error = progress
            .failed("a", "/a", Error::new(Exit::Network, "refused"))
            .unwrap_err();
        assert_eq!(error.exit(), Exit::Network);
        progress.finish().unwrap();
    }
}
