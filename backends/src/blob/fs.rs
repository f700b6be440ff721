//! Blobs as files in a directory of this machine.
//!
//! An object is visible under its final name only when all of it is there: a file that is complete
//! and flushed already is linked there; anything else is written in `tmp/`, flushed, and then
//! renamed. Its directory entry is flushed before `put` returns.

use std::{
    collections::HashSet,
    fs::{File, Permissions, TryLockError},
    io,
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rustix::io::Errno;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::{BlobStore, ByteStream, Error, Key, Listed, Source, Stat};
use crate::flush::{Flusher, create_dirs_durably};

mod list;

use list::{Walk, unless_gone};

/// Bytes of one read and of one write: large enough that the hand-over to a blocking thread does
/// not count, small enough for many streams at a time.
const PIECE: usize = 1 << 20;
/// Directories remembered as durable. Forgetting one costs a flush, remembering one 150 bytes.
const MAX_KNOWN_DIRS: usize = 16_384;
/// How long a readiness check may take.
const CHECK_BUDGET: Duration = Duration::from_secs(3);
/// Objects are readable by the owner and, for a web server that sends them, by the group.
const MODE: u32 = 0o640;
/// Unfinished objects, below the store's directory. No key begins with it.
const TMP: &str = "tmp";
/// In [`TMP`]; held shared by every process that uses the store.
const LOCK: &str = "lock";

/// A blob store in a directory. Several processes of one machine may use the same directory.
#[derive(Clone, Debug)]
pub struct FsBlobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    tmp: PathBuf,
    flusher: Flusher,
    /// Directories whose own entry is known to survive loss of power.
    known_dirs: Mutex<HashSet<PathBuf>>,
    _in_use: File,
}

impl FsBlobStore {
    /// Opens the store in `dir`, which is created if needed. Removes what an earlier process left
    /// unfinished, unless another process uses the store.
    ///
    /// Blocks for some milliseconds; meant for the start of a process.
    ///
    /// # Errors
    /// When the directory cannot be created, flushed or cleaned.
    pub fn open(dir: impl Into<PathBuf>, flusher: Flusher) -> io::Result<Self> {
        let dir = std::path::absolute(dir.into())?;
        let tmp = dir.join(TMP);
        create_dirs_durably(&tmp)?;
        let in_use = lock_and_clean(&tmp)?;
        let known_dirs = Mutex::new(HashSet::new());
        Ok(Self {
            inner: Arc::new(Inner {
                dir,
                tmp,
                flusher,
                known_dirs,
                _in_use: in_use,
            }),
        })
    }

    /// Runs disk work on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.inner.clone();
        let task = tokio::task::spawn_blocking(move || work(&inner)).await;
        task.map_err(|panic| Error::Unavailable(panic.into()))?
    }

    /// Puts a file in place: linked where the file system can, else copied.
    async fn put_file(&self, target: PathBuf, path: PathBuf, len: u64) -> Result<(), Error> {
        let to = target.clone();
        let copied = self
            .blocking(move |inner| inner.link_or_copy(&path, len, &to))
            .await?;
        match copied {
            None => Ok(()),
            Some(temp) => self.keep(temp, target).await,
        }
    }

    /// Writes a stream to a temporary file and puts it in place.
    async fn put_stream(
        &self,
        target: PathBuf,
        mut stream: ByteStream,
        len: u64,
    ) -> Result<(), Error> {
        let (file, path) = self
            .blocking(|inner| Ok(inner.temp_file()?.into_parts()))
            .await?;
        let file = tokio::fs::File::from_std(file);
        let mut writer = tokio::io::BufWriter::with_capacity(PIECE, file);
        let mut found = 0;
        while let Some(bytes) = stream.try_next().await.map_err(Error::Source)? {
            found += bytes.len() as u64;
            if found > len {
                return Err(Error::Length {
                    expected: len,
                    found,
                });
            }
            writer
                .write_all(&bytes)
                .await
                .map_err(full_or_unavailable)?;
        }
        if found != len {
            return Err(Error::Length {
                expected: len,
                found,
            });
        }
        writer.flush().await.map_err(full_or_unavailable)?;
        let file = writer.into_inner().into_std().await;
        self.keep(NamedTempFile::from_parts(file, path), target)
            .await
    }

    /// Flushes a complete temporary file and renames it: only in this order a crash never shows
    /// an object without its content.
    async fn keep(&self, temp: NamedTempFile, target: PathBuf) -> Result<(), Error> {
        let (file, path) = temp.into_parts();
        let flusher = &self.inner.flusher;
        flusher
            .flush(vec![Arc::new(file)], Vec::new())
            .await
            .map_err(full_or_unavailable)?;
        self.blocking(move |_| {
            path.persist(target)
                .map_err(|failed| full_or_unavailable(failed.error))
        })
        .await
    }

    /// Makes the entry of an object, and of the directories above it, survive loss of power.
    async fn flush_entries(&self, missing: Vec<PathBuf>, parent: PathBuf) -> Result<(), Error> {
        let above = missing
            .iter()
            .filter_map(|dir| dir.parent().map(Path::to_owned));
        let above: Vec<_> = above.chain([parent]).collect();
        let open = move |_: &Inner| {
            let opened = above.into_iter().map(|dir| File::open(dir).map(Arc::new));
            opened
                .collect::<io::Result<Vec<_>>>()
                .map_err(full_or_unavailable)
        };
        let dirs = self.blocking(open).await?;
        let flusher = &self.inner.flusher;
        flusher
            .flush(Vec::new(), dirs)
            .await
            .map_err(full_or_unavailable)?;
        self.inner.remember(missing);
        Ok(())
    }
}

#[async_trait]
impl BlobStore for FsBlobStore {
    async fn put(&self, key: &Key, source: Source) -> Result<Stat, Error> {
        let target = self.inner.path(key);
        let parent = target
            .parent()
            .expect("invariant: keys have several parts")
            .to_owned();
        let dirs = parent.clone();
        let missing = self.blocking(move |inner| inner.create_dirs(&dirs)).await?;
        let len = source.len();
        match source {
            Source::File { path, len } => self.put_file(target, path, len).await?,
            Source::Bytes(bytes) => {
                let stream = stream::once(async move { Ok(bytes) }).boxed();
                self.put_stream(target, stream, len).await?;
            }
            Source::Stream { len, stream } => self.put_stream(target, stream, len).await?,
        }
        self.flush_entries(missing, parent).await?;
        Ok(Stat { len })
    }

    async fn get(&self, key: &Key, range: Range<u64>) -> Result<ByteStream, Error> {
        let path = self.inner.path(key);
        let file = self.blocking(move |_| open_object(&path)).await?;
        let len = file.metadata().map_err(full_or_unavailable)?.len();
        if range.start >= range.end || range.end > len {
            return Err(Error::Range);
        }
        Ok(read_pieces(Arc::new(file), range))
    }

    async fn open_local(&self, key: &Key) -> Result<Option<File>, Error> {
        let path = self.inner.path(key);
        self.blocking(move |_| open_object(&path).map(Some)).await
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        let path = self.inner.path(key);
        self.blocking(move |_| match std::fs::metadata(path) {
            Ok(meta) => Ok(Some(Stat { len: meta.len() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(full_or_unavailable(error)),
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.inner.path(key);
        let parent = path
            .parent()
            .expect("invariant: keys have several parts")
            .to_owned();
        let removed = self.blocking(move |_| match std::fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(full_or_unavailable(error)),
        });
        if removed.await? {
            // Else the object could come back after loss of power, with nobody knowing of it.
            self.flush_entries(Vec::new(), parent).await?;
        }
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Listed)>, Error> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.blocking(move |inner| {
            let walk = Walk {
                prefix: &prefix,
                after: after.as_ref().map_or("", Key::as_str),
                limit,
            };
            let mut listed = Vec::new();
            walk.enter(&inner.dir, "", &mut listed)
                .map_err(full_or_unavailable)?;
            Ok(listed)
        })
        .await
    }

    async fn abort_unfinished(&self, older_than: Duration) -> Result<u64, Error> {
        let before = SystemTime::now().checked_sub(older_than);
        self.blocking(move |inner| inner.abort_unfinished(before))
            .await
    }

    fn links(&self) -> bool {
        true
    }

    async fn presign_get(&self, _key: &Key, _ttl: Duration) -> Result<Option<Url>, Error> {
        Ok(None)
    }

    async fn check(&self) -> Result<(), Error> {
        let write = self.blocking(|inner| inner.temp_file().map(drop));
        match tokio::time::timeout(CHECK_BUDGET, write).await {
            Ok(outcome) => outcome,
            Err(elapsed) => Err(Error::Unavailable(elapsed.into())),
        }
    }
}

impl Inner {
    fn path(&self, key: &Key) -> PathBuf {
        self.dir.join(key.as_str())
    }

    /// An empty file that removes itself unless it is renamed.
    fn temp_file(&self) -> Result<NamedTempFile, Error> {
        tempfile::Builder::new()
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(&self.tmp)
            .map_err(full_or_unavailable)
    }

    /// Creates a directory of the store and those above it. Returns the ones that are not known
    /// to survive loss of power yet: also a directory that another put has just created.
    fn create_dirs(&self, dir: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut missing: Vec<PathBuf> = {
            let known = self
                .known_dirs
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let above = dir.ancestors().take_while(|above| **above != *self.dir);
            above
                .take_while(|above| !known.contains(*above))
                .map(Path::to_owned)
                .collect()
        };
        missing.reverse();
        if !missing.is_empty() {
            std::fs::create_dir_all(dir).map_err(full_or_unavailable)?;
        }
        Ok(missing)
    }

    fn remember(&self, dirs: Vec<PathBuf>) {
        if dirs.is_empty() {
            return;
        }
        let mut known = self
            .known_dirs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() + dirs.len() > MAX_KNOWN_DIRS {
            known.clear();
        }
        known.extend(dirs);
    }

    /// Links a flushed file to its place, or returns a copy that is still to be flushed and
    /// renamed.
    fn link_or_copy(
        &self,
        path: &Path,
        len: u64,
        target: &Path,
    ) -> Result<Option<NamedTempFile>, Error> {
        let source = File::open(path).map_err(Error::Source)?;
        let found = source.metadata().map_err(Error::Source)?.len();
        if found != len {
            return Err(Error::Length {
                expected: len,
                found,
            });
        }
        let linked = match std::fs::hard_link(path, target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.relink(path, target),
            linked => linked,
        };
        match linked {
            Ok(()) => Ok(None),
            Err(error) if cannot_link(&error) => self.copy(source, len).map(Some),
            Err(error) => Err(full_or_unavailable(error)),
        }
    }

    /// Removes temporary files that were last written before that time.
    fn abort_unfinished(&self, before: Option<SystemTime>) -> Result<u64, Error> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.tmp).map_err(full_or_unavailable)? {
            let entry = entry.map_err(full_or_unavailable)?;
            let name = entry.file_name();
            let meta = unless_gone(entry.metadata()).map_err(full_or_unavailable)?;
            let modified = meta.and_then(|meta| meta.modified().ok());
            let old = modified
                .zip(before)
                .is_some_and(|(at, before)| at <= before);
            if old && name != LOCK {
                let gone = unless_gone(std::fs::remove_file(entry.path()));
                removed += u64::from(gone.map_err(full_or_unavailable)?.is_some());
            }
        }
        Ok(removed)
    }

    /// Replaces an object by a link to the file, atomically, so that a put mends what a disk has
    /// damaged.
    fn relink(&self, path: &Path, target: &Path) -> io::Result<()> {
        let inode = |path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        if inode(path)? == inode(target)? {
            // Renaming one link of a file over another one would do nothing.
            return Ok(());
        }
        let link = |temp: &Path| std::fs::hard_link(path, temp);
        let temp = tempfile::Builder::new().make_in(&self.tmp, link)?;
        Ok(temp.into_temp_path().persist(target)?)
    }

    /// Copies inside the kernel where it can.
    fn copy(&self, mut source: File, expected: u64) -> Result<NamedTempFile, Error> {
        let mut temp = self.temp_file()?;
        let copied = io::copy(&mut source, temp.as_file_mut()).map_err(full_or_unavailable)?;
        if copied != expected {
            return Err(Error::Length {
                expected,
                found: copied,
            });
        }
        Ok(temp)
    }
}

/// Other file system, too many links, or a file system without links.
fn cannot_link(error: &io::Error) -> bool {
    let reasons = [
        Errno::XDEV,
        Errno::MLINK,
        Errno::PERM,
        Errno::ACCESS,
        Errno::OPNOTSUPP,
    ];
    Errno::from_io_error(error).is_some_and(|errno| reasons.contains(&errno))
}

fn full_or_unavailable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
        _ => Error::Unavailable(error.into()),
    }
}

fn open_object(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound,
        _ => Error::Unavailable(error.into()),
    })
}

/// Reads a range piece by piece on blocking threads.
fn read_pieces(file: Arc<File>, range: Range<u64>) -> ByteStream {
    stream::try_unfold(range, move |mut rest| {
        let file = file.clone();
        async move {
            let piece = usize::try_from(rest.end - rest.start)
                .unwrap_or(PIECE)
                .min(PIECE);
            if piece == 0 {
                return Ok(None);
            }
            let offset = rest.start;
            let read = tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; piece];
                file.read_exact_at(&mut buffer, offset)
                    .map(|()| Bytes::from(buffer))
            });
            let bytes = read.await.map_err(io::Error::other)??;
            rest.start += piece as u64;
            Ok(Some((bytes, rest)))
        }
    })
    .boxed()
}

/// Takes a share of the store. Whoever finds it unused may remove what is left in `tmp`.
fn lock_and_clean(tmp: &Path) -> io::Result<File> {
    let lock = File::options()
        .create(true)
        .append(true)
        .open(tmp.join(LOCK))?;
    match lock.try_lock() {
        Ok(()) => clean(tmp)?,
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Going from exclusive to shared may let another process clean in between; there is nothing
    // of ours to be cleaned before this function returns.
    lock.lock_shared()?;
    Ok(lock)
}

fn clean(tmp: &Path) -> io::Result<()> {
    let mut removed = 0_usize;
    for entry in std::fs::read_dir(tmp)? {
        let entry = entry?;
        if entry.file_name() != LOCK {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    if removed > 0 {
        tracing::info!(removed, dir = %tmp.display(), "removed unfinished objects");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_used_up_quota_are_full() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert!(matches!(full_or_unavailable(errno.into()), Error::Full));
        }
        assert!(matches!(
            full_or_unavailable(Errno::IO.into()),
            Error::Unavailable(_)
        ));
    }
}
