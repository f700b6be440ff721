//! Downloads: files of a folder in parallel, ranges of a large file in parallel, each verified
//! against its BLAKE3 root before it gets its name.

mod conflict;
mod fetch;
mod part;
mod publish;
mod target;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cloudstore_proto::{
    http::{Entry, File},
    path as remote_path,
};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
};

use self::{publish::Publisher, target::Target};
use crate::{
    args::{Conflict, DownloadArgs},
    client::{Client, throttle::Throttle, tree},
    error::{Error, Exit, Result},
    output::Out,
    progress::{Direction, Done, Outcome, Progress},
    state::{self, HashCache},
};

/// What all transfers of one command share.
struct Engine {
    client: Client,
    progress: Arc<Progress>,
    hashes: Arc<HashCache>,
    on_conflict: Conflict,
    throttle: Option<Throttle>,
    /// Requests with content; pieces of one file compete with other files.
    streams: Semaphore,
    publisher: Publisher,
}

/// A file to fetch.
#[derive(Debug)]
struct Job {
    file: File,
    local: PathBuf,
}

impl Job {
    fn name(&self) -> String {
        self.local.display().to_string()
    }

    fn done(&self, progress: &Progress, outcome: Outcome) -> Result<()> {
        progress.done(&Done {
            local: &self.name(),
            remote: &self.file.path,
            size: self.file.size,
            blake3: &self.file.blake3,
            url: None,
            outcome,
        })
    }

    fn failed(&self, progress: &Progress, error: Error) -> Result<()> {
        let error = error.during(format!("cannot download {}", self.file.path));
        progress.failed(&self.name(), &self.file.path, error)
    }
}

/// `cloudstore download`
pub(crate) async fn run(args: &DownloadArgs, out: &Out, client: Client) -> Result<()> {
    let remote = remote_path::normalize(&args.remote)
        .map_err(|error| Error::usage(error.to_string()).during(cannot(&args.remote)))?;
    let found = client
        .stat(&remote)
        .await
        .map_err(|error| error.during(cannot(&remote)))?;
    let single = matches!(found.entry, Entry::File(_));
    let transfers = usize::from(args.pace.transfers);
    let progress = Arc::new(Progress::new(out, Direction::Download, single));
    let (publisher, published) = publish::start(progress.clone());
    let engine = Arc::new(Engine {
        client,
        progress: progress.clone(),
        hashes: Arc::new(HashCache::open(&state::dir()?)),
        on_conflict: args.on_conflict,
        throttle: args.pace.bwlimit.map(Throttle::new),
        streams: Semaphore::new(transfers),
        publisher,
    });
    let local = args.local.as_deref();
    let fetched = match found.entry {
        Entry::File(_) if args.remote.ends_with('/') => {
            Err(Error::usage("it is a file, not a folder").during(cannot(&args.remote)))
        }
        Entry::File(file) => fetch_file(&engine, file, local).await,
        Entry::Folder(_) => {
            let contents = args.remote.ends_with('/');
            fetch_tree(
                &engine,
                &remote,
                &folder_target(&remote, contents, local),
                transfers,
            )
            .await
        }
    };
    engine.hashes.flush();
    // The publisher ends when nobody can give it files any more.
    drop(engine);
    let published = published
        .await
        .map_err(|error| Error::io(&error.into()))
        .flatten();
    // Also a run that ended early says how far it came.
    let told = progress.finish();
    fetched.and(published).and(told)
}

fn cannot(remote: &str) -> String {
    format!("cannot download {remote}")
}

/// Where a folder goes.
fn folder_target(remote: &str, contents: bool, local: Option<&Path>) -> PathBuf {
    let base = local.unwrap_or(Path::new("."));
    match remote_path::name(remote) {
        "" => base.to_owned(),
        _ if contents => base.to_owned(),
        name => base.join(name),
    }
}

/// Where a file goes: its folder and its name there.
fn file_target(remote: &str, local: Option<&Path>) -> Result<(PathBuf, PathBuf)> {
    use std::os::unix::ffi::OsStrExt as _;
    let name = remote_path::name(remote);
    let Some(local) = local else {
        return Ok((".".into(), name.into()));
    };
    if local.is_dir() || local.as_os_str().as_bytes().ends_with(b"/") {
        return Ok((local.to_owned(), name.into()));
    }
    match local.file_name() {
        Some(name) => {
            let dir = local.parent().filter(|dir| !dir.as_os_str().is_empty());
            Ok((dir.unwrap_or(Path::new(".")).to_owned(), name.into()))
        }
        None => Err(Error::usage(format!(
            "{} is not a file name",
            local.display()
        ))),
    }
}

async fn fetch_file(engine: &Arc<Engine>, file: File, local: Option<&Path>) -> Result<()> {
    let (dir, name) = file_target(&file.path, local)?;
    let target = Target::create(&dir)?;
    let local = target.root().join(name);
    engine.progress.found(file.size);
    one(engine.clone(), Job { file, local }).await
}

async fn fetch_tree(
    engine: &Arc<Engine>,
    remote: &str,
    local: &Path,
    transfers: usize,
) -> Result<()> {
    let target = Arc::new(Target::create(local)?);
    let mut entries = tree::walk(&engine.client, remote);
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            entry = entries.recv(), if running.len() < transfers => match entry {
                Some(entry) => {
                    if let Some(job) = placed(engine, &target, remote, entry?).await? {
                        engine.progress.found(job.file.size);
                        running.spawn(one(engine.clone(), job));
                    }
                }
                None => break,
            },
            Some(done) = running.join_next() => finished(done)?,
        }
    }
    while let Some(done) = running.join_next().await {
        finished(done)?;
    }
    Ok(())
}

/// Finds the place of an entry; creates it if it is a folder.
async fn placed(
    engine: &Engine,
    target: &Arc<Target>,
    top: &str,
    entry: Entry,
) -> Result<Option<Job>> {
    let path = match &entry {
        Entry::File(file) => file.path.clone(),
        Entry::Folder(folder) => folder.path.clone(),
    };
    let (target, is_folder) = (target.clone(), matches!(entry, Entry::Folder(_)));
    let relative = path
        .strip_prefix(top.trim_end_matches('/'))
        .unwrap_or(&path)
        .to_owned();
    let place = spawn_blocking(move || {
        if is_folder {
            target.folder(&relative)
        } else {
            target.file(&relative)
        }
    });
    match (
        place
            .await
            .map_err(|error| Error::io(&error.into()))
            .flatten(),
        entry,
    ) {
        (Ok(local), Entry::File(file)) => Ok(Some(Job { file, local })),
        (Ok(_), Entry::Folder(_)) => Ok(None),
        (Err(error), _) => {
            engine
                .progress
                .failed("", &path, error.during(cannot(&path)))?;
            Ok(None)
        }
    }
}

async fn one(engine: Arc<Engine>, mut job: Job) -> Result<()> {
    match Box::pin(engine.fetch(&mut job)).await {
        Ok(Some(part)) => engine.publisher.publish(job, part).await,
        Ok(None) => job.done(&engine.progress, Outcome::Unchanged),
        Err(error) => job.failed(&engine.progress, error),
    }
}

fn finished(done: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// What was fetched is not what the server says it is.
fn damaged() -> Error {
    Error::new(
        Exit::Checksum,
        "what arrived does not have the digest of the file",
    )
    .advise("nothing was put in place; run the same command again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_keep_their_name_and_a_slash_means_their_contents() {
        let out = Some(Path::new("out"));
        assert_eq!(folder_target("/a/docs", false, out), Path::new("out/docs"));
        assert_eq!(folder_target("/a/docs", true, out), Path::new("out"));
        assert_eq!(folder_target("/a/docs", false, None), Path::new("./docs"));
        assert_eq!(folder_target("/", false, out), Path::new("out"));
    }

    #[test]
    fn files_go_into_folders_or_get_a_new_name() {
        let dir = tempfile::tempdir().unwrap();
        let place = |local: &Path| {
            let (dir, name) = file_target("/a/b.txt", Some(local)).unwrap();
            dir.join(name)
        };
        assert_eq!(place(dir.path()), dir.path().join("b.txt"));
        assert_eq!(place(Path::new("new/")), Path::new("new/b.txt"));
        assert_eq!(place(Path::new("c.txt")), Path::new("./c.txt"));
        assert!(file_target("/a", Some(Path::new("no/.."))).is_err());
    }
}
