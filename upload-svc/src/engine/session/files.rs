//! The files of an upload: created when the first bytes come, taken up again after a restart.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    sync::Arc,
};

use cloudstore_backends::staging::{Layout, MODE};
use cloudstore_content::{
    GROUP_BYTES, GroupValue,
    tree::{self, group_len},
};
use rustix::fs::FallocateFlags;
use uuid::Uuid;

use super::{Facts, Session, to_index};
use crate::engine::sidecar::{self, ABSENT};

/// Bytes that stay free on the disk for what is no content, above all the database: without them
/// nothing could be deleted on a full disk. Twice what SQLite's log grows to between checkpoints.
const KEPT_FREE: u64 = 8 << 20;

/// The two files of an upload.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) data: Arc<File>,
    pub(crate) side: Arc<File>,
}

impl Session {
    /// Takes an upload up again from its files, on a blocking thread. Groups whose bytes do not
    /// have their value are forgotten, whatever damaged them.
    pub(crate) fn load(facts: Facts, layout: Layout) -> io::Result<Self> {
        let side_path = layout.side(facts.id);
        if !side_path.try_exists()? {
            // Without a sidecar nothing was acknowledged.
            layout.remove(facts.id)?;
            return Ok(Self::new(facts, layout));
        }
        let side = OpenOptions::new().read(true).write(true).open(side_path)?;
        let data_path = layout.data(facts.id);
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .clone();
        let data = options.open(data_path)?;
        data.set_len(facts.size)?;
        let mut values = sidecar::load(&side, facts.size)?;
        forget_damaged(&facts, &data, &side, &mut values)?;
        let files = Arc::new(Files {
            data: Arc::new(data),
            side: Arc::new(side),
        });
        Ok(Self::with(facts, layout, values, Some(files)))
    }
}

pub(super) fn create_files(layout: &Layout, id: Uuid, size: u64) -> io::Result<Files> {
    // The sidecar comes first: without one nothing was acknowledged.
    let side = sidecar::create(&layout.side(id), size)?;
    let data = create_data(layout, id, size)?;
    reserve(&data, 0..size)?;
    Ok(Files {
        data: Arc::new(data),
        side: Arc::new(side),
    })
}

/// Creates an empty data file, unless the disk has no room for so many bytes.
pub(crate) fn create_data(layout: &Layout, id: Uuid, size: u64) -> io::Result<File> {
    let data = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(layout.data(id))?;
    check_room(&data, size)?;
    Ok(data)
}

/// Sets room aside for a part of a file that is about to be written, and makes the file longer.
pub(crate) fn reserve(data: &File, part: std::ops::Range<u64>) -> io::Result<()> {
    if part.is_empty() {
        return Ok(());
    }
    let len = part.end - part.start;
    match rustix::fs::fallocate(data, FallocateFlags::empty(), part.start, len) {
        Err(rustix::io::Errno::OPNOTSUPP) => data.set_len(part.end),
        reserved => Ok(reserved?),
    }
}

/// Fails with `StorageFull` when the file system has no room for so many more bytes of content.
pub(crate) fn check_room(file: &File, len: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= len.saturating_add(KEPT_FREE) {
        return Ok(());
    }
    Err(io::ErrorKind::StorageFull.into())
}

fn forget_damaged(
    facts: &Facts,
    data: &File,
    side: &File,
    values: &mut [GroupValue],
) -> io::Result<()> {
    let mut buffer = vec![0; to_index(GROUP_BYTES)];
    for (index, value) in (0_u64..)
        .zip(values.iter_mut())
        .filter(|(_, value)| **value != ABSENT)
    {
        let group = &mut buffer[..to_index(group_len(facts.size, index))];
        data.read_exact_at(group, index * GROUP_BYTES)?;
        if tree::group_value(facts.size, index, group) != *value {
            tracing::warn!(upload = %facts.id, group = index, "forgetting a damaged group");
            *value = ABSENT;
            sidecar::write(side, index, &[ABSENT])?;
        }
    }
    Ok(())
}
