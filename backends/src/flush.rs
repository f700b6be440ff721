//! Group commit for files: one round of flushes serves every caller that waits.
//!
//! A journalling file system commits the creation of many files in one journal transaction, so
//! flushing files side by side costs little more than flushing one. Callers that arrive during a
//! round wait for the next one, which starts at once when the current one ends.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, absolute},
    sync::Arc,
};

use tokio::sync::{mpsc, oneshot};

/// Flushes that run side by side in one round. More than this shares journal commits no better
/// and only adds threads.
const FAN_OUT: usize = 16;
/// Requests folded into one round, so that the first caller never waits for an endless queue.
const MAX_ROUND: usize = 512;
/// Callers that may wait; beyond that `flush` itself waits (back-pressure, not failure).
const QUEUE: usize = 1_024;

/// What one caller needs on the disk before it goes on.
struct Request {
    files: Vec<Arc<File>>,
    dirs: Vec<Arc<File>>,
    done: oneshot::Sender<io::Result<()>>,
}

/// Makes files and directory entries survive loss of power, many callers at a time.
#[derive(Clone, Debug)]
pub struct Flusher {
    queue: mpsc::Sender<Request>,
}

impl Flusher {
    /// Starts the task that runs the rounds; it ends when the last clone is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        tokio::spawn(run(requests));
        Self { queue }
    }

    /// Returns once the data of `files` and the entries of the directories `dirs` are on the disk.
    ///
    /// # Errors
    /// A failed flush is final: the kernel may have dropped the dirty pages, so the caller must
    /// treat the data as lost instead of flushing again.
    pub async fn flush(&self, files: Vec<Arc<File>>, dirs: Vec<Arc<File>>) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        let request = Request { files, dirs, done };
        self.queue.send(request).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

impl Default for Flusher {
    fn default() -> Self {
        Self::new()
    }
}

fn stopped() -> io::Error {
    io::Error::other("the flusher has stopped")
}

async fn run(mut requests: mpsc::Receiver<Request>) {
    let mut round = Vec::with_capacity(MAX_ROUND);
    while requests.recv_many(&mut round, MAX_ROUND).await > 0 {
        let (work, waiting): (Vec<_>, Vec<_>) = round
            .drain(..)
            .map(|request| ((request.files, request.dirs), request.done))
            .unzip();
        let outcomes = flush_round(work).await;
        for (done, outcome) in waiting.into_iter().zip(outcomes) {
            // A caller that went away needs no answer.
            let _ = done.send(outcome);
        }
    }
}

type Work = (Vec<Arc<File>>, Vec<Arc<File>>);

/// Data first, then the directories, each directory once. An error reaches exactly the requests
/// that named the file or directory which failed.
async fn flush_round(work: Vec<Work>) -> Vec<io::Result<()>> {
    let mut dirs: HashMap<(u64, u64), (Arc<File>, Vec<usize>)> = HashMap::new();
    let mut outcomes: Vec<io::Result<()>> = Vec::with_capacity(work.len());
    let mut files = Vec::new();
    for (index, (request_files, request_dirs)) in work.into_iter().enumerate() {
        let mut outcome = Ok(());
        for dir in request_dirs {
            match dir.metadata() {
                Ok(meta) => {
                    let known = dirs.entry((meta.dev(), meta.ino()));
                    known.or_insert_with(|| (dir, Vec::new())).1.push(index);
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcomes.push(outcome);
        files.extend(request_files.into_iter().map(|file| (file, vec![index])));
    }
    sync_all(files, Sync::Data, &mut outcomes).await;
    sync_all(dirs.into_values().collect(), Sync::Entries, &mut outcomes).await;
    outcomes
}

#[derive(Clone, Copy)]
enum Sync {
    Data,
    Entries,
}

/// Flushes every file with at most [`FAN_OUT`] threads and files errors under their requests.
async fn sync_all(
    files: Vec<(Arc<File>, Vec<usize>)>,
    what: Sync,
    outcomes: &mut [io::Result<()>],
) {
    if files.is_empty() {
        return;
    }
    let lane_len = files.len().div_ceil(FAN_OUT);
    let mut lanes = Vec::new();
    let mut files = files.into_iter();
    loop {
        let lane: Vec<_> = files.by_ref().take(lane_len).collect();
        if lane.is_empty() {
            break;
        }
        lanes.push(tokio::task::spawn_blocking(move || {
            let sync = |file: &File| match what {
                Sync::Data => file.sync_data(),
                Sync::Entries => file.sync_all(),
            };
            lane.into_iter()
                .filter_map(|(file, requests)| sync(&file).err().map(|error| (error, requests)))
                .collect::<Vec<_>>()
        }));
    }
    for lane in lanes {
        match lane.await {
            Ok(failures) => {
                for (error, requests) in failures {
                    for request in requests {
                        outcomes[request] = Err(io::Error::new(error.kind(), error.to_string()));
                    }
                }
            }
            // Which file the lane had reached is unknown, so nobody may be told "kept".
            Err(_) => outcomes
                .iter_mut()
                .for_each(|outcome| *outcome = Err(stopped())),
        }
    }
}

/// Creates a directory and those above it so that they survive loss of power. Blocks; for the start
/// of a process.
///
/// # Errors
/// As `std::fs::create_dir_all`, or when a directory cannot be flushed.
pub fn create_dirs_durably(dir: &Path) -> io::Result<()> {
    let dir = absolute(dir)?;
    let missing: Vec<_> = dir
        .ancestors()
        .take_while(|above| !above.exists())
        .collect();
    std::fs::create_dir_all(&dir)?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_callers_share_rounds_and_all_succeed() {
        let dir = tempfile::tempdir().unwrap();
        let entries = Arc::new(File::open(dir.path()).unwrap());
        let flusher = Flusher::new();
        let calls = (0..100).map(|i| {
            let file = Arc::new(File::create(dir.path().join(i.to_string())).unwrap());
            let (flusher, entries) = (flusher.clone(), entries.clone());
            tokio::spawn(async move { flusher.flush(vec![file], vec![entries]).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_failure_reaches_only_its_own_request() {
        let dir = tempfile::tempdir().unwrap();
        let good = Arc::new(File::create(dir.path().join("good")).unwrap());
        let (_reader, writer) = io::pipe().unwrap();
        let bad = Arc::new(File::from(std::os::fd::OwnedFd::from(writer)));
        let entries = Arc::new(File::open(dir.path()).unwrap());
        let outcomes = flush_round(vec![
            (vec![good], vec![entries.clone()]),
            (vec![bad], vec![entries]),
        ])
        .await;
        assert!(outcomes[0].is_ok());
        assert!(outcomes[1].is_err(), "a pipe cannot be flushed");
    }
}
