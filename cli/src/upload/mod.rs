//! Uploads: [`walk`] finds files, [`pipeline`] hands them to a sender. [`native`] hashes them, asks
//! a cloudstore server in batches what it has already, and transfers what it has not; [`tus`] sends
//! them to any server that speaks tus 1.0.

pub(crate) mod filter;
mod native;
mod pipeline;
mod shared;
mod tus;
pub(crate) mod walk;

use std::path::Path;

use cloudstore_proto::path as remote_path;

use self::{
    filter::Filter,
    shared::Shared,
    walk::{Found, Source, Walk},
};
pub(crate) use self::{native::run, tus::run as run_tus};
use crate::{
    args::{Protocol, UploadArgs},
    error::{Error, Result},
    output::{Out, count, human_bytes},
};

/// Why a folder without files is not sent to a tus server.
const NO_FOLDERS: &str = "an empty folder, which tus cannot send";

/// Files and folders to send.
struct Tree {
    sources: Vec<Source>,
    walk: Walk,
}

impl Tree {
    /// Only files were named, no folders: each is worth a line.
    fn is_files(&self) -> bool {
        self.sources.iter().all(Source::is_file)
    }
}

/// What the command line asks for.
enum Job {
    Tree(Tree),
    /// Stdin, to be this remote file.
    Stdin(String),
}

/// Looks at the command line; `None` if with `--dry-run` all is said.
async fn job(args: &UploadArgs, out: &Out) -> Result<Option<Job>> {
    let from_stdin = args.paths.iter().any(|path| path == Path::new("-"));
    if from_stdin {
        let to = stdin_name(args)?;
        if args.dry_run {
            return out.text(format_args!("- -> {to}")).map(|()| None);
        }
        return Ok(Some(Job::Stdin(to)));
    }
    let to = args.to.as_deref().unwrap_or("/");
    let to = remote_path::normalize(to)
        .map_err(|error| Error::usage(error.to_string()).during(format!("cannot use --to {to}")))?;
    let sources = args
        .paths
        .iter()
        .map(|path| Source::new(path, &to))
        .collect::<Result<Vec<_>>>()?;
    let walk = Walk {
        filter: Filter::new(&args.include, &args.exclude)?,
        follow_symlinks: args.follow_symlinks,
    };
    if !args.dry_run {
        return Ok(Some(Job::Tree(Tree { sources, walk })));
    }
    let out = out.clone();
    let folders = args.protocol == Protocol::Native;
    let planned = tokio::task::spawn_blocking(move || plan(&sources, &walk, folders, &out)).await;
    let planned = planned.map_err(|error| Error::io(&error.into())).flatten();
    planned.map(|()| None)
}

/// Where stdin goes.
fn stdin_name(args: &UploadArgs) -> Result<String> {
    let wrong = |why: &str| Error::usage(why).during("cannot upload stdin");
    let [_] = args.paths.as_slice() else {
        return Err(wrong("'-' must be the only PATH"));
    };
    let to = args.to.as_deref().filter(|to| !to.ends_with('/'));
    let to = to.ok_or_else(|| wrong("stdin has no name").advise("pass --to /path/of/the/file"))?;
    remote_path::normalize_new(to).map_err(|error| wrong(&error.to_string()))
}

/// `--dry-run`: no server is asked. `folders`: empty ones are sent, too. Blocks.
fn plan(sources: &[Source], walk: &Walk, folders: bool, out: &Out) -> Result<()> {
    let (mut files, mut bytes, mut failure) = (0, 0, None);
    for source in sources {
        source.walk(walk, &mut |found| {
            let told = match found {
                Found::File(file) => {
                    files += 1;
                    bytes += file.stamp.size;
                    planned(out, "file", &file.path, &file.remote, Some(file.stamp.size))
                }
                Found::EmptyFolder { path, .. } if !folders => {
                    out.note(format_args!("skipped {}: {NO_FOLDERS}", path.display()));
                    Ok(())
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
