//! The sidecar file of an upload: which groups are kept, and their values.
//!
//! A group counts as kept when its value is not all zeros. Nothing else has to be recorded:
//! a value that a crash tore does not match its bytes, and the group is asked for again. When the
//! last value is in place the file already is the blob's outboard
//! (see `cloudstore_backends::staging` for the layout).
//!
//! Bytes that came in order and do not fill their group yet are kept by the *tail record* in the
//! header. It names their end and their hash, so that a torn or outdated record is recognised by
//! the bytes it speaks of. Of a finished copy it means nothing.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use cloudstore_backends::staging::{HEADER_MAGIC, MODE, TAIL_AT, VALUE_BYTES, VALUES_AT};
use cloudstore_content::{GROUP_BYTES, GroupValue, tree::GroupHasher, tree::group_count};

/// Value of a group that is not kept. BLAKE3 yields it with probability 2^-256.
pub(crate) const ABSENT: GroupValue = [0; 32];
/// In the place of the length while nobody has told it.
const UNKNOWN: u64 = u64::MAX;
/// Bytes of the tail record: where the kept bytes end, and the hash of those in their group.
const TAIL_BYTES: usize = 40;

/// The tail record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Bytes from the start of the content.
    pub(crate) end: u64,
    /// [`GroupHasher::value`] of the bytes between the start of the group and `end`.
    pub(crate) hash: GroupValue,
}

impl Tail {
    /// Of the beginning of a group.
    pub(crate) fn of(hasher: &GroupHasher) -> Self {
        Self {
            end: hasher.index() * GROUP_BYTES + hasher.len(),
            hash: hasher.value(),
        }
    }
}

/// What a sidecar says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) values: Vec<GroupValue>,
    pub(crate) tail: Option<Tail>,
    /// The values were written before the length was told.
    pub(crate) unsettled: bool,
}

fn header(size: Option<u64>) -> [u8; 16] {
    let mut header = [0; 16];
    header[..8].copy_from_slice(HEADER_MAGIC);
    header[8..].copy_from_slice(&size.unwrap_or(UNKNOWN).to_le_bytes());
    header
}

/// Bytes of the file; one without a length grows with its values.
fn whole(size: Option<u64>) -> u64 {
    VALUES_AT + size.map_or(0, group_count) * VALUE_BYTES
}

/// Creates the sidecar of an upload with no group kept.
pub(crate) fn create(path: &Path, size: Option<u64>) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    file.set_len(whole(size))?;
    file.write_all_at(&header(size), 0)?;
    Ok(file)
}

/// Creates the finished sidecar of content whose values are all known.
pub(crate) fn create_full(path: &Path, size: u64, values: &[GroupValue]) -> io::Result<File> {
    let file = create(path, Some(size))?;
    write(&file, 0, values)?;
    Ok(file)
}

/// Records consecutive groups.
pub(crate) fn write(file: &File, first_group: u64, values: &[GroupValue]) -> io::Result<()> {
    file.write_all_at(values.as_flattened(), VALUES_AT + first_group * VALUE_BYTES)
}

/// Records where the bytes that came in order end inside a group; `None`: not inside a group.
pub(crate) fn write_tail(file: &File, tail: Option<&Tail>) -> io::Result<()> {
    let mut record = [0; TAIL_BYTES];
    if let Some(tail) = tail {
        record[..8].copy_from_slice(&tail.end.to_le_bytes());
        record[8..].copy_from_slice(&tail.hash);
    }
    file.write_all_at(&record, TAIL_AT)
}

/// Writes the whole file anew, after the length was told. The header comes last: until then the
/// file is one without a length, which is understood as well.
pub(crate) fn settle(
    file: &File,
    size: u64,
    values: &[GroupValue],
    tail: Option<&Tail>,
) -> io::Result<()> {
    file.set_len(whole(Some(size)))?;
    write(file, 0, values)?;
    write_tail(file, tail)?;
    file.write_all_at(&header(Some(size)), 0)
}

/// Reads everything. A damaged or foreign header, or a file of the wrong length, counts as
/// "nothing kept": the file is brought back to a state that new bytes can build on. The file of an
/// upload whose length was told may still be one without a length.
pub(crate) fn load(file: &File, size: Option<u64>) -> io::Result<Loaded> {
    let mut found = [0; 16];
    let len = file.metadata()?.len();
    let readable = len >= VALUES_AT && file.read_exact_at(&mut found, 0).is_ok();
    let unsettled = readable && found == header(None);
    let settled = readable && !unsettled && found == header(size) && len == whole(size);
    if !unsettled && !settled {
        file.set_len(0)?;
        file.set_len(whole(size))?;
        file.write_all_at(&header(size), 0)?;
    }
    let there = (file.metadata()?.len() - VALUES_AT) / VALUE_BYTES;
    let count = usize::try_from(size.map_or(there, |size| there.min(group_count(size))));
    let mut values = vec![ABSENT; count.map_err(io::Error::other)?];
    file.read_exact_at(values.as_flattened_mut(), VALUES_AT)?;
    if let Some(size) = size {
        let count = usize::try_from(group_count(size)).map_err(io::Error::other)?;
        values.resize(count, ABSENT);
    }
    Ok(Loaded {
        values,
        tail: read_tail(file)?,
        unsettled: unsettled && size.is_some(),
    })
}

fn read_tail(file: &File) -> io::Result<Option<Tail>> {
    let mut record = [0; TAIL_BYTES];
    file.read_exact_at(&mut record, TAIL_AT)?;
    let (end, hash) = record.split_at(8);
    let end = u64::from_le_bytes(end.try_into().map_err(io::Error::other)?);
    let hash = hash.try_into().map_err(io::Error::other)?;
    Ok((end % GROUP_BYTES != 0).then_some(Tail { end, hash }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(file: &File, size: Option<u64>) -> Vec<GroupValue> {
        load(file, size).unwrap().values
    }

    #[test]
    fn values_survive_and_damage_means_nothing_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.side");
        let size = 3 << 20;
        let file = create(&path, Some(size)).unwrap();
        write(&file, 1, &[[7; 32]]).unwrap();
        assert_eq!(values(&file, Some(size)), [ABSENT, [7; 32], ABSENT]);
        let other = values(&file, Some(size + (1 << 20)));
        assert_eq!(other, [ABSENT; 4], "another size");
        write(&file, 0, &[[9; 32]]).unwrap();
        file.write_all_at(b"garbage!", 0).unwrap();
        assert_eq!(values(&file, Some(4 << 20)), [ABSENT; 4], "another header");
        file.set_len(100).unwrap();
        assert_eq!(values(&file, Some(4 << 20)), [ABSENT; 4], "cut off");
        write(&file, 3, &[[5; 32]]).unwrap();
        let repaired = values(&file, Some(4 << 20))[3];
        assert_eq!(repaired, [5; 32], "usable after the repair");
    }

    #[test]
    fn a_tail_is_found_again_and_so_is_what_came_before_the_length() {
        let dir = tempfile::tempdir().unwrap();
        let file = create(&dir.path().join("x.side"), None).unwrap();
        assert!(values(&file, None).is_empty());
        write(&file, 0, &[[1; 32], [2; 32]]).unwrap();
        let tail = Tail {
            end: (2 << 20) + 5,
            hash: [3; 32],
        };
        write_tail(&file, Some(&tail)).unwrap();
        let loaded = load(&file, None).unwrap();
        assert_eq!(loaded.values, [[1; 32], [2; 32]]);
        assert_eq!((loaded.tail, loaded.unsettled), (Some(tail), false));
        let told = load(&file, Some(4 << 20)).unwrap();
        assert_eq!(told.values, [[1; 32], [2; 32], ABSENT, ABSENT]);
        assert_eq!((told.tail, told.unsettled), (Some(tail), true));
        settle(&file, 4 << 20, &told.values, None).unwrap();
        let settled = load(&file, Some(4 << 20)).unwrap();
        assert_eq!(settled.values, told.values);
        assert_eq!((settled.tail, settled.unsettled), (None, false));
    }
}
