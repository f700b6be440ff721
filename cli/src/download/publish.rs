//! Verified files are flushed and get their names in groups: one flush of the file system serves
//! every file that waits, so thousands of small files do not cost thousands of flushes.

use std::{fs, io, path::Path, sync::Arc};

use cloudstore_proto::convert::parse_rfc3339;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use super::{Job, fetch::local_error, part::Part};
use crate::{
    error::{Error, Exit, Result},
    progress::{Outcome, Progress},
};

/// Files that wait while the group before is flushed. Each holds a file descriptor, of which a
/// process has 1,024 by default.
const GROUP: usize = 256;
/// Up to so many files are flushed one by one: that does not touch what others are writing.
const FEW: usize = 4;

type Ready = (Job, Arc<Part>);

/// Takes verified files.
pub(super) struct Publisher(mpsc::Sender<Ready>);

impl Publisher {
    /// Waits for a place in the next group.
    pub(super) async fn publish(&self, job: Job, part: Arc<Part>) -> Result<()> {
        let gone = |_| Error::new(Exit::Failed, "writing has stopped after an error");
        self.0.send((job, part)).await.map_err(gone)
    }
}

/// Starts the publisher; it ends when the [`Publisher`] is dropped and everything is in place.
pub(super) fn start(progress: Arc<Progress>) -> (Publisher, JoinHandle<Result<()>>) {
    let (sender, receiver) = mpsc::channel(GROUP);
    (Publisher(sender), tokio::spawn(run(receiver, progress)))
}

async fn run(mut receiver: mpsc::Receiver<Ready>, progress: Arc<Progress>) -> Result<()> {
    let mut last_folder = None;
    loop {
        let mut group = Vec::with_capacity(GROUP);
        if receiver.recv_many(&mut group, GROUP).await == 0 {
            break;
        }
        let placed = spawn_blocking(move || place(group)).await;
        for (job, placed) in placed.map_err(|error| Error::io(&error.into()))? {
            match placed {
                Ok(()) => job.done(&progress, Outcome::Downloaded)?,
                Err(error) => {
                    let error = local_error(&error, &job.local);
                    job.failed(&progress, error)?;
                }
            }
            last_folder = job.local.parent().map(Path::to_owned);
        }
    }
    let Some(folder) = last_folder else {
        return Ok(());
    };
    // The names are safe only now.
    let flushed = spawn_blocking(move || flush_names(&folder)).await;
    let flushed = flushed.map_err(io::Error::from).flatten();
    flushed.map_err(|error| Error::io(&error).during("cannot flush what was downloaded"))
}

fn place(group: Vec<Ready>) -> Vec<(Job, io::Result<()>)> {
    for (job, part) in &group {
        let ms = parse_rfc3339(&job.file.modified_at).and_then(|ms| u64::try_from(ms).ok());
        if let Some(ms) = ms {
            let mtime = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
            // A file system that cannot keep the time can still keep the content.
            let _ = part.file().set_modified(mtime);
        }
    }
    if group.len() > FEW
        && let Some((_, part)) = group.first()
    {
        if let Err(error) = flush_file_system(part.file()) {
            let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
            return group
                .into_iter()
                .map(|(job, _)| (job, Err(again(&error))))
                .collect();
        }
        return group
            .into_iter()
            .map(|(job, part)| {
                let placed = part.publish(&job.local);
                (job, placed)
            })
            .collect();
    }
    let one = |(job, part): Ready| {
        let placed = part
            .file()
            .sync_all()
            .and_then(|()| part.publish(&job.local));
        (job, placed)
    };
    group.into_iter().map(one).collect()
}

fn flush_names(folder: &Path) -> io::Result<()> {
    flush_file_system(&fs::File::open(if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    })?)
}

/// Everything written to the file system that `file` is on.
#[cfg(target_os = "linux")]
fn flush_file_system(file: &fs::File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// Elsewhere there is only the flush of everything.
#[cfg(not(target_os = "linux"))]
fn flush_file_system(_: &fs::File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}
