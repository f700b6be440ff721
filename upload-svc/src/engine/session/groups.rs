//! Bytes on their way into the groups of an upload. What is kept already is compared, never
//! overwritten: nobody may change acknowledged bytes, not even with a request that fails later.

use std::{io, os::unix::fs::FileExt as _, sync::Arc};

use cloudstore_content::{GROUP_BYTES, GroupValue, tree::GroupHasher};

use super::{Session, files::Files, to_index};
use crate::engine::sidecar::ABSENT;

/// Other bytes are kept where these belong.
#[derive(Debug, thiserror::Error)]
#[error("other bytes are kept here")]
pub(crate) struct Conflict;

fn conflict() -> io::Error {
    io::Error::other(Conflict)
}

/// What is there of a group before it is written.
#[derive(Debug)]
enum Kept {
    Nothing,
    Whole(GroupValue),
    /// Its beginning, as far as this has hashed it.
    Beginning(Box<GroupHasher>),
}

/// Writes bytes in order. Whoever has it is the only one who writes there.
#[derive(Debug)]
pub(super) struct GroupWriter {
    files: Arc<Files>,
    /// Of the content; a group that ends there is complete.
    size: Option<u64>,
    offset: u64,
    hasher: GroupHasher,
    kept: Kept,
}

impl GroupWriter {
    /// From the start of a group on.
    pub(super) fn at_group(session: &Session, files: Arc<Files>, group: u64) -> Self {
        let mut writer = Self {
            files,
            size: session.facts().size,
            offset: group * GROUP_BYTES,
            hasher: GroupHasher::new(group),
            kept: Kept::Nothing,
        };
        writer.look(session);
        writer
    }

    /// From the end of what is kept without a gap on.
    pub(super) fn at_end(session: &Session, files: Arc<Files>) -> Self {
        let offset = session.contiguous();
        let group = offset / GROUP_BYTES;
        let map = session.map();
        let tail = map.tail.as_ref().filter(|tail| tail.index() == group);
        let hasher = tail.cloned();
        drop(map);
        Self {
            files,
            size: session.facts().size,
            offset,
            hasher: hasher.unwrap_or_else(|| GroupHasher::new(group)),
            kept: Kept::Nothing,
        }
    }

    /// Nobody has said how long the content is.
    pub(super) fn is_sizeless(&self) -> bool {
        self.size.is_none()
    }

    /// Where the next byte goes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The group that was begun and is not complete, unless it is kept anyway.
    pub(super) fn open_group(&self) -> Option<&GroupHasher> {
        let new = matches!(self.kept, Kept::Nothing) && !self.hasher.is_empty();
        new.then_some(&self.hasher)
    }

    fn look(&mut self, session: &Session) {
        let map = session.map();
        let index = self.hasher.index();
        let value = map.values.get(to_index(index)).copied();
        let tail = map.tail.as_ref().filter(|tail| tail.index() == index);
        self.kept = match (value.unwrap_or(ABSENT), tail) {
            (ABSENT, None) => Kept::Nothing,
            (ABSENT, Some(tail)) => Kept::Beginning(Box::new(tail.clone())),
            (value, _) => Kept::Whole(value),
        };
    }

    /// Takes the next bytes. `done` gets every group that they complete.
    pub(super) fn write(
        &mut self,
        session: &Session,
        mut bytes: &[u8],
        mut done: impl FnMut(u64, GroupValue) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = match &self.kept {
                Kept::Beginning(kept) => kept.len() - self.hasher.len(),
                _ => self.hasher.room(),
            };
            let (now, later) = bytes.split_at(to_index(room).min(bytes.len()));
            if matches!(self.kept, Kept::Nothing) {
                self.files.data.write_all_at(now, self.offset)?;
            }
            self.took(session, now, &mut done)?;
            bytes = later;
        }
        Ok(())
    }

    /// Goes on with bytes that are in their place already.
    pub(super) fn took(
        &mut self,
        session: &Session,
        bytes: &[u8],
        done: &mut impl FnMut(u64, GroupValue) -> io::Result<()>,
    ) -> io::Result<()> {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        if let Kept::Beginning(kept) = &self.kept
            && kept.len() == self.hasher.len()
        {
            if kept.value() != self.hasher.value() {
                return Err(conflict());
            }
            self.kept = Kept::Nothing;
        }
        if self.hasher.room() == 0 || Some(self.offset) == self.size {
            let value = match self.size {
                Some(size) => self.hasher.finish(size),
                None => self.hasher.value(),
            };
            if let Kept::Whole(kept) = self.kept
                && kept != value
            {
                return Err(conflict());
            }
            done(self.hasher.index(), value)?;
            self.hasher = GroupHasher::new(self.hasher.index() + 1);
            self.look(session);
        }
        Ok(())
    }

    /// Bytes up to the end of the group, or of what is kept of it: what [`GroupWriter::took`] takes
    /// at a time.
    pub(super) fn room(&self) -> u64 {
        match &self.kept {
            Kept::Beginning(kept) => kept.len() - self.hasher.len(),
            _ => self.hasher.room(),
        }
    }

    /// May the next bytes be put in their place? Otherwise they are only compared.
    pub(super) fn is_free(&self) -> bool {
        matches!(self.kept, Kept::Nothing)
    }

    /// Has the beginning of this group been kept before, further than this has come?
    pub(super) fn is_inside_beginning(&self) -> bool {
        matches!(self.kept, Kept::Beginning(_))
    }

    /// Compares what ends inside a group that is kept, or inside its beginning.
    pub(super) fn check_rest(&self) -> io::Result<()> {
        if self.is_free() || self.hasher.is_empty() {
            return Ok(());
        }
        let mut kept = vec![0; to_index(self.hasher.len())];
        let start = self.hasher.index() * GROUP_BYTES;
        self.files.data.read_exact_at(&mut kept, start)?;
        let mut hasher = GroupHasher::new(self.hasher.index());
        hasher.update(&kept);
        if hasher.value() == self.hasher.value() {
            return Ok(());
        }
        Err(conflict())
    }
}
