//! A file that is not complete yet: `.NAME.cloudstore-part` beside its final place, and for large
//! files `.NAME.cloudstore-part.json`, which says which pieces an earlier run has finished.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cloudstore_proto::http::File;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// What is fetched with one request: whole groups, enough of them to make the request's cost
/// vanish, few enough to lose little when a run ends.
pub(super) const PIECE: u64 = 8 << 20;
/// Files below this are one piece.
const PIECES_FROM: u64 = 2 * PIECE;
/// A sidecar lists at most every second piece of the largest file; larger ones are not ours.
const MAX_SIDECAR_BYTES: u64 = 16 << 20;
const SUFFIX: &str = ".cloudstore-part";
/// Longest file name of the usual file systems.
const MAX_NAME_BYTES: usize = 255;

/// A range of a file that is fetched as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// From 0.
    pub(super) index: u64,
    /// First byte.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: u64,
}

/// How a file of this size is cut.
pub(super) fn pieces(size: u64) -> impl Iterator<Item = Piece> {
    let (count, len) = if size < PIECES_FROM {
        (1, size)
    } else {
        (size.div_ceil(PIECE), PIECE)
    };
    (0..count).map(move |index| {
        let offset = index * len;
        Piece {
            index,
            offset,
            len: len.min(size - offset),
        }
    })
}

#[derive(Serialize, Deserialize)]
struct Sidecar {
    blake3: String,
    size: u64,
    piece: u64,
    /// Runs of finished pieces, first and last.
    done: Vec<[u64; 2]>,
}

/// An open partial file, locked against other downloads to the same place.
#[derive(Debug)]
pub(super) struct Part {
    file: Arc<fs::File>,
    path: PathBuf,
    sidecar: PathBuf,
    blake3: String,
    size: u64,
    replaces: bool,
    done: Mutex<BTreeSet<u64>>,
}

impl Part {
    /// Opens or creates the partial file of `local`. What an earlier run left counts only if it
    /// was about the same content. `replaces`: publishing may replace something. Blocks.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while another download to the same place is running.
    pub(super) fn open(local: &Path, remote: &File, replaces: bool) -> io::Result<Self> {
        let path = with_suffix(local, SUFFIX);
        let sidecar = with_suffix(local, &format!("{SUFFIX}.json"));
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)?;
        file.try_lock()?;
        let done = match earlier(&sidecar, remote) {
            Some(done) if file.metadata()?.len() == remote.size => done,
            _ => {
                file.set_len(0)?;
                BTreeSet::new()
            }
        };
        file.set_len(remote.size)
            .inspect_err(|_| drop(fs::remove_file(&path)))?;
        Ok(Self {
            file: Arc::new(file),
            path,
            sidecar,
            blake3: remote.blake3.clone(),
            size: remote.size,
            replaces,
            done: Mutex::new(done),
        })
    }

    /// The partial file's own path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For reading and writing at any place.
    pub(super) fn file(&self) -> &Arc<fs::File> {
        &self.file
    }

    /// Pieces that an earlier run has finished, if the disk kept them.
    pub(super) fn finished(&self) -> Vec<Piece> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        pieces(self.size)
            .filter(|piece| done.contains(&piece.index))
            .collect()
    }

    /// Forgets an earlier run's pieces. Blocks.
    pub(super) fn restart(&self) -> io::Result<()> {
        self.done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        remove_if_there(&self.sidecar)
    }

    /// Writes down that a piece is complete. Blocks.
    pub(super) fn finish_piece(&self, index: u64) -> io::Result<()> {
        if self.size < PIECES_FROM {
            return Ok(());
        }
        // Held while writing, so that the file never goes back to fewer pieces.
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.insert(index);
        let sidecar = Sidecar {
            blake3: self.blake3.clone(),
            size: self.size,
            piece: PIECE,
            done: runs(&done),
        };
        let dir = self.sidecar.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&serde_json::to_vec(&sidecar)?)?;
        file.persist(&self.sidecar)?;
        Ok(())
    }

    /// Gives the complete and flushed file its name. Blocks.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if something has appeared there that is not to be replaced.
    pub(super) fn publish(&self, local: &Path) -> io::Result<()> {
        if self.replaces {
            fs::rename(&self.path, local)?;
        } else {
            rename_to_nothing(&self.path, local)?;
        }
        if self.size < PIECES_FROM {
            Ok(())
        } else {
            remove_if_there(&self.sidecar)
        }
    }

    /// Removes everything. Blocks.
    pub(super) fn discard(&self) -> io::Result<()> {
        remove_if_there(&self.sidecar)?;
        remove_if_there(&self.path)
    }
}

/// Renames unless there is something already.
#[cfg(target_os = "linux")]
fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => look_and_rename(from, to),
        renamed => Ok(renamed?),
    }
}

/// Renames unless there is something already.
#[cfg(not(target_os = "linux"))]
fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    look_and_rename(from, to)
}

/// What appears between the look and the renaming is replaced.
fn look_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn earlier(sidecar: &Path, remote: &File) -> Option<BTreeSet<u64>> {
    if remote.size < PIECES_FROM || fs::metadata(sidecar).ok()?.len() > MAX_SIDECAR_BYTES {
        return None;
    }
    let read: Sidecar = serde_json::from_slice(&fs::read(sidecar).ok()?).ok()?;
    let count = remote.size.div_ceil(PIECE);
    let fits = read.blake3 == remote.blake3
        && (read.size, read.piece) == (remote.size, PIECE)
        && read
            .done
            .iter()
            .all(|&[first, last]| first <= last && last < count);
    fits.then(|| {
        read.done
            .iter()
            .flat_map(|&[first, last]| first..=last)
            .collect()
    })
}

fn runs(indices: &BTreeSet<u64>) -> Vec<[u64; 2]> {
    let mut runs: Vec<[u64; 2]> = Vec::new();
    for &index in indices {
        match runs.last_mut() {
            Some([_, last]) if *last + 1 == index => *last = index,
            _ => runs.push([index, index]),
        }
    }
    runs
}

/// `dir/.NAME.suffix`; a name that would become too long is replaced by its hash.
fn with_suffix(local: &Path, suffix: &str) -> PathBuf {
    let name = local.file_name().unwrap_or(OsStr::new("file"));
    let mut hidden = OsString::from(".");
    if name.len() + suffix.len() < MAX_NAME_BYTES {
        hidden.push(name);
    } else {
        hidden.push(&blake3::hash(name.as_bytes()).to_hex().as_str()[..32]);
    }
    hidden.push(suffix);
    local.with_file_name(hidden)
}

#[cfg(test)]
mod tests {
    use cloudstore_proto::http::FileState;

    use super::*;

    fn remote(size: u64, blake3: &str) -> File {
        File {
            id: String::new(),
            path: "/big".into(),
            size,
            blake3: blake3.into(),
            sha256: None,
            sha1: None,
            media_type: String::new(),
            created_at: String::new(),
            modified_at: String::new(),
            state: FileState::Stored,
            instant: false,
        }
    }

    #[test]
    fn pieces_cover_every_size() {
        for size in [
            0,
            1,
            PIECE,
            PIECES_FROM - 1,
            PIECES_FROM,
            PIECES_FROM + 1,
            10 * PIECE + 5,
        ] {
            let pieces = pieces(size).collect::<Vec<_>>();
            assert_eq!(pieces.iter().map(|piece| piece.len).sum::<u64>(), size);
            assert!(
                pieces
                    .windows(2)
                    .all(|pair| pair[0].offset + pair[0].len == pair[1].offset)
            );
        }
        assert_eq!(pieces(PIECES_FROM - 1).count(), 1);
    }

    #[test]
    fn finished_pieces_survive_for_the_same_content_only() {
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("big");
        let part = Part::open(&local, &remote(5 * PIECE, "aa"), false).unwrap();
        for index in [0, 1, 4] {
            part.finish_piece(index).unwrap();
        }
        let error = Part::open(&local, &remote(5 * PIECE, "aa"), false).unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::WouldBlock,
            "one download to a place at a time"
        );
        drop(part);

        let finished = |blake3: &str| {
            let part = Part::open(&local, &remote(5 * PIECE, blake3), false).unwrap();
            part.finished()
                .iter()
                .map(|piece| piece.index)
                .collect::<Vec<_>>()
        };
        assert_eq!(finished("aa"), [0, 1, 4]);
        assert_eq!(finished("bb"), [0; 0]);
    }

    #[test]
    fn publishing_leaves_only_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("n".repeat(250));
        let part = Part::open(&local, &remote(3 * PIECE, "aa"), false).unwrap();
        part.finish_piece(0).unwrap();
        part.publish(&local).unwrap();
        let names = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        assert_eq!(names.collect::<Vec<_>>(), [local]);
    }

    #[test]
    fn what_has_appeared_meanwhile_is_replaced_only_if_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("a");
        for replaces in [false, true] {
            let part = Part::open(&local, &remote(3, "aa"), replaces).unwrap();
            fs::write(&local, "mine").unwrap();
            let published = part.publish(&local).map_err(|error| error.kind());
            let refused = Err(io::ErrorKind::AlreadyExists);
            assert_eq!(published, if replaces { Ok(()) } else { refused });
            assert_eq!(fs::read(&local).unwrap() == b"mine", !replaces);
        }
        let part = dir.path().join("part");
        fs::write(&part, "").unwrap();
        assert!(look_and_rename(&part, &local).is_err());
        look_and_rename(&part, &dir.path().join("free")).unwrap();
    }
}
