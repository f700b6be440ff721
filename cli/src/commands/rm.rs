//! `cloudstore rm`

use cloudstore_proto::http::Entry;

use super::{Context, remote};
use crate::{
    args::RmArgs,
    client::Client,
    error::{Error, Exit, Result},
};

/// Removes what it can; the exit code is that of the first failure.
pub(super) async fn run(context: &Context, args: &RmArgs) -> Result<()> {
    let paths = args
        .paths
        .iter()
        .map(|path| remote(path))
        .collect::<Result<Vec<_>>>()?;
    let client = context.connect()?;
    let mut failure = None;
    for path in paths {
        match remove(&client, &path, args.recursive).await {
            Ok(()) => {
                context
                    .out
                    .record(&serde_json::json!({ "path": path, "status": "removed" }))?;
                context.out.report(format_args!("removed {path}"))?;
            }
            Err(error) if error.ends_the_run() => return Err(error),
            Err(error) => {
                let error = error.during(format!("cannot remove {path}"));
                context.out.complain(&error);
                failure.get_or_insert(Error::told(error.exit()));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn remove(client: &Client, path: &str, recursive: bool) -> Result<()> {
    if !recursive && matches!(client.stat(path).await?.entry, Entry::Folder(_)) {
        return Err(Error::new(Exit::Failed, "it is a folder").advise("pass -r"));
    }
    client.remove(path).await
}
