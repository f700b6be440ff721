//! Copies of hot blobs on this node's disk, so that they are read once from object storage.
//!
//! A blob gets a copy when it was read twice lately, or when the ranking of all nodes says that it
//! is hot. Copies are verified while they are made, flushed, and then renamed into place; readers
//! verify them again, group by group, like any other source. Losing all of it costs time only.

mod fill;
mod policy;
mod ranking;

use std::{
    collections::HashSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cloudstore_backends::blob::BlobStore;
use cloudstore_content::Root;
use tokio::sync::Semaphore;

use self::policy::{Copy, Policy};
pub(crate) use self::ranking::Ranking;

/// Copies made at a time. Each reads a whole object; more would take the line from downloads.
const FILLS: usize = 2;
/// A copy that has to go is left for a while: a gateway may have been told its name and not have
/// opened it yet.
const REMOVE_AFTER: Duration = Duration::from_secs(5);
/// Ending of files that are not complete.
const UNFINISHED: &str = ".part";

/// The copies of one node.
pub(crate) struct DiskCache {
    dir: PathBuf,
    blobs: Arc<dyn BlobStore>,
    policy: Mutex<Policy>,
    filling: Mutex<HashSet<Root>>,
    fills: Arc<Semaphore>,
    /// Number of the next copy.
    next: AtomicU64,
}

/// A copy that can be read.
pub(crate) struct Cached {
    pub(crate) file: File,
    /// Its name below the cache's directory.
    pub(crate) name: String,
}

impl DiskCache {
    /// Takes over what an earlier process left in the directory, as far as it fits.
    pub(crate) fn open(
        dir: impl Into<PathBuf>,
        bound: u64,
        blobs: Arc<dyn BlobStore>,
    ) -> io::Result<Arc<Self>> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir)?;
        let mut policy = Policy::new(bound);
        let next = take_over(&dir, &mut policy)?;
        tracing::info!(bytes = policy.bytes(), bound, "cache of hot blobs");
        Ok(Arc::new(Self {
            dir,
            blobs,
            policy: Mutex::new(policy),
            filling: Mutex::default(),
            fills: Arc::new(Semaphore::new(FILLS)),
            next: AtomicU64::new(next),
        }))
    }

    fn policy(&self) -> MutexGuard<'_, Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a read and opens the copy if there is one. If there is none and the blob is worth
    /// it, one is made in the background.
    pub(crate) fn read(self: &Arc<Self>, root: &Root, size: u64) -> Option<Cached> {
        let number = self.policy().read(root);
        let Some(number) = number else {
            metrics::counter!("cloudstore_download_cache_misses_total").increment(1);
            if self.policy().is_worth(root, size) {
                self.fill(*root, size);
            }
            return None;
        };
        let name = file_name(root, number);
        match File::open(self.dir.join(&name)) {
            Ok(file) if file.metadata().is_ok_and(|facts| facts.len() == size) => {
                metrics::counter!("cloudstore_download_cache_hits_total").increment(1);
                Some(Cached { file, name })
            }
            _ => {
                tracing::warn!(name, "a cached copy is gone or has the wrong length");
                self.forget(root);
                None
            }
        }
    }

    /// Drops a copy that turned out to be damaged.
    pub(crate) fn forget(&self, root: &Root) {
        let gone = self.policy().remove(root);
        if let Some((root, number)) = gone {
            remove(&self.dir.join(file_name(&root, number)));
        }
    }

    /// Removes copies that had to go, but not at once.
    fn remove_later(&self, gone: &[Copy]) {
        if gone.is_empty() {
            return;
        }
        let paths: Vec<_> = gone
            .iter()
            .map(|(root, number)| self.dir.join(file_name(root, *number)))
            .collect();
        tokio::spawn(async move {
            tokio::time::sleep(REMOVE_AFTER).await;
            paths.iter().for_each(|path| remove(path));
        });
    }

    /// The file of a new copy while it is made: its path, and its number.
    fn new_file(&self, root: &Root) -> (PathBuf, u64) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{UNFINISHED}", file_name(root, number));
        (self.dir.join(name), number)
    }
}

fn file_name(root: &Root, number: u64) -> String {
    format!("{}-{number}", hex::encode(root))
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a cached copy was not removed");
        }
        _ => {}
    }
}

/// Reads the directory; returns the number for the next copy.
fn take_over(dir: &Path, policy: &mut Policy) -> io::Result<u64> {
    let mut next = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let parsed = name.to_str().and_then(parse);
        let Some((root, number)) = parsed else {
            // Unfinished, or not ours to keep in this directory.
            remove(&entry.path());
            continue;
        };
        next = next.max(number + 1);
        let size = entry.metadata()?.len();
        for (root, number) in policy.insert(&root, size, number) {
            remove(&dir.join(file_name(&root, number)));
        }
    }
    Ok(next)
}

fn parse(name: &str) -> Option<Copy> {
    let (hex, number) = name.split_once('-')?;
    let mut root = Root::default();
    hex::decode_to_slice(hex, &mut root).ok()?;
    Some((root, number.parse().ok()?))
}
