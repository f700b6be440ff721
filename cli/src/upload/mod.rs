//! Uploads: [`walk`] finds files, [`pipeline`] hashes them and asks the server in batches what it
//! has already, [`send`] transfers what it has not. Every queue between them is bounded.

pub(crate) mod filter;
mod pipeline;
mod send;
mod stdin;
pub(crate) mod walk;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cloudstore_proto::{
    http::{File, OnConflict},
    path as remote_path,
};
use tokio::sync::Semaphore;

use self::{
    filter::Filter,
    walk::{Found, LocalFile, Source, Walk},
};
use crate::{
    args::UploadArgs,
    client::{Client, throttle::Throttle},
    error::{Error, Result},
    output::{Out, count, human_bytes},
    progress::{Direction, Done, Outcome, Progress},
    state::{self, HashCache, Unfinished, UploadKey},
};

/// What all transfers of one command share.
struct Engine {
    client: Client,
    account: String,
    on_conflict: OnConflict,
    progress: Arc<Progress>,
    hashes: Arc<HashCache>,
    unfinished: Unfinished,
    throttle: Option<Arc<Throttle>>,
    /// Requests with content; chunks of one file compete with other files.
    streams: Semaphore,
    transfers: usize,
}

/// `cloudstore upload`
pub(crate) async fn run(
    args: &UploadArgs,
    out: &Out,
    connect: impl FnOnce() -> Result<Client>,
) -> Result<()> {
    let to = args.to.as_deref().unwrap_or("/");
    let from_stdin = args.paths.iter().any(|path| path == Path::new("-"));
    if from_stdin {
        return from_pipe(args, out, connect).await;
    }
    let to = remote_path::normalize(to)
        .map_err(|error| Error::usage(error.to_string()).during(format!("cannot use --to {to}")))?;
    let sources = args
        .paths
        .iter()
        .map(|path| Source::new(path, &to))
        .collect::<Result<Vec<_>>>()?;
    let filter = Filter::new(&args.include, &args.exclude)?;
    let walk = Walk {
        filter,
        follow_symlinks: args.follow_symlinks,
    };
    if args.dry_run {
        let out = out.clone();
        let planned = tokio::task::spawn_blocking(move || plan(&sources, &walk, &out)).await;
        return planned.map_err(|error| Error::io(&error.into())).flatten();
    }
    let each = sources.iter().all(Source::is_file);
    let engine = Arc::new(Engine::new(args, out, connect()?, each).await?);
    let ran = Box::pin(pipeline::run(&engine, sources, walk)).await;
    engine.hashes.flush();
    // Also a run that ended early says how far it came.
    let told = engine.progress.finish();
    ran.and(told)
}

async fn from_pipe(
    args: &UploadArgs,
    out: &Out,
    connect: impl FnOnce() -> Result<Client>,
) -> Result<()> {
    let wrong = |why: &str| Error::usage(why).during("cannot upload stdin");
    let [_] = args.paths.as_slice() else {
        return Err(wrong("'-' must be the only PATH"));
    };
    let to = args.to.as_deref().filter(|to| !to.ends_with('/'));
    let to = to.ok_or_else(|| wrong("stdin has no name").advise("pass --to /path/of/the/file"))?;
    let to = remote_path::normalize_new(to).map_err(|error| wrong(&error.to_string()))?;
    if args.dry_run {
        return out.text(format_args!("- -> {to}"));
    }
    let progress = Arc::new(Progress::new(out, Direction::Upload, true));
    let throttle = args.pace.bwlimit.map(|rate| Arc::new(Throttle::new(rate)));
    stdin::send(
        &connect()?,
        &to,
        args.on_conflict.into(),
        &progress,
        throttle,
    )
    .await?;
    progress.finish()
}

/// `--dry-run`: no server is asked. Blocks.
fn plan(sources: &[Source], walk: &Walk, out: &Out) -> Result<()> {
    let (mut files, mut bytes, mut failure) = (0, 0, None);
    for source in sources {
        source.walk(walk, &mut |found| {
            let told = match found {
                Found::File(file) => {
                    files += 1;
                    bytes += file.stamp.size;
                    planned(out, "file", &file.path, &file.remote, Some(file.stamp.size))
                }
                Found::EmptyFolder { path, remote } => planned(out, "folder", &path, &remote, None),
                Found::Skipped { path, why } => {
                    out.note(format_args!("skipped {}: {why}", path.display()));
                    Ok(())
                }
                Found::Failed { path, error, .. } => {
                    out.complain(&error.during(format!("cannot upload {}", path.display())));
                    failure.get_or_insert(Error::told(crate::error::Exit::Failed));
                    Ok(())
                }
            };
            told.map_err(|error| failure = Some(error)).is_ok()
        });
    }
    if let Some(error) = failure {
        return Err(error);
    }
    out.note(format_args!(
        "would upload {}, {}",
        count(files, "file"),
        human_bytes(bytes)
    ));
    Ok(())
}

fn planned(out: &Out, kind: &str, path: &Path, remote: &str, size: Option<u64>) -> Result<()> {
    let local = path.display().to_string();
    out.text(match size {
        Some(size) => format!("{local} -> {remote} ({})", human_bytes(size)),
        None => format!("{local} -> {remote}/"),
    })?;
    out.record(&serde_json::json!({
        "type": kind, "local": local, "path": remote, "size": size, "status": "planned",
    }))
}

impl Engine {
    async fn new(args: &UploadArgs, out: &Out, client: Client, each: bool) -> Result<Self> {
        // Also tells early that there is no login or no server.
        let account = client.me().await?.id;
        let transfers = usize::from(args.pace.transfers);
        let dir: PathBuf = state::dir()?;
        Ok(Self {
            client,
            account,
            on_conflict: args.on_conflict.into(),
            progress: Arc::new(Progress::new(out, Direction::Upload, each)),
            hashes: Arc::new(HashCache::open(&dir)),
            unfinished: Unfinished::open(&dir).map_err(|error| state::unusable(&error, &dir))?,
            throttle: args.pace.bwlimit.map(|rate| Arc::new(Throttle::new(rate))),
            streams: Semaphore::new(transfers),
            transfers,
        })
    }

    fn key(&self, file: &LocalFile) -> UploadKey {
        let policy = match self.on_conflict {
            OnConflict::Fail => "fail",
            OnConflict::Replace => "replace",
            OnConflict::Rename => "rename",
        };
        let server = self.client.base().as_str();
        UploadKey::new(
            server,
            &self.account,
            &file.path,
            &file.stamp,
            &file.remote,
            policy,
        )
    }

    fn succeeded(&self, local: &LocalFile, file: &File) -> Result<()> {
        let outcome = if file.instant {
            Outcome::Instant
        } else {
            Outcome::Uploaded
        };
        self.progress.done(&Done {
            local: &local.name(),
            remote: &file.path,
            size: file.size,
            blake3: &file.blake3,
            outcome,
        })
    }

    fn failed(&self, local: &LocalFile, error: Error) -> Result<()> {
        let error = error.during(format!("cannot upload {}", local.path.display()));
        self.progress.failed(&local.name(), &local.remote, error)
    }
}
