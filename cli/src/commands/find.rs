//! `cloudstore find`

use cloudstore_proto::http::{Entry, File, Folder};

use super::{Context, remote};
use crate::{
    args::FindArgs,
    error::{Error, Result},
};

pub(super) async fn run(context: &Context, args: &FindArgs) -> Result<()> {
    if args.text.is_empty() {
        return Err(Error::usage("there is nothing to look for"));
    }
    let top = remote(&args.path)?;
    let client = context.connect()?;
    let found = client.search(&args.text, &top, args.limit).await;
    let found = found.map_err(|error| {
        let what = format!("cannot look for {} in {top}", args.text);
        error.during(what)
    })?;
    for entry in &found.entries {
        context.out.record(entry)?;
        match entry {
            Entry::File(File { path, .. }) => context.out.text(format_args!("{path}"))?,
            Entry::Folder(Folder { path, .. }) => context.out.text(format_args!("{path}/"))?,
        }
    }
    if found.more {
        let told = found.entries.len();
        context
            .out
            .report(format_args!("there are more than these {told}"))?;
    }
    Ok(())
}
