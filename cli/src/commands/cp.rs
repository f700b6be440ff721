//! `cloudstore cp`

use cloudstore_proto::http::{Entry, File, Folder};

use super::{Context, remote, target};
use crate::{args::CpArgs, error::Result};

pub(super) async fn run(context: &Context, args: &CpArgs) -> Result<()> {
    let from = remote(&args.from)?;
    let to = target(&from, &args.to)?;
    let copied = context
        .connect()?
        .copy(&from, &to, args.on_conflict.into())
        .await
        .map_err(|error| error.during(format!("cannot copy {from} to {to}")))?;
    let (Entry::File(File { path, .. }) | Entry::Folder(Folder { path, .. })) = &copied;
    context.out.record(&copied)?;
    context.out.report(format_args!("copied {from} to {path}"))
}
