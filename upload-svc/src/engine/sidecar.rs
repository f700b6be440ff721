//! The sidecar file of an upload: which groups are kept, and their values.
//!
//! A group counts as kept when its value is not all zeros. Nothing else has to be recorded:
//! a value that a crash tore does not match its bytes, and the group is asked for again. When the
//! last value is in place the file already is the blob's outboard
//! (see `cloudstore_backends::staging` for the layout).

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use cloudstore_backends::staging::{HEADER_MAGIC, MODE, VALUE_BYTES, VALUES_AT};
use cloudstore_content::{GroupValue, tree::group_count};

/// Value of a group that is not kept. BLAKE3 yields it with probability 2^-256.
pub(crate) const ABSENT: GroupValue = [0; 32];

fn header(size: u64) -> [u8; 64] {
    let mut header = [0; 64];
    header[..8].copy_from_slice(HEADER_MAGIC);
    header[8..16].copy_from_slice(&size.to_le_bytes());
    header
}

/// Creates the sidecar of an upload of `size` bytes with no group kept.
pub(crate) fn create(path: &Path, size: u64) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    file.set_len(VALUES_AT + group_count(size) * VALUE_BYTES)?;
    file.write_all_at(&header(size), 0)?;
    Ok(file)
}

/// Creates the finished sidecar of content whose values are all known.
pub(crate) fn create_full(path: &Path, size: u64, values: &[GroupValue]) -> io::Result<File> {
    let file = create(path, size)?;
    write(&file, 0, values)?;
    Ok(file)
}

/// Records consecutive groups.
pub(crate) fn write(file: &File, first_group: u64, values: &[GroupValue]) -> io::Result<()> {
    file.write_all_at(values.as_flattened(), VALUES_AT + first_group * VALUE_BYTES)
}

/// Reads every value. A damaged or foreign header, or a file of the wrong length, counts as
/// "nothing kept": the values are brought back to a state that new chunks can build on.
pub(crate) fn load(file: &File, size: u64) -> io::Result<Vec<GroupValue>> {
    let count = usize::try_from(group_count(size)).map_err(io::Error::other)?;
    let mut values = vec![ABSENT; count];
    let mut found = [0; 64];
    let whole = VALUES_AT + group_count(size) * VALUE_BYTES;
    let intact = file.metadata()?.len() == whole
        && file.read_exact_at(&mut found, 0).is_ok()
        && found == header(size);
    if intact {
        file.read_exact_at(values.as_flattened_mut(), VALUES_AT)?;
    } else {
        file.set_len(0)?;
        file.set_len(whole)?;
        file.write_all_at(&header(size), 0)?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_and_damage_means_nothing_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.side");
        let size = 3 << 20;
        let file = create(&path, size).unwrap();
        write(&file, 1, &[[7; 32]]).unwrap();
        assert_eq!(load(&file, size).unwrap(), [ABSENT, [7; 32], ABSENT]);
        assert_eq!(
            load(&file, size + (1 << 20)).unwrap(),
            [ABSENT; 4],
            "another size"
        );
        write(&file, 0, &[[9; 32]]).unwrap();
        file.write_all_at(b"garbage!", 0).unwrap();
        assert_eq!(load(&file, 4 << 20).unwrap(), [ABSENT; 4], "another header");
        file.set_len(100).unwrap();
        assert_eq!(load(&file, 4 << 20).unwrap(), [ABSENT; 4], "cut off");
        write(&file, 3, &[[5; 32]]).unwrap();
        assert_eq!(
            load(&file, 4 << 20).unwrap()[3],
            [5; 32],
            "usable after the repair"
        );
    }
}
