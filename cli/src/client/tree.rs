//! Everything below a remote folder, streamed: a few folders are listed at a time, so neither
//! memory nor round trips grow with the number of files. Whatever the server answers, it ends.

use std::collections::HashSet;

use cloudstore_proto::{
    http::{Entry, Folder, Listing},
    path::{MAX_PATH_BYTES, segments},
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Client, wire::Trouble};
use crate::error::Result;

/// Folders that are listed at the same time.
const LISTERS: usize = 4;
/// Entries that wait for whoever reads; then listing waits too.
const WAITING_ENTRIES: usize = 2_000;
/// Pages of one folder, each of up to 1,000 entries.
const MAX_PAGES: usize = 1_000_000;
/// Folders of one walk.
const MAX_FOLDERS: usize = 10_000_000;
/// Names in a path; a folder can be moved below another, so there are more than in a new path.
const MAX_LEVELS: usize = 1_000;

/// The pages of one folder, or the one of a file.
pub(crate) struct Pages<'a> {
    client: &'a Client,
    path: &'a str,
    /// The page after the last one; `None` on the first and behind the last.
    cursor: Option<String>,
    seen: HashSet<blake3::Hash>,
    ended: bool,
}

impl<'a> Pages<'a> {
    /// Nothing is asked for yet.
    pub(crate) fn new(client: &'a Client, path: &'a str) -> Self {
        Self {
            client,
            path,
            cursor: None,
            seen: HashSet::new(),
            ended: false,
        }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// Also a server that never comes to an end, or lists what is not in the folder.
    pub(crate) async fn next(&mut self) -> Result<Option<Listing>> {
        if self.ended {
            return Ok(None);
        }
        let mut page = self.client.list(self.path, self.cursor.as_deref()).await?;
        for entry in page.entries.iter().flatten() {
            if child_name(self.path, path_of(entry)).is_none() {
                let path = path_of(entry);
                return Err(self.garbled(&format!("has {path} in it, which is elsewhere")));
            }
        }
        self.cursor = page.next_cursor.take();
        match &self.cursor {
            None => self.ended = true,
            Some(cursor) if !self.seen.insert(blake3::hash(cursor.as_bytes())) => {
                return Err(self.garbled("repeats its pages without end"));
            }
            Some(_) if self.seen.len() >= MAX_PAGES => {
                return Err(self.garbled("has pages without end"));
            }
            Some(_) => {}
        }
        Ok(Some(page))
    }

    fn garbled(&self, why: &str) -> crate::error::Error {
        let why = format!("the list of {} {why}", self.path);
        self.client.error(Trouble::Garbled(why))
    }
}

fn path_of(entry: &Entry) -> &str {
    let (Entry::Folder(Folder { path, .. })
    | Entry::File(cloudstore_proto::http::File { path, .. })) = entry;
    path
}

/// The name of an entry directly in `folder`.
fn child_name<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let name = path
        .strip_prefix(folder.trim_end_matches('/'))?
        .strip_prefix('/')?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// A folder that can be listed in its turn: going down ends somewhere.
fn can_be_entered(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && segments(path).count() <= MAX_LEVELS
        && segments(path).all(|name| !matches!(name, "." | ".."))
}

/// Every entry below `root`, each folder before what is in it, in no other order. An error is the
/// last item.
pub(crate) fn walk(client: &Client, root: &str) -> mpsc::Receiver<Result<Entry>> {
    let (found, receiver) = mpsc::channel(WAITING_ENTRIES);
    let client = client.clone();
    let root = root.to_owned();
    tokio::spawn(async move {
        if let Err(error) = walk_all(&client, root, &found).await {
            // Nobody listens any more: nobody is interested in the error either.
            let _ = found.send(Err(error)).await;
        }
    });
    receiver
}

async fn walk_all(
    client: &Client,
    root: String,
    found: &mpsc::Sender<Result<Entry>>,
) -> Result<()> {
    let mut waiting = vec![root];
    let mut listed = 0;
    let mut listing = JoinSet::new();
    loop {
        while listing.len() < LISTERS
            && let Some(path) = waiting.pop()
        {
            listed += 1;
            if listed > MAX_FOLDERS {
                let why = format!("it has more than {MAX_FOLDERS} folders");
                return Err(client.error(Trouble::Garbled(why)));
            }
            listing.spawn(list(client.clone(), path, found.clone()));
        }
        match listing.join_next().await {
            Some(Ok(folders)) => waiting.extend(folders?),
            Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            None => return Ok(()),
        }
    }
}

/// Sends the entries of one folder; returns the folders among them.
async fn list(
    client: Client,
    path: String,
    found: mpsc::Sender<Result<Entry>>,
) -> Result<HashSet<String>> {
    let mut folders = HashSet::new();
    let mut pages = Pages::new(&client, &path);
    while let Some(page) = pages.next().await? {
        for entry in page.entries.unwrap_or_default() {
            if let Entry::Folder(Folder { path, .. }) = &entry {
                if !can_be_entered(path) {
                    return Err(pages.garbled("has a folder in it that is too deep to be real"));
                }
                if !folders.insert(path.clone()) {
                    return Err(pages.garbled(&format!("has {path} in it twice")));
                }
            }
            if found.send(Ok(entry)).await.is_err() {
                return Ok(HashSet::new());
            }
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lists_only_what_is_in_it() {
        assert_eq!(child_name("/", "/a"), Some("a"));
        assert_eq!(child_name("/x", "/x/a b"), Some("a b"));
        for wrong in ["/x", "/x/", "/xa", "/x/a/b", "/y/a", "x/a", "../a", ""] {
            assert_eq!(child_name("/x", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn going_down_ends() {
        assert!(can_be_entered(&"/d".repeat(MAX_LEVELS)));
        assert!(!can_be_entered(&"/d".repeat(MAX_LEVELS + 1)));
        assert!(!can_be_entered(&format!("/{}", "d".repeat(MAX_PATH_BYTES))));
        assert!(!can_be_entered("/x/.."));
    }
}
