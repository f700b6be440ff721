//! What commands remember for each other, in `$XDG_STATE_HOME/cloudstore`: unfinished uploads and
//! the hashes of local files. Losing it costs time, never correctness, so nothing here is flushed.

mod hashes;
mod unfinished;

use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

pub(crate) use self::{
    hashes::{HashCache, hash_file},
    unfinished::{Unfinished, UploadKey},
};
use crate::{
    credentials::{create_private_dir, user_dir},
    error::{Error, Result},
};

/// Where the user can put the state directory.
const VARIABLE: &str = "XDG_STATE_HOME";

/// The state directory, created if missing.
pub(crate) fn dir() -> Result<PathBuf> {
    let dir = user_dir(VARIABLE, ".local/state")?;
    create_private_dir(&dir).map_err(|error| unusable(&error, &dir))?;
    Ok(dir)
}

/// The state directory cannot be used.
pub(crate) fn unusable(error: &io::Error, dir: &Path) -> Error {
    Error::own_dir(error, dir, VARIABLE)
        .during(format!("cannot use the state directory {}", dir.display()))
}

/// What changes when a file changes. The time of the last status change is included because a
/// program can set the modification time back, but not this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    /// Bytes.
    pub(crate) size: u64,
    /// Modification time in Unix nanoseconds.
    pub(crate) mtime_ns: i128,
    ctime_ns: i128,
    inode: u64,
    device: u64,
}

impl Stamp {
    /// Of a file as it is now.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let nanos = |secs: i64, nanos: i64| i128::from(secs) * 1_000_000_000 + i128::from(nanos);
        Self {
            size: metadata.len(),
            mtime_ns: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanos(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// Modification time in Unix milliseconds.
    pub(crate) fn mtime_ms(&self) -> i64 {
        i64::try_from(self.mtime_ns.div_euclid(1_000_000)).unwrap_or(0)
    }

    /// The same content, as far as a directory can tell. Linking or renaming a file changes its
    /// status time but not this.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        (self.size, self.mtime_ns, self.inode, self.device)
            == (other.size, other.mtime_ns, other.inode, other.device)
    }
}

/// The file was written to since `before`.
pub(crate) fn has_changed(file: &std::fs::File, before: &Stamp) -> io::Result<bool> {
    Ok(!Stamp::of(&file.metadata()?).same_content(before))
}
