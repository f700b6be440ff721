//! Group commit for files: one round of flushes serves every caller that waits.
//!
//! A journalling file system commits the creation of many files in one journal transaction, so
//! flushing many files costs little more than flushing one. Callers that arrive during a round
//! wait for the next one, which starts at once when the current one ends. Small files are written
//! in the round, too, one after the other on one thread: writers side by side would only wait for
//! each other at the lock of the directory.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, absolute},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

/// Flushes that run side by side in one round. More than this shares journal commits no better
/// and only adds threads.
const FAN_OUT: usize = 16;
/// File systems whose `syncfs` returns the error of a lost write (ext2 to 4, XFS, Btrfs, tmpfs;
/// since Linux 5.8). Magic numbers as in statfs(2).
const TRUSTED: [rustix::fs::FsWord; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];
/// From so many files on, one `syncfs` is cheaper than flushing each: one journal commit and one
/// flush of the disk's cache instead of several.
const WHOLE_FS_FROM: usize = 8;
/// A `syncfs` that takes longer had to write what others left dirty; see [`FileSystem`].
const SLOW: Duration = Duration::from_millis(100);
/// Files are flushed one by one afterwards, for so many times as long as the slow one took.
const SLOW_PAUSES: u32 = 10;
/// Requests folded into one round, so that the first caller never waits for an endless queue.
const MAX_ROUND: usize = 256;
/// Callers that may wait; beyond that callers wait to be let in (back-pressure, not failure).
const QUEUE: usize = 1_024;

/// Writes something and returns the files to flush.
type Write = Box<dyn FnOnce() -> Vec<Arc<File>> + Send>;

/// What one caller needs on the disk before it goes on.
struct Request {
    write: Write,
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
        self.request(Box::new(move || files), dirs).await
    }

    /// Runs `write` in the round and flushes the files it returns and the directories `dirs`. For
    /// small writes: everybody in the round waits for them. What `write` returns comes back once
    /// it is on the disk; its own error comes back as the inner one.
    ///
    /// # Errors
    /// As [`Flusher::flush`].
    pub async fn write<T: Send + 'static, E: Send + 'static>(
        &self,
        write: impl FnOnce() -> Result<(T, Vec<Arc<File>>), E> + Send + 'static,
        dirs: Vec<Arc<File>>,
    ) -> io::Result<Result<T, E>> {
        let (sender, written) = oneshot::channel();
        let write = move || {
            let (result, files) = match write() {
                Ok((value, files)) => (Ok(value), files),
                Err(error) => (Err(error), Vec::new()),
            };
            // The caller may have gone; what was written is flushed all the same.
            let _ = sender.send(result);
            files
        };
        self.request(Box::new(write), dirs).await?;
        written.await.map_err(|_| stopped())
    }

    async fn request(&self, write: Write, dirs: Vec<Arc<File>>) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        let request = Request { write, dirs, done };
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
    let mut disks = Disks::default();
    let mut round = Vec::with_capacity(MAX_ROUND);
    while requests.recv_many(&mut round, MAX_ROUND).await > 0 {
        let (work, waiting): (Vec<_>, Vec<_>) = round
            .drain(..)
            .map(|request| ((request.write, request.dirs), request.done))
            .unzip();
        let round = spawn_blocking(move || (flush_round(work, &mut disks), disks)).await;
        let Ok((outcomes, next)) = round else {
            // A round that panicked has kept nothing: its callers see their channels closed, and
            // so do all later ones.
            return;
        };
        disks = next;
        for (done, outcome) in waiting.into_iter().zip(outcomes) {
            // A caller that went away needs no answer.
            let _ = done.send(outcome);
        }
    }
}

/// What is known of the file systems that were flushed.
#[derive(Debug, Default)]
struct Disks {
    /// By device. A handle is kept for good: the kernel reports a lost write once to each handle
    /// that was open when it happened.
    systems: HashMap<u64, FileSystem>,
}

#[derive(Debug)]
struct FileSystem {
    handle: Arc<File>,
    /// Its `syncfs` reports lost writes. Network and stacked file systems may not.
    trusted: bool,
    /// `syncfs` waits for everything that is dirty. When somebody streams gigabytes to the file
    /// system, small files are better off alone for a while.
    alone_until: Option<Instant>,
}

impl FileSystem {
    fn new(handle: Arc<File>) -> Self {
        let kind = rustix::fs::fstatfs(&*handle).map(|stat| stat.f_type);
        Self {
            handle,
            trusted: kind.is_ok_and(|kind| TRUSTED.contains(&kind)),
            alone_until: None,
        }
    }

    fn is_usable(&self) -> bool {
        let alone = self.alone_until.is_some_and(|until| Instant::now() < until);
        self.trusted && !alone
    }

    /// Flushes everything that is dirty on it.
    fn sync(&mut self) -> io::Result<()> {
        let start = Instant::now();
        let synced = rustix::fs::syncfs(&*self.handle);
        // An error is told once for the whole file system, though pages of files may be lost that
        // nobody has asked for yet; from then on only flushing each file tells which.
        self.trusted &= synced.is_ok();
        self.took(start.elapsed());
        Ok(synced?)
    }

    fn took(&mut self, time: Duration) {
        self.alone_until = (time > SLOW).then(|| Instant::now() + time * SLOW_PAUSES);
    }
}

/// Something to be flushed, and the requests that wait for it.
struct Target {
    file: Arc<File>,
    requests: Vec<usize>,
}

type Outcomes = Vec<io::Result<()>>;

/// Writes, then data, then directories. An error reaches exactly the requests that it concerns.
fn flush_round(work: Vec<(Write, Vec<Arc<File>>)>, disks: &mut Disks) -> Outcomes {
    let mut outcomes: Outcomes = Vec::with_capacity(work.len());
    let mut files = Vec::new();
    let mut dirs: HashMap<(u64, u64), Target> = HashMap::new();
    for (index, (write, request_dirs)) in work.into_iter().enumerate() {
        outcomes.push(Ok(()));
        match catch_unwind(AssertUnwindSafe(write)) {
            Ok(written) => files.extend(written.into_iter().map(|file| Target {
                file,
                requests: vec![index],
            })),
            Err(_) => outcomes[index] = Err(io::Error::other("a write panicked")),
        }
        for dir in request_dirs {
            if let Err(error) = add_dir(&mut dirs, dir, index) {
                outcomes[index] = Err(error);
            }
        }
    }
    let mut dirs: Vec<Target> = dirs.into_values().collect();
    if files.len() + dirs.len() >= WHOLE_FS_FROM {
        sync_file_systems(disks, &mut files, &mut dirs, &mut outcomes);
    }
    sync_each(&files, File::sync_data, &mut outcomes);
    sync_each(&dirs, File::sync_all, &mut outcomes);
    outcomes
}

/// Each directory once, whoever asks for it.
fn add_dir(
    dirs: &mut HashMap<(u64, u64), Target>,
    dir: Arc<File>,
    request: usize,
) -> io::Result<()> {
    let meta = dir.metadata()?;
    let target = dirs
        .entry((meta.dev(), meta.ino()))
        .or_insert_with(|| Target {
            file: dir,
            requests: Vec::new(),
        });
    target.requests.push(request);
    Ok(())
}

/// One `syncfs` for each file system that is concerned, mostly one in all. What it served is taken
/// out of `files` and `dirs`.
fn sync_file_systems(
    disks: &mut Disks,
    files: &mut Vec<Target>,
    dirs: &mut Vec<Target>,
    outcomes: &mut Outcomes,
) {
    let mut served: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut serve = |target: &mut Target| {
        let Ok(meta) = target.file.metadata() else {
            return false;
        };
        let new = || FileSystem::new(target.file.clone());
        let system = disks.systems.entry(meta.dev()).or_insert_with(new);
        if system.is_usable() {
            let requests = served.entry(meta.dev()).or_default();
            requests.append(&mut target.requests);
            return true;
        }
        false
    };
    files.retain_mut(|target| !serve(target));
    dirs.retain_mut(|target| !serve(target));
    for (device, requests) in served {
        let system = disks.systems.get_mut(&device);
        if let Err(error) = system.expect("invariant: entered above").sync() {
            fail(outcomes, &requests, &error);
        }
    }
}

/// Flushes every file on its own, with at most [`FAN_OUT`] threads.
fn sync_each(targets: &[Target], sync: fn(&File) -> io::Result<()>, outcomes: &mut Outcomes) {
    let lane = |targets: &[Target]| {
        let failed = |target: &Target| Some((sync(&target.file).err()?, target.requests.clone()));
        targets.iter().filter_map(failed).collect::<Vec<_>>()
    };
    let lanes = targets.chunks(targets.len().div_ceil(FAN_OUT).max(1));
    let failures = match targets {
        [] => return,
        [_] => lane(targets),
        _ => thread::scope(|scope| {
            let threads: Vec<_> = lanes.map(|part| scope.spawn(move || lane(part))).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            // A panic goes on: nobody may be told "kept" then.
            joined
                .flat_map(|failures| failures.expect("invariant: flushing does not panic"))
                .collect()
        }),
    };
    for (error, requests) in failures {
        fail(outcomes, &requests, &error);
    }
}

fn fail(outcomes: &mut Outcomes, requests: &[usize], error: &io::Error) {
    for request in requests {
        outcomes[*request] = Err(io::Error::new(error.kind(), error.to_string()));
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
    use std::{fs, os::fd::OwnedFd};

    use super::*;

    #[tokio::test]
    async fn many_callers_share_rounds_and_all_succeed() {
        let dir = tempfile::tempdir().unwrap();
        let entries = Arc::new(File::open(dir.path()).unwrap());
        let flusher = Flusher::new();
        let calls = (0..100).map(|i| {
            let path = dir.path().join(i.to_string());
            let (flusher, entries) = (flusher.clone(), entries.clone());
            tokio::spawn(async move {
                let write = move || {
                    fs::write(&path, "x")?;
                    let file = Arc::new(File::open(&path)?);
                    io::Result::Ok((i, vec![file]))
                };
                flusher.write(write, vec![entries]).await
            })
        });
        for (i, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(call.await.unwrap().unwrap().unwrap(), i);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 100);
    }

    #[tokio::test]
    async fn a_failed_or_panicking_write_is_its_own_callers_problem() {
        let dir = tempfile::tempdir().unwrap();
        let entries = Arc::new(File::open(dir.path()).unwrap());
        let flusher = Flusher::new();
        let failed = flusher
            .write(|| Err::<((), _), _>("no"), vec![entries.clone()])
            .await;
        assert_eq!(failed.unwrap(), Err("no"));
        let panicked = flusher.write(
            || -> Result<((), Vec<Arc<File>>), ()> { panic!("a defect") },
            vec![],
        );
        assert!(panicked.await.is_err());
        flusher.flush(vec![], vec![entries]).await.unwrap();
    }

    type Files = Vec<Arc<File>>;

    fn round(work: Vec<(Files, Files)>) -> Outcomes {
        let work = work
            .into_iter()
            .map(|(files, dirs)| (Box::new(|| files) as Write, dirs))
            .collect();
        flush_round(work, &mut Disks::default())
    }

    /// Flushing a pipe fails.
    fn bad() -> Arc<File> {
        let (_reader, writer) = io::pipe().unwrap();
        Arc::new(File::from(OwnedFd::from(writer)))
    }

    #[test]
    fn a_failure_reaches_only_its_own_request() {
        let dir = tempfile::tempdir().unwrap();
        let good = Arc::new(File::create(dir.path().join("good")).unwrap());
        let entries = Arc::new(File::open(dir.path()).unwrap());
        let outcomes = round(vec![
            (vec![good], vec![entries.clone()]),
            (vec![bad()], vec![entries]),
        ]);
        assert!(outcomes[0].is_ok());
        assert!(outcomes[1].is_err());
    }

    #[test]
    fn large_rounds_flush_each_file_system_once() {
        let dir = tempfile::tempdir().unwrap();
        let entries = Arc::new(File::open(dir.path()).unwrap());
        let work = (0..2 * WHOLE_FS_FROM).map(|i| {
            let file = File::create(dir.path().join(i.to_string())).unwrap();
            (vec![Arc::new(file)], vec![entries.clone()])
        });
        assert!(round(work.collect()).iter().all(Result::is_ok));
    }

    #[test]
    fn a_slow_file_system_flush_is_not_repeated_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut system = FileSystem::new(Arc::new(File::open(dir.path()).unwrap()));
        system.trusted = true;
        assert!(system.is_usable());
        system.took(SLOW * 2);
        assert!(!system.is_usable());
        system.took(SLOW / 2);
        assert!(system.is_usable());
    }
}
