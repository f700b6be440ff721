//! `cloudstore mkdir`

use cloudstore_proto::http::Entry;

use super::{Context, remote};
use crate::{args::MkdirArgs, error::Result};

pub(super) async fn run(context: &Context, args: &MkdirArgs) -> Result<()> {
    let path = remote(&args.path)?;
    let made = context.connect()?.create_folder(&path, args.parents).await;
    let made = made.map_err(|error| {
        let error = match error.slug() {
            Some("name-conflict") => error.advise("choose another name, or pass --parents"),
            Some("not-found") => error.advise("pass --parents to create missing parents"),
            _ => error,
        };
        error.during(format!("cannot create {path}"))
    })?;
    context.out.record(&made)?;
    let (Entry::Folder(cloudstore_proto::http::Folder { path, .. })
    | Entry::File(cloudstore_proto::http::File { path, .. })) = &made;
    context.out.report(format_args!("created {path}"))
}
