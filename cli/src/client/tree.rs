//! Everything below a remote folder, streamed: a few folders are listed at a time, so neither
//! memory nor round trips grow with the number of files.

use cloudstore_proto::http::{Entry, Folder};
use tokio::{sync::mpsc, task::JoinSet};

use super::Client;
use crate::error::Result;

/// Folders that are listed at the same time.
const LISTERS: usize = 4;
/// Entries that wait for whoever reads; then listing waits too.
const WAITING_ENTRIES: usize = 2_000;

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
    let mut listing = JoinSet::new();
    loop {
        while listing.len() < LISTERS
            && let Some(path) = waiting.pop()
        {
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
) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = client.list(&path, cursor.as_deref()).await?;
        for entry in page.entries.unwrap_or_default() {
            if let Entry::Folder(Folder { path, .. }) = &entry {
                folders.push(path.clone());
            }
            if found.send(Ok(entry)).await.is_err() {
                return Ok(Vec::new());
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(folders);
        }
    }
}
