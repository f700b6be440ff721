//! What goes into an archive, one page of a folder after the other.

use std::{sync::Arc, vec};

use cloudstore_proto::{
    file::{Entry, EntryKind},
    path,
};
use cloudstore_service::{Kind, Problem, Result};

use super::{
    format::{Full, MAX_DIRECTORY_BYTES},
    name,
    source::Source,
};
use crate::catalog::Page;

/// Entries of a page. With the longest paths it has 1 MiB.
const PAGE: u32 = 250;
/// Bytes of the folders that are still to be looked into. As many as the directory has: a record in it
/// is longer than what is kept of the same folder here, so the directory of an archive whose entries
/// stay where they are is full before.
const MAX_PENDING_BYTES: usize = MAX_DIRECTORY_BYTES;

/// Entries in the order in which they are sent: those of a folder, then what is in its folders.
///
/// Of the folders that are still to be looked into the paths are kept, [`MAX_PENDING_BYTES`] of them, and
/// what is above the archive only once for each entry that was asked for.
pub(super) struct Walk {
    source: Source,
    /// Path of the root folder in the archive; empty: what is in it stands there by itself.
    root: String,
    /// What was asked for and has not been told yet.
    tops: vec::IntoIter<Entry>,
    page: vec::IntoIter<Entry>,
    /// The folder of the page and where its next one begins; no cursor: nowhere.
    folder: Option<(Folder, String)>,
    folders: Pending,
}

/// A folder: the whole path is both together.
#[derive(Clone, Debug)]
struct Folder {
    /// What does not count in the archive: the folder of what was asked for.
    above: Arc<str>,
    inside: Box<str>,
}

impl Folder {
    fn path(&self) -> String {
        format!("{}{}", self.above, self.inside)
    }

    /// In memory, without what is shared.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.inside.len()
    }
}

/// Folders whose turn comes, the last one first.
#[derive(Debug, Default)]
struct Pending {
    folders: Vec<Folder>,
    bytes: usize,
}

impl Pending {
    fn push(&mut self, folder: Folder) -> std::result::Result<(), Full> {
        let bytes = self.bytes + folder.bytes();
        if bytes > MAX_PENDING_BYTES {
            return Err(Full);
        }
        self.bytes = bytes;
        self.folders.push(folder);
        Ok(())
    }

    fn pop(&mut self) -> Option<Folder> {
        let folder = self.folders.pop()?;
        self.bytes -= folder.bytes();
        Some(folder)
    }
}

impl Walk {
    pub(super) fn new(source: Source, tops: Vec<Entry>, root: &str) -> Self {
        let root = match root {
            "" => String::new(),
            name => format!("/{name}"),
        };
        Self {
            source,
            root,
            tops: tops.into_iter(),
            page: Vec::new().into_iter(),
            folder: None,
            folders: Pending::default(),
        }
    }

    /// The next entry, with its name in the archive.
    ///
    /// A folder that is deleted or moved before its turn is empty.
    ///
    /// # Errors
    /// Those of listing a folder, `limit-reached`. What was told until then is not everything.
    pub(super) async fn next(&mut self) -> Result<Option<(Entry, String)>> {
        loop {
            if let Some(entry) = self.page.next() {
                let folder = self.folder.as_ref();
                let above = folder.map_or_else(|| "".into(), |(folder, _)| folder.above.clone());
                return self.tell(entry, &above).map(Some);
            }
            match self.next_folder() {
                Some((folder, cursor)) => self.turn(folder, cursor).await?,
                None => match self.tops.next() {
                    // Its name is in front of what is in it.
                    Some(root) if root.path == "/" && root.kind() == EntryKind::Folder => {
                        self.folders.push(Folder {
                            above: "".into(),
                            inside: root.path.into(),
                        })?;
                    }
                    Some(top) => {
                        let above = path::parent(&top.path).into();
                        return self.tell(top, &above).map(Some);
                    }
                    None => return Ok(None),
                },
            }
        }
    }

    /// The rest of the present folder, or another one.
    fn next_folder(&mut self) -> Option<(Folder, String)> {
        let present = self.folder.take().filter(|(_, cursor)| !cursor.is_empty());
        present.or_else(|| Some((self.folders.pop()?, String::new())))
    }

    async fn turn(&mut self, folder: Folder, cursor: String) -> Result<()> {
        let page = Page {
            cursor,
            limit: PAGE,
            ..Page::default()
        };
        match self.source.list(&folder.path(), page).await {
            Ok(listed) => {
                self.page = listed.entries.into_iter();
                self.folder = Some((folder, listed.next_cursor));
                Ok(())
            }
            Err(problem) if matches!(problem.kind(), Kind::NotFound | Kind::NotAFolder) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    fn tell(&mut self, entry: Entry, above: &Arc<str>) -> Result<(Entry, String)> {
        let is_folder = entry.kind() == EntryKind::Folder;
        let inside = entry.path.strip_prefix(&**above);
        let inside = inside.ok_or_else(|| Problem::internal("an entry outside of its folder"))?;
        // What is in the root folder has nothing above it.
        let name = match &**above {
            "" => name::inside(&format!("{}{inside}", self.root), is_folder),
            _ => name::inside(inside, is_folder),
        };
        if is_folder {
            self.folders.push(Folder {
                above: above.clone(),
                inside: inside.into(),
            })?;
        }
        Ok((entry, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a record in the directory beside the name (`format.rs`), without extra fields.
    const RECORD: usize = 46;

    #[test]
    fn what_is_pending_is_bounded_and_shorter_than_its_record() {
        // The deepest top there is costs nothing for each folder below it.
        let above: Arc<str> = "/d".repeat(2_000).into();
        let folder = |n: usize| Folder {
            above: above.clone(),
            inside: format!("/{n:08}").into(),
        };
        let mut pending = Pending::default();
        let mut count = 0;
        while pending.push(folder(count)).is_ok() {
            count += 1;
        }
        let each = folder(0).bytes();
        assert!(each <= RECORD + "00000000/".len(), "{each}");
        assert_eq!(count, MAX_PENDING_BYTES / each);
        assert_eq!(
            pending.pop().unwrap().path(),
            format!("{above}/{:08}", count - 1)
        );
        pending.push(folder(0)).unwrap();
        assert!(pending.push(folder(0)).is_err());
        while pending.pop().is_some() {}
        assert_eq!(pending.bytes, 0);
    }
}
