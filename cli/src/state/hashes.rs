//! Hashes of local files, so that resuming does not read everything again.
//!
//! The file is a sequence of fixed-size records, appended under a lock: a run that is killed loses
//! its last records, a torn record fails its check, and concurrent runs do not disturb each other.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs, io,
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cloudstore_content::{Root, tree::TreeHasher};

use super::{Stamp, has_changed};
use crate::credentials::{now_ms, private_file};

const FILE: &str = "hashes";
const LOCK: &str = "hashes.lock";
/// Key, root, check.
const RECORD: usize = KEY + 32 + CHECK;
const KEY: usize = 16;
const CHECK: usize = 8;
/// About 15 MiB of file and 30 MiB of memory; half of them go when it is full.
const MAX_RECORDS: usize = 1 << 18;
/// New records wait in memory until there are so many.
const WRITE_EVERY: usize = 1_024;
/// A file that was written so recently may be written again without a visible change of its
/// times, whose resolution is a clock tick: its hash is not remembered.
const SETTLED_AFTER_MS: i64 = 2_000;
/// One read of [`hash_file`].
const READ: usize = 256 << 10;

type Key = [u8; KEY];

/// The cache. Shared by all hashing threads.
pub(crate) struct HashCache {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    known: HashMap<Key, Root>,
    /// Records that are not in the file yet.
    unwritten: Vec<u8>,
}

impl HashCache {
    /// Reads what is remembered. A cache that cannot be read is empty.
    pub(crate) fn open(dir: &Path) -> Self {
        let known = load(dir).unwrap_or_default();
        Self {
            dir: dir.to_owned(),
            inner: Mutex::new(Inner {
                known,
                unwritten: Vec::new(),
            }),
        }
    }

    /// The root of a file's content: remembered, or read now. Blocks.
    ///
    /// # Errors
    /// What reading says, and [`io::ErrorKind::InvalidData`] when the file is not, or does not
    /// stay, as `stamp` says.
    pub(crate) fn root_of(&self, path: &Path, stamp: &Stamp) -> io::Result<Root> {
        let key = key(path, stamp);
        if let Some(root) = self.lock().known.get(&key) {
            return Ok(*root);
        }
        let file = fs::File::open(path)?;
        let root = hash_file(&file)?;
        if has_changed(&file, stamp)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is being changed",
            ));
        }
        if now_ms() - stamp.mtime_ms() > SETTLED_AFTER_MS {
            self.remember(key, root);
        }
        Ok(root)
    }

    /// A remembered root turned out to be wrong.
    pub(crate) fn forget(&self, path: &Path, stamp: &Stamp) {
        let key = key(path, stamp);
        if self.lock().known.remove(&key).is_some() {
            // An all-zero root is no root: it cancels the records before it.
            self.append(&record(&key, &[0; 32]));
        }
    }

    /// Writes what is still in memory. Errors only cost time later.
    pub(crate) fn flush(&self) {
        let records = std::mem::take(&mut self.lock().unwritten);
        if !records.is_empty() {
            self.append(&records);
        }
    }

    fn remember(&self, key: Key, root: Root) {
        let full = {
            let mut inner = self.lock();
            if inner.known.len() < MAX_RECORDS {
                inner.known.insert(key, root);
            }
            inner.unwritten.extend_from_slice(&record(&key, &root));
            inner.unwritten.len() >= WRITE_EVERY * RECORD
        };
        if full {
            self.flush();
        }
    }

    fn append(&self, records: &[u8]) {
        if let Err(error) = append(&self.dir, records) {
            tracing::debug!(%error, "cannot write the cache of file hashes");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HashCache {
    fn drop(&mut self) {
        self.flush();
    }
}

thread_local! {
    /// A new buffer for each of many thousands of files would leave holes of every size in the
    /// heaps of all hashing threads.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// The root of a whole file, read from where it stands. Blocks.
pub(crate) fn hash_file(mut file: &fs::File) -> io::Result<Root> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut hasher = TreeHasher::new();
        loop {
            match file.read(buffer) {
                Ok(0) => return Ok(*hasher.finish().root()),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    })
}

/// Names a state of a file in 16 bytes: enough for 2^18 records never to collide.
fn key(path: &Path, stamp: &Stamp) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&stamp.size.to_le_bytes());
    hasher.update(&stamp.mtime_ns.to_le_bytes());
    hasher.update(&stamp.ctime_ns.to_le_bytes());
    hasher.update(&stamp.inode.to_le_bytes());
    hasher.update(&stamp.device.to_le_bytes());
    hasher.update(path.as_os_str().as_bytes());
    let mut key = [0; KEY];
    hasher.finalize_xof().fill(&mut key);
    key
}

fn record(key: &Key, root: &Root) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..KEY].copy_from_slice(key);
    record[KEY..KEY + 32].copy_from_slice(root);
    let check = check(&record[..KEY + 32]);
    record[KEY + 32..].copy_from_slice(&check);
    record
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK]);
    check
}

/// `None` for a damaged record.
fn parse(record: &[u8]) -> Option<(Key, Root)> {
    let (body, stored) = record.split_at_checked(KEY + 32)?;
    if check(body) != stored {
        return None;
    }
    Some((body[..KEY].try_into().ok()?, body[KEY..].try_into().ok()?))
}

fn load(dir: &Path) -> io::Result<HashMap<Key, Root>> {
    let lock = private_file(&dir.join(LOCK))?;
    lock.lock()?;
    let mut bytes = match fs::read(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        read => read?,
    };
    if bytes.len() > MAX_RECORDS * RECORD {
        let first = bytes.len() / RECORD - MAX_RECORDS / 2;
        bytes.drain(..first * RECORD);
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&bytes)?;
        file.persist(dir.join(FILE))?;
    }
    let mut known = HashMap::with_capacity(bytes.len() / RECORD);
    for (key, root) in bytes.chunks_exact(RECORD).filter_map(parse) {
        if root == [0; 32] {
            known.remove(&key);
        } else {
            known.insert(key, root);
        }
    }
    Ok(known)
}

fn append(dir: &Path, records: &[u8]) -> io::Result<()> {
    let lock = private_file(&dir.join(LOCK))?;
    lock.lock()?;
    // Opened under the lock: another run may have replaced it.
    let mut file = private_file(&dir.join(FILE))?;
    let whole = file.metadata()?.len() / RECORD as u64 * RECORD as u64;
    // A torn record of a run that was killed would shift everything behind it.
    file.set_len(whole)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(whole))?;
    file.write_all(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(size: u64) -> Stamp {
        Stamp {
            size,
            mtime_ns: 1,
            ctime_ns: 2,
            inode: 3,
            device: 4,
        }
    }

    #[test]
    fn survives_a_torn_tail_and_a_damaged_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = Path::new("/some/file");
        let cache = HashCache::open(dir.path());
        for size in 0..3 {
            cache.remember(key(path, &stamp(size)), [7; 32]);
        }
        drop(cache);
        let file = dir.path().join(FILE);
        let mut bytes = fs::read(&file).unwrap();
        assert_eq!(bytes.len(), 3 * RECORD);
        bytes[RECORD + 20] ^= 1;
        bytes.extend_from_slice(b"torn");
        fs::write(&file, &bytes).unwrap();

        let cache = HashCache::open(dir.path());
        cache.remember(key(path, &stamp(9)), [8; 32]);
        drop(cache);
        let known = HashCache::open(dir.path()).lock().known.clone();
        assert_eq!(known.len(), 3, "two old ones and the new one");
        assert_eq!(known.get(&key(path, &stamp(9))), Some(&[8; 32]));
        assert_eq!(
            known.get(&key(path, &stamp(1))),
            None,
            "the damaged one is gone"
        );
    }

    #[test]
    fn forgetting_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let path = Path::new("/f");
        let cache = HashCache::open(dir.path());
        cache.remember(key(path, &stamp(1)), [7; 32]);
        cache.flush();
        cache.forget(path, &stamp(1));
        drop(cache);
        assert!(HashCache::open(dir.path()).lock().known.is_empty());
    }

    #[test]
    fn keeps_the_newest_half_when_full() {
        let dir = tempfile::tempdir().unwrap();
        let records = (0..=MAX_RECORDS as u64)
            .flat_map(|n| record(&key(Path::new("/f"), &stamp(n)), &[1; 32]))
            .collect::<Vec<_>>();
        append(dir.path(), &records).unwrap();
        let known = load(dir.path()).unwrap();
        assert_eq!(known.len(), MAX_RECORDS / 2);
        assert!(known.contains_key(&key(Path::new("/f"), &stamp(MAX_RECORDS as u64))));
        assert_eq!(load(dir.path()).unwrap().len(), MAX_RECORDS / 2);
    }

    #[test]
    fn a_file_is_hashed_once_and_noticed_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        fs::write(&path, b"hello").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(old).unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let cache = HashCache::open(dir.path());
        let root = cache.root_of(&path, &stamp).unwrap();
        assert_eq!(root, *blake3::hash(b"hello").as_bytes());
        assert_eq!(cache.lock().known.len(), 1);

        fs::write(&path, b"other").unwrap();
        file.set_modified(old).unwrap();
        let now = Stamp::of(&fs::metadata(&path).unwrap());
        assert_ne!(
            cache.root_of(&path, &now).unwrap(),
            root,
            "the status time gave it away"
        );
        fs::write(&path, b"longer than before").unwrap();
        let error = cache
            .root_of(
                Path::new(&path),
                &Stamp {
                    ctime_ns: 0,
                    ..stamp
                },
            )
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
