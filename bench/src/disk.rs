//! How fast the disk is by itself: one thread that writes 4 KiB and flushes, again and again.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    error::{Context as _, Result},
    series::per_second,
};

/// Bytes of each write.
const BLOCK: [u8; 4 << 10] = [0x5a; 4 << 10];

/// How long each rate is measured: hundreds of flushes even on a slow disk.
const DURATION: Duration = Duration::from_secs(1);

/// Overwrites of one block of a file that exists, each flushed with fdatasync, a second.
pub(crate) fn overwrite_rate(dir: &Path) -> Result<f64> {
    let rate = || {
        let file = File::create(dir.join("overwritten"))?;
        // Written once and flushed with its metadata, later flushes have only data to write.
        file.write_all_at(&BLOCK, 0)?;
        file.sync_all()?;
        repeat(|_| {
            file.write_all_at(&BLOCK, 0)?;
            file.sync_data()
        })
    };
    rate().context("measuring fdatasync")
}

/// New files of one block, each flushed with fdatasync and its directory with fsync, a second. They
/// stay in `dir`, which must not exist: ext4 searches long for inodes that were not deleted a
/// moment ago, and that would burden whoever is measured next.
pub(crate) fn create_rate(dir: &Path) -> Result<f64> {
    let rate = || {
        fs::create_dir(dir)?;
        let handle = File::open(dir)?;
        repeat(|number| {
            let mut file = File::create_new(dir.join(number.to_string()))?;
            file.write_all(&BLOCK)?;
            file.sync_data()?;
            handle.sync_all()
        })
    };
    let rate: io::Result<f64> = rate();
    rate.context("measuring fdatasync of new files")
}

/// How often `work` can be done in a second. It is told how often it was done.
fn repeat(mut work: impl FnMut(u64) -> io::Result<()>) -> io::Result<f64> {
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < DURATION {
        work(done)?;
        done += 1;
    }
    Ok(per_second(done, start.elapsed()))
}
