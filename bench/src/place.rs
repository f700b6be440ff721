//! Where the servers keep their data: a directory of our own, removed at the end.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    error::{Context as _, Error, Result},
    process::status_bytes,
};

/// Memory and disk that are left to everything else on the machine.
const RESERVE_BYTES: u64 = 1 << 30;

/// Start of the names of our directories.
const PREFIX: &str = "cloudstore-bench-";

/// A directory for the data of the servers.
pub(crate) struct Place {
    dir: TempDir,
    file_system: String,
}

impl Place {
    /// A new directory in `parent`, which is created if it is not there.
    pub(crate) fn create(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent).context(parent.display())?;
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
        let dir = dir.context(parent.display())?;
        let mounts = fs::read_to_string("/proc/mounts").context("/proc/mounts")?;
        let path = dir.path().canonicalize().context(dir.path().display())?;
        let file_system = file_system(&mounts, &path).unwrap_or("unknown").to_owned();
        Ok(Self { dir, file_system })
    }

    /// A new directory in this one.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<TempDir> {
        let dir = tempfile::Builder::new().prefix(name).tempdir_in(&self.dir);
        dir.context(self.dir.path().display())
    }

    /// Type of the file system, as in /proc/mounts.
    pub(crate) fn file_system(&self) -> &str {
        &self.file_system
    }

    /// Is it in memory?
    pub(crate) fn is_in_memory(&self) -> bool {
        self.file_system == "tmpfs"
    }

    /// Writes everything to the device that the file system still has in memory only, so that one
    /// run does not pay for the one before.
    pub(crate) fn flush(&self) -> Result<()> {
        let dir = fs::File::open(self.dir.path()).context(self.dir.path().display())?;
        rustix::fs::syncfs(&dir).context("flushing the file system")
    }

    /// Bytes that are in use on the file system, whoever uses them.
    pub(crate) fn used(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(self.dir.path()).context(self.dir.path().display())?;
        let blocks = stat.f_blocks.saturating_sub(stat.f_bfree);
        Ok(blocks.saturating_mul(stat.f_frsize))
    }

    /// Is there room for so many bytes?
    pub(crate) fn has_room(&self, bytes: u64) -> Result<bool> {
        Ok(self.room()? >= bytes.saturating_add(RESERVE_BYTES))
    }

    /// Fails unless there is room for so many bytes.
    pub(crate) fn require_room(&self, bytes: u64) -> Result<()> {
        if self.has_room(bytes)? {
            return Ok(());
        }
        let room = self.room()?;
        let (path, needed) = (
            self.dir.path().display(),
            bytes.saturating_add(RESERVE_BYTES),
        );
        Err(Error::new(format!(
            "{path} has room for {room} bytes, {needed} are needed"
        )))
    }

    /// Bytes that may be written. A tmpfs may promise more than there is memory.
    fn room(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(self.dir.path()).context(self.dir.path().display())?;
        let room = stat.f_bavail.saturating_mul(stat.f_frsize);
        if !self.is_in_memory() {
            return Ok(room);
        }
        let memory = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        let available = status_bytes(&memory, "MemAvailable");
        Ok(available.map_or(room, |available| room.min(available)))
    }
}

/// The programs and directories of one benchmark run.
pub(crate) struct Places {
    /// On a tmpfs, so that a slow disk does not hide the difference between servers.
    pub(crate) memory: Place,
    /// On a device that can be flushed.
    pub(crate) disk: Place,
    /// Where the servers' logs stay after the run.
    pub(crate) logs: PathBuf,
}

impl Places {
    /// Makes the directories; refuses a `memory` that is none and a `disk` that is memory.
    pub(crate) fn create(memory: &Path, disk: &Path) -> Result<Self> {
        let logs = disk.join("logs");
        fs::create_dir_all(&logs).context(logs.display())?;
        for name in [
            "cloudstore.log",
            "nginx.log",
            "garage.log",
            "rustus.log",
            "tus-node.log",
        ] {
            fs::write(logs.join(name), "").context(logs.display())?;
        }
        let places = Self {
            memory: Place::create(memory)?,
            disk: Place::create(disk)?,
            logs,
        };
        if !places.memory.is_in_memory() {
            return Err(Error::new(format!("{} is not a tmpfs", memory.display())));
        }
        if places.disk.is_in_memory() {
            return Err(Error::new(format!(
                "{} is not on a disk: set --disk",
                disk.display()
            )));
        }
        Ok(places)
    }
}

/// Type of the file system that holds `path`: that of the longest mount point above it.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        Some((fields.next()?, fields.next()?))
    });
    // Of equal mount points the last one covers the others.
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    above
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /dev tmpfs rw 0 0\n\
                      shm /dev/shm ramfs rw 0 0\nshm /dev/shm tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/dev/shm/x")), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/dev/shmx")), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/srv")), Some("ext4"));
    }
}
