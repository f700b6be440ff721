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
    let name = if super::stdout_is_terminal() {
        printable(name)
    } else {
        name.to_owned()
    };
    if args.long {
        context
            .out
            .text(format_args!("{size:>12}  {modified:24}  {name}{slash}"))
    } else {
        context.out.text(format_args!("{name}{slash}"))
    }
}

/// Characters that a terminal would act on instead of showing them, such as those that change the
/// direction of writing.
fn printable(name: &str) -> String {
    let shown = |c: char| match c {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        c if c.is_control() => '?',
        c => c,
    };
    name.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_fool_the_terminal() {
        assert_eq!(printable("gpj.\u{202e}exe\u{1b}[2J"), "gpj.?exe?[2J");
        assert_eq!(printable("grün ✓"), "grün ✓");
    }
}
