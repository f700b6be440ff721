//! A server process: started in a group of its own, looked at through /proc, killed when dropped.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::{sleep, timeout};

use crate::error::{Context as _, Error, Result};

/// Clock ticks a second in /proc/PID/stat: what Linux shows to programs is always this.
const TICKS_PER_SECOND: u64 = 100;

/// A server is quiet when it used at most [`QUIET_CPU`] of processor time in so long.
const QUIET_WINDOW: Duration = Duration::from_millis(500);

/// One in fifty: timers and health checks, not work.
const QUIET_CPU: Duration = Duration::from_millis(10);

/// Work that was left over is done by then, or the server never rests.
const QUIET_DEADLINE: Duration = Duration::from_secs(180);

/// A child process with its own children.
pub(crate) struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    /// Starts `command`. Standard error is appended to `log`, standard output is piped.
    pub(crate) fn spawn(name: &'static str, mut command: Command, log: &Path) -> Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .context(log.display())?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        // A group of its own, so that a server's workers can be killed with it.
        command.process_group(0);
        let program = command.get_program().display().to_string();
        let child = command
            .spawn()
            .context(format_args!("starting {program}"))?;
        Ok(Self { child, name })
    }

    /// The first line on standard output, and the rest of it, which has to be kept open.
    pub(crate) async fn first_line(
        &mut self,
        within: Duration,
    ) -> Result<(String, BufReader<ChildStdout>)> {
        let output = self.child.stdout.take();
        let output = output.expect("invariant: the output is piped and taken once");
        let reading = tokio::task::spawn_blocking(move || {
            let (mut output, mut line) = (BufReader::new(output), String::new());
            output.read_line(&mut line).map(|_| (line, output))
        });
        let read = timeout(within, reading).await;
        let read = read.context(format_args!("waiting for {} to start", self.name))?;
        let (line, output) = read.context("reading")?.context("reading")?;
        if line.is_empty() {
            return Err(Error::new(format!(
                "{} ended before it was ready",
                self.name
            )));
        }
        Ok((line, output))
    }

    /// How it ended, if it did.
    pub(crate) fn exit(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context(self.name)
    }

    /// Bytes of memory that are resident now.
    pub(crate) fn resident(&self) -> Result<u64> {
        self.memory("VmRSS")
    }

    /// Bytes of files, mostly of the program itself, that are part of [`Process::resident`].
    pub(crate) fn resident_files(&self) -> Result<u64> {
        self.memory("RssFile")
    }

    /// The most bytes of memory that ever were resident.
    pub(crate) fn peak_resident(&self) -> Result<u64> {
        self.memory("VmHWM")
    }

    /// Waits until the process has nothing left to do.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let deadline = Instant::now() + QUIET_DEADLINE;
        let mut used = self.processor_time()?;
        while Instant::now() < deadline {
            sleep(QUIET_WINDOW).await;
            let now = self.processor_time()?;
            if now.saturating_sub(used) <= QUIET_CPU {
                return Ok(());
            }
            used = now;
        }
        Err(Error::new(format!(
            "{} still works {QUIET_DEADLINE:?} after the last run",
            self.name
        )))
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let status = self.proc("status")?;
        status_bytes(&status, field).ok_or_else(|| Error::new(format!("no {field} in /proc")))
    }

    fn processor_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        stat_time(&stat).ok_or_else(|| Error::new("no times in /proc"))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).context(format_args!("{} ({path})", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has ended, which is what they are for.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Bytes of `field` in the text of /proc/PID/status or /proc/meminfo, which count in kB.
pub(crate) fn status_bytes(status: &str, field: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kilobytes = value
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?;
    kilobytes.checked_mul(1024)
}

/// User and system time in the text of /proc/PID/stat.
fn stat_time(stat: &str) -> Option<Duration> {
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(status_bytes(status, "VmHWM"), Some(2 << 20));
        assert_eq!(status_bytes(status, "VmSwap"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 1";
        assert_eq!(stat_time(stat), Some(Duration::from_secs(2)));
    }
}
