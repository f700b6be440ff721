//! `cloudstore verify`: are the local files the same as those on the server?

use std::{collections::HashMap, fs, path::Path, thread::available_parallelism};

use cloudstore_proto::http::{Entry, File};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{Context, remote};
use crate::{
    args::VerifyArgs,
    client::{Client, tree},
    error::{Error, Exit, Result},
    output::count,
    state::hash_file,
    upload::{
        filter::Filter,
        walk::{Found, LocalFile, Source, Walk},
    },
};

/// Local files that wait to be read.
const WAITING: usize = 1_000;

/// What was found out about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Same,
    Different,
    OnlyHere,
    OnlyOnServer,
}

#[derive(Default)]
struct Tally {
    same: u64,
    different: u64,
    only_here: u64,
    only_on_server: u64,
    failed: u64,
}

/// A local file: its hash, or why it has none.
struct Judged {
    local: String,
    remote: String,
    hash: Result<String>,
}

pub(super) async fn run(context: &Context, args: &VerifyArgs) -> Result<()> {
    let remote = remote(&args.remote)?;
    let what = || format!("cannot verify {}", args.local.display());
    let here =
        fs::metadata(&args.local).map_err(|error| Error::at(&error, &args.local).during(what()))?;
    let client = context.connect()?;
    let there = client
        .stat(&remote)
        .await
        .map_err(|error| error.during(format!("cannot verify against {remote}")))?;
    let expected = match there.entry {
        Entry::File(file) if here.is_file() => HashMap::from([(file.path.clone(), file)]),
        Entry::Folder(_) if here.is_dir() => files_below(&client, &remote).await?,
        _ => {
            let why = format!("one of it and {remote} is a file, the other a folder");
            return Err(Error::new(Exit::Failed, why).during(what()));
        }
    };
    let tally = compare(context, &args.local, &remote, here.is_dir(), expected).await?;
    summarize(context, &tally)
}

async fn files_below(client: &Client, top: &str) -> Result<HashMap<String, File>> {
    let mut files = HashMap::new();
    let mut found = tree::walk(client, top);
    while let Some(entry) = found.recv().await {
        if let Entry::File(file) = entry? {
            files.insert(file.path.clone(), file);
        }
    }
    Ok(files)
}

async fn compare(
    context: &Context,
    local: &Path,
    remote: &str,
    is_dir: bool,
    mut expected: HashMap<String, File>,
) -> Result<Tally> {
    let (found, mut findings) = mpsc::channel(WAITING);
    let walk = Walk {
        filter: Filter::new(&[], &[])?,
        follow_symlinks: false,
    };
    let source = Source::same(local, remote, is_dir);
    spawn_blocking(move || source.walk(&walk, &mut |item| found.blocking_send(item).is_ok()));

    let hashers = available_parallelism().map_or(2, usize::from);
    let items = stream::poll_fn(|context| findings.poll_recv(context));
    let mut judged = items
        .map(|item| judge(context, item))
        .buffer_unordered(hashers);
    let mut tally = Tally::default();
    while let Some(judged) = judged.next().await {
        let Some(Judged {
            local,
            remote,
            hash,
        }) = judged
        else {
            continue;
        };
        let there = expected.remove(&remote);
        let verdict = match (hash, there) {
            (Err(error), _) => {
                let error = error.during(format!("cannot verify {local}"));
                tell_failed(context, &mut tally, &remote, &error)?;
                continue;
            }
            (_, None) => Verdict::OnlyHere,
            (Ok(hash), Some(there)) if there.blake3 == hash => Verdict::Same,
            (Ok(_), Some(_)) => Verdict::Different,
        };
        tell(context, &mut tally, &remote, verdict)?;
    }
    for path in expected.into_keys() {
        tell(context, &mut tally, &path, Verdict::OnlyOnServer)?;
    }
    Ok(tally)
}

/// Reads a local file; `None` for what is not compared.
async fn judge(context: &Context, item: Found) -> Option<Judged> {
    let file = match item {
        Found::File(file) => file,
        Found::EmptyFolder { .. } => return None,
        Found::Skipped { path, why } => {
            context
                .out
                .note(format_args!("skipped {}: {why}", path.display()));
            return None;
        }
        Found::Failed {
            path,
            remote,
            error,
        } => {
            return Some(Judged {
                local: path.display().to_string(),
                remote,
                hash: Err(error),
            });
        }
    };
    let LocalFile { path, remote, .. } = file;
    let local = path.display().to_string();
    let hashing = spawn_blocking(move || {
        let hashed = fs::File::open(&path).and_then(|file| hash_file(&file));
        hashed.map_err(|error| Error::at(&error, &path))
    });
    let root = hashing.await.map_err(|error| Error::io(&error.into()));
    Some(Judged {
        local,
        remote,
        hash: root.flatten().map(hex::encode),
    })
}

/// A local file that cannot be compared does not keep the others from it.
fn tell_failed(context: &Context, tally: &mut Tally, path: &str, error: &Error) -> Result<()> {
    tally.failed += 1;
    if !context.out.is_json() {
        context.out.complain(error);
    }
    context.out.record(&serde_json::json!({
        "type": "file", "path": path, "status": "failed", "error": error.to_string(),
    }))
}

fn tell(context: &Context, tally: &mut Tally, path: &str, verdict: Verdict) -> Result<()> {
    let (counter, words) = match verdict {
        Verdict::Same => (&mut tally.same, "same"),
        Verdict::Different => (&mut tally.different, "DIFFERENT"),
        Verdict::OnlyHere => (&mut tally.only_here, "only here"),
        Verdict::OnlyOnServer => (&mut tally.only_on_server, "only on the server"),
    };
    *counter += 1;
    context
        .out
        .record(&serde_json::json!({ "type": "file", "path": path, "status": verdict }))?;
    if verdict == Verdict::Same && !context.out.is_verbose() {
        return Ok(());
    }
    context.out.text(format_args!("{words}: {path}"))
}

fn summarize(context: &Context, tally: &Tally) -> Result<()> {
    context.out.record(&serde_json::json!({
        "type": "summary",
        "same": tally.same,
        "different": tally.different,
        "only_here": tally.only_here,
        "only_on_server": tally.only_on_server,
        "failed": tally.failed,
    }))?;
    let mut line = format!(
        "{} the same, {} different, {} only here, {} only on the server",
        count(tally.same, "file"),
        tally.different,
        tally.only_here,
        tally.only_on_server
    );
    if tally.failed > 0 {
        line.push_str(&format!(", {} failed", tally.failed));
    }
    context.out.report(line)?;
    if tally.different > 0 {
        Err(Error::told(Exit::Checksum))
    } else if tally.only_here + tally.only_on_server + tally.failed > 0 {
        Err(Error::told(Exit::Failed))
    } else {
        Ok(())
    }
}
