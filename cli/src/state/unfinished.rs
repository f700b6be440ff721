//! Unfinished uploads: which local file goes on under which upload id, or at which URL. One small file for each,
//! replaced as a whole, so that concurrent runs need no lock.

use std::{
    collections::HashMap,
    fs, io,
    io::Write as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use cloudstore_proto::convert::parse_rfc3339;
use serde::{Deserialize, Serialize};

use super::Stamp;
use crate::credentials::{create_private_dir, now_ms};

const DIR: &str = "uploads";
/// More are not remembered; those files would start anew.
const MAX_UPLOADS: usize = 10_000;
/// A record is about 200 bytes, with a URL of the longest sort 9 KiB; anything much larger is not ours.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// Names an upload of one state of one local file to one place: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UploadKey(String);

impl UploadKey {
    /// `local` is absolute; `policy` is what was asked for in case of a name conflict.
    pub(crate) fn new(
        server: &str,
        account: &str,
        local: &Path,
        stamp: &Stamp,
        remote: &str,
        policy: &str,
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        let parts = [
            server.as_bytes(),
            account.as_bytes(),
            local.as_os_str().as_bytes(),
        ];
        for part in parts
            .into_iter()
            .chain([remote.as_bytes(), policy.as_bytes()])
        {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(&stamp.size.to_le_bytes());
        hasher.update(&stamp.mtime_ns.to_le_bytes());
        Self(hex::encode(&hasher.finalize().as_bytes()[..16]))
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    id: String,
    /// RFC 3339.
    expires_at: String,
    /// For people who look into the directory.
    remote: String,
}

/// All unfinished uploads of this user on this machine.
pub(crate) struct Unfinished {
    dir: PathBuf,
    known: Mutex<HashMap<UploadKey, String>>,
}

impl Unfinished {
    /// Reads them; drops those that the server has dropped by now.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let dir = state.join(DIR);
        create_private_dir(&dir)?;
        let mut known = HashMap::new();
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let Some(key) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.strip_suffix(".json"))
                .map(|name| UploadKey(name.to_owned()))
            else {
                continue;
            };
            match read(&entry) {
                Some(record) if !has_expired(&record) && known.len() < MAX_UPLOADS => {
                    known.insert(key, record.id);
                }
                // Expired, damaged, or one too many. A concurrent run may have removed it too.
                _ => drop(fs::remove_file(entry.path())),
            }
        }
        Ok(Self {
            dir,
            known: Mutex::new(known),
        })
    }

    /// The id of the upload to go on with.
    pub(crate) fn find(&self, key: &UploadKey) -> Option<String> {
        self.lock().get(key).cloned()
    }

    /// Remembers an upload; failing to do so only costs a later resume.
    pub(crate) fn put(&self, key: &UploadKey, id: &str, expires_at: &str, remote: &str) {
        {
            let mut known = self.lock();
            if known.len() >= MAX_UPLOADS {
                return;
            }
            known.insert(key.clone(), id.to_owned());
        }
        let record = Record {
            id: id.to_owned(),
            expires_at: expires_at.to_owned(),
            remote: remote.to_owned(),
        };
        if let Err(error) = self.write(key, &record) {
            tracing::debug!(%error, "cannot remember an unfinished upload");
        }
    }

    /// The upload is over.
    pub(crate) fn remove(&self, key: &UploadKey) {
        if self.lock().remove(key).is_some() {
            // It may be gone already.
            let _ = fs::remove_file(self.path(key));
        }
    }

    fn write(&self, key: &UploadKey, record: &Record) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.persist(self.path(key))?;
        Ok(())
    }

    fn path(&self, key: &UploadKey) -> PathBuf {
        self.dir.join(format!("{}.json", key.0))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<UploadKey, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(entry: &fs::DirEntry) -> Option<Record> {
    if entry.metadata().ok()?.len() > MAX_RECORD_BYTES {
        return None;
    }
    serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()
}

fn has_expired(record: &Record) -> bool {
    parse_rfc3339(&record.expires_at).is_none_or(|expires_at| expires_at < now_ms())
}

#[cfg(test)]
mod tests {
    use cloudstore_proto::convert::rfc3339;

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

    fn key(size: u64, remote: &str) -> UploadKey {
        UploadKey::new(
            "http://s/",
            "account",
            Path::new("/f"),
            &stamp(size),
            remote,
            "fail",
        )
    }

    #[test]
    fn remembered_across_runs_until_finished_or_expired() {
        let dir = tempfile::tempdir().unwrap();
        let later = rfc3339(now_ms() + 60_000);
        let run = Unfinished::open(dir.path()).unwrap();
        run.put(&key(1, "/a"), "id-1", &later, "/a");
        run.put(&key(2, "/a"), "id-2", &later, "/a");
        run.put(&key(3, "/a"), "id-3", &rfc3339(now_ms() - 1), "/a");
        run.remove(&key(2, "/a"));

        let next = Unfinished::open(dir.path()).unwrap();
        assert_eq!(next.find(&key(1, "/a")).as_deref(), Some("id-1"));
        assert_eq!(next.find(&key(2, "/a")), None, "finished");
        assert_eq!(next.find(&key(3, "/a")), None, "expired");
        assert_eq!(next.find(&key(1, "/b")), None, "another place");
        assert_eq!(fs::read_dir(dir.path().join(DIR)).unwrap().count(), 1);
    }

    #[test]
    fn damaged_records_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        Unfinished::open(dir.path()).unwrap();
        fs::write(dir.path().join(DIR).join("00.json"), "{").unwrap();
        Unfinished::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path().join(DIR)).unwrap().count(), 0);
    }
}
