//! What goes into an archive, one page of a folder after the other.

use std::vec;

use cloudstore_proto::{
    file::{Entry, EntryKind},
    path,
};
use cloudstore_service::{Kind, Problem, Result};
use uuid::Uuid;

use super::name;
use crate::catalog::{Catalog, Page};

/// Entries of a page. With the longest paths it has 1 MiB.
const PAGE: u32 = 250;

/// Entries in the order in which they are sent: those of a folder, then what is in its folders.
///
/// Of the folders that are still to be looked into the paths are kept. Each has been told before, so
/// there are never more than entries in the archive.
pub(super) struct Walk {
    catalog: Catalog,
    owner: Uuid,
    /// What was asked for and has not been told yet.
    tops: vec::IntoIter<Entry>,
    page: vec::IntoIter<Entry>,
    /// The folder of the page and where its next one begins; no cursor: nowhere.
    folder: Option<(Folder, String)>,
    folders: Vec<Folder>,
}

#[derive(Clone, Debug)]
struct Folder {
    path: String,
    /// Bytes of paths below it that do not count in the archive.
    above: usize,
}

impl Walk {
    pub(super) fn new(catalog: Catalog, owner: Uuid, tops: Vec<Entry>) -> Self {
        Self {
            catalog,
            owner,
            tops: tops.into_iter(),
            page: Vec::new().into_iter(),
            folder: None,
            folders: Vec::new(),
        }
    }

    /// The next entry, with its name in the archive.
    ///
    /// A folder that is deleted or moved before its turn is empty.
    ///
    /// # Errors
    /// Those of listing a folder. What was told until then is not everything.
    pub(super) async fn next(&mut self) -> Result<Option<(Entry, String)>> {
        loop {
            if let Some(entry) = self.page.next() {
                let above = self.folder.as_ref().map_or(0, |(folder, _)| folder.above);
                return self.tell(entry, above).map(Some);
            }
            match self.next_folder() {
                Some((folder, cursor)) => self.turn(folder, cursor).await?,
                None => match self.tops.next() {
                    // It has no name.
                    Some(root) if root.path == "/" => self.folders.push(Folder {
                        path: root.path,
                        above: 0,
                    }),
                    Some(top) => {
                        let above = path::parent(&top.path).len();
                        return self.tell(top, above).map(Some);
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
        match self.catalog.list(self.owner, &folder.path, page).await {
            Ok(listed) => {
                self.page = listed.entries.into_iter();
                self.folder = Some((folder, listed.next_cursor));
                Ok(())
            }
            Err(problem) if matches!(problem.kind(), Kind::NotFound | Kind::NotAFolder) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    fn tell(&mut self, entry: Entry, above: usize) -> Result<(Entry, String)> {
        let is_folder = entry.kind() == EntryKind::Folder;
        let inside = entry.path.get(above..);
        let inside = inside.ok_or_else(|| Problem::internal("an entry outside of its folder"))?;
        let name = name::inside(inside, is_folder);
        if is_folder {
            self.folders.push(Folder {
                path: entry.path.clone(),
                above,
            });
        }
        Ok((entry, name))
    }
}
