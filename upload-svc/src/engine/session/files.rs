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
    tree::{GroupHasher, group_count, group_len},
};
use rustix::fs::FallocateFlags;
use uuid::Uuid;

use super::{Facts, Session, to_index};
use crate::engine::sidecar::{self, ABSENT, Loaded, Tail};

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
        let loaded = sidecar::load(&side, facts.size)?;
        if let Some(size) = facts.size {
            data.set_len(size)?;
        }
        let (values, tail) = verify(&facts, &data, &side, loaded)?;
        let files = Arc::new(Files {
            data: Arc::new(data),
            side: Arc::new(side),
        });
        Ok(Self::with(facts, layout, values, tail, Some(files)))
    }
}

pub(super) fn create_files(layout: &Layout, id: Uuid, size: Option<u64>) -> io::Result<Files> {
    // The sidecar comes first: without one nothing was acknowledged.
    let side = sidecar::create(&layout.side(id), size)?;
    let data = create_data(layout, id, size.unwrap_or(0))?;
    reserve(&data, 0..size.unwrap_or(0))?;
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

/// Forgets what the bytes do not bear out, and brings what was written before the length was told
/// into the form that it has afterwards.
fn verify(
    facts: &Facts,
    data: &File,
    side: &File,
    loaded: Loaded,
) -> io::Result<(Vec<GroupValue>, Option<GroupHasher>)> {
    let Loaded {
        mut values,
        tail,
        unsettled,
    } = loaded;
    // Without a length a group has the value that it has as one of several.
    let size = facts.size.filter(|_| !unsettled);
    let mut buffer = vec![0; to_index(GROUP_BYTES)];
    for (index, value) in (0_u64..)
        .zip(values.iter_mut())
        .filter(|(_, value)| **value != ABSENT)
    {
        let len = to_index(group_len(size.unwrap_or(u64::MAX), index));
        let found = hash(data, index, &mut buffer[..len])?;
        let intact = found.is_some_and(|found| match size {
            Some(size) => found.finish(size) == *value,
            None => found.value() == *value,
        });
        if !intact {
            tracing::warn!(upload = %facts.id, group = index, "forgetting a damaged group");
            *value = ABSENT;
            sidecar::write(side, index, &[ABSENT])?;
        }
    }
    let mut tail = match tail {
        Some(tail) => verify_tail(data, tail, &values, &mut buffer)?,
        None => None,
    };
    if let Some(size) = facts.size.filter(|_| unsettled) {
        settle(data, size, &mut values, &mut tail)?;
        sidecar::settle(side, size, &values, tail.as_ref().map(Tail::of).as_ref())?;
    }
    Ok((values, tail))
}

/// The beginning of a group, if it is kept and the group is not.
fn verify_tail(
    data: &File,
    tail: Tail,
    values: &[GroupValue],
    buffer: &mut [u8],
) -> io::Result<Option<GroupHasher>> {
    let index = tail.end / GROUP_BYTES;
    let kept = usize::try_from(index)
        .ok()
        .and_then(|index| values.get(index));
    if kept.is_some_and(|value| *value != ABSENT) {
        return Ok(None);
    }
    let found = hash(data, index, &mut buffer[..to_index(tail.end % GROUP_BYTES)])?;
    Ok(found.filter(|found| found.value() == tail.hash))
}

/// Hashes the first bytes of a group; `None` when the file ends before.
fn hash(data: &File, index: u64, buffer: &mut [u8]) -> io::Result<Option<GroupHasher>> {
    // What a damaged record names may lie beyond any file.
    let Some(start) = index.checked_mul(GROUP_BYTES) else {
        return Ok(None);
    };
    match data.read_exact_at(buffer, start) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut hasher = GroupHasher::new(index);
    hasher.update(buffer);
    Ok(Some(hasher))
}

/// The values that groups have now that the length is known.
pub(super) fn settle(
    data: &File,
    size: u64,
    values: &mut Vec<GroupValue>,
    tail: &mut Option<GroupHasher>,
) -> io::Result<()> {
    values.resize(to_index(group_count(size)), ABSENT);
    if values.len() == 1 && values[0] != ABSENT {
        // The only group's value is the root, which nobody could know before.
        let mut buffer = vec![0; to_index(group_len(size, 0))];
        let found = hash(data, 0, &mut buffer)?;
        values[0] = found.map_or(ABSENT, |found| found.finish(size));
    }
    let ends = |tail: &GroupHasher| tail.len() == group_len(size, tail.index());
    if let Some(last) = tail.take_if(|tail| ends(tail)) {
        values[to_index(last.index())] = last.finish(size);
    }
    Ok(())
}
