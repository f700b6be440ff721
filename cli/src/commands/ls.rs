//! `cloudstore ls`

use cloudstore_proto::{http::Entry, path};

use super::{Context, remote};
use crate::{args::LsArgs, client::tree, error::Result, output::human_bytes};

pub(super) async fn run(context: &Context, args: &LsArgs) -> Result<()> {
    let client = context.connect()?;
    let top = remote(&args.path)?;
    let what = || format!("cannot list {top}");
    let first = client
        .list(&top, None)
        .await
        .map_err(|error| error.during(what()))?;
    let Some(mut entries) = first.entries else {
        return show(context, args, &top, &first.entry);
    };
    if args.recursive {
        let mut found = tree::walk(&client, &top);
        while let Some(entry) = found.recv().await {
            show(
                context,
                args,
                &top,
                &entry.map_err(|error| error.during(what()))?,
            )?;
        }
        return Ok(());
    }
    let mut cursor = first.next_cursor;
    loop {
        for entry in &entries {
            show(context, args, &top, entry)?;
        }
        let Some(next) = cursor else { return Ok(()) };
        let page = client
            .list(&top, Some(&next))
            .await
            .map_err(|error| error.during(what()))?;
        entries = page.entries.unwrap_or_default();
        cursor = page.next_cursor;
    }
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
