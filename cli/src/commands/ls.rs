//! `cloudstore ls`

use cloudstore_proto::{http::Entry, path};

use super::{Context, remote};
use crate::{
    args::LsArgs,
    client::{
        Client,
        tree::{self, Pages},
    },
    error::Result,
    output::human_bytes,
};

pub(super) async fn run(context: &Context, args: &LsArgs) -> Result<()> {
    let client = context.connect()?;
    let top = remote(&args.path)?;
    let what = || format!("cannot list {top}");
    if args.recursive {
        return recursive(context, args, &client, &top)
            .await
            .map_err(|error| error.during(what()));
    }
    let mut pages = Pages::new(&client, &top);
    while let Some(page) = pages.next().await.map_err(|error| error.during(what()))? {
        let Some(entries) = page.entries else {
            return show(context, args, &top, &page.entry);
        };
        for entry in &entries {
            show(context, args, &top, entry)?;
        }
    }
    Ok(())
}

async fn recursive(context: &Context, args: &LsArgs, client: &Client, top: &str) -> Result<()> {
    let first = client.stat(top).await?;
    if matches!(first.entry, Entry::File(_)) {
        return show(context, args, top, &first.entry);
    }
    let mut found = tree::walk(client, top);
    while let Some(entry) = found.recv().await {
        show(context, args, top, &entry?)?;
    }
    Ok(())
}

fn show(context: &Context, args: &LsArgs, top: &str, entry: &Entry) -> Result<()> {
    context.out.record(entry)?;
    let (path, slash, size, modified) = match entry {
        Entry::File(file) => (&file.path, "", human_bytes(file.size), &file.modified_at),
        Entry::Folder(folder) => (&folder.path, "/", "-".to_owned(), &folder.modified_at),
    };
    let name = match path.strip_prefix(top.trim_end_matches('/')) {
        Some(below) if args.recursive && below.len() > 1 => &below[1..],
        _ => path::name(path),
    };
    if args.long {
        context
            .out
            .text(format_args!("{size:>12}  {modified:24}  {name}{slash}"))
    } else {
        context.out.text(format_args!("{name}{slash}"))
    }
}
