//! `cloudstore trash` and `cloudstore restore`

use cloudstore_proto::http::{
    Entry, File, Folder, OnConflict,
    shares::EntryKind,
    trash::{Restore, Trashed},
};
use uuid::Uuid;

use super::{Context, each::Deed, remote};
use crate::{
    args::{RestoreArgs, TrashAction},
    client::{Client, wire::Trouble},
    error::{Error, Exit, Result},
    output::human_bytes,
};

/// Pages of a trash, each of up to 1,000 entries.
const MAX_PAGES: usize = 1_000_000;
const ADVICE: &str = "`cloudstore trash` shows what there is";

pub(super) async fn run(context: &Context, action: Option<TrashAction>) -> Result<()> {
    match action {
        None | Some(TrashAction::Ls) => list(context).await,
        Some(TrashAction::Rm { ids }) => delete(context, &ids).await,
        Some(TrashAction::Empty) => {
            let emptied = context.connect()?.empty_trash().await;
            emptied.map_err(|error| error.during("cannot empty the trash"))?;
            context.out.report("emptied the trash")
        }
    }
}

async fn list(context: &Context) -> Result<()> {
    let client = context.connect()?;
    let mut some = false;
    let listed = find(&client, async |trashed| {
        some = true;
        context.out.record(trashed)?;
        context.out.text(line(trashed))?;
        Ok(false)
    });
    listed
        .await
        .map_err(|error| error.during("cannot list the trash"))?;
    if !some && !context.out.is_json() {
        context.out.note("the trash is empty");
    }
    Ok(())
}

/// In one line, its path at the end.
fn line(trashed: &Trashed) -> String {
    let (size, slash) = match trashed.kind {
        EntryKind::File => (human_bytes(trashed.size), ""),
        EntryKind::Folder => ("-".to_owned(), "/"),
    };
    format!(
        "{}  {size:>12}  deleted {}  goes {}  {}{slash}",
        trashed.id, trashed.deleted_at, trashed.expires_at, trashed.path
    )
}

/// The first entry, last deleted first, that is the one.
async fn find(
    client: &Client,
    mut is_it: impl AsyncFnMut(&Trashed) -> Result<bool>,
) -> Result<Option<Trashed>> {
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let page = client.trash(cursor.as_deref()).await?;
        for trashed in page.entries {
            if is_it(&trashed).await? {
                return Ok(Some(trashed));
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(None);
        }
    }
    let endless = "the list of the trash has pages without end";
    Err(client.error(Trouble::Garbled(endless.to_owned())))
}

async fn delete(context: &Context, ids: &[String]) -> Result<()> {
    let deed = Deed {
        key: "id",
        verb: "delete",
        done: "deleted",
        advice: Some(ADVICE),
    };
    let client = context.connect()?;
    deed.each(context, ids, async |id| client.delete_trashed(id).await)
        .await
}

/// `cloudstore restore`
pub(super) async fn restore(context: &Context, args: &RestoreArgs) -> Result<()> {
    let body = Restore {
        path: args.to.as_deref().map(remote).transpose()?,
        on_conflict: if args.rename {
            OnConflict::Rename
        } else {
            OnConflict::Fail
        },
    };
    if body.path.is_some() && args.what.len() > 1 {
        let detail = "--to is for one file or folder, not for several";
        return Err(Error::new(Exit::Usage, detail));
    }
    let client = context.connect()?;
    let mut failure = None;
    for what in &args.what {
        match restore_one(&client, what, &body).await {
            Ok(entry) => {
                context.out.record(&entry)?;
                let (Entry::File(File { path, .. }) | Entry::Folder(Folder { path, .. })) = &entry;
                context.out.report(format_args!("restored {path}"))?;
            }
            Err(error) if error.ends_the_run() => return Err(error),
            Err(error) => {
                let error = error.during(format!("cannot restore {what}"));
                context.out.complain(&error);
                failure.get_or_insert(Error::told(error.exit()));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn restore_one(client: &Client, what: &str, body: &Restore) -> Result<Entry> {
    // A path from the root is never meant as an id.
    if !what.starts_with('/') && Uuid::try_parse(what).is_ok() {
        return client.restore(what, body).await;
    }
    let path = remote(what)?;
    let found = find(client, async |trashed| Ok(trashed.path == path)).await?;
    let Some(trashed) = found else {
        let error = Error::new(
            Exit::NotFound,
            "nothing that was deleted there is in the trash",
        );
        return Err(error.advise(ADVICE));
    };
    client.restore(&trashed.id, body).await
}
