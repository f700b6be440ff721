//! `cloudstore share`

use cloudstore_proto::http::shares::{CreateShare, CreatedShare, EntryKind, Share};

use super::{Context, each::Deed, remote};
use crate::{
    args::{CreateShareArgs, ShareAction},
    error::Result,
    terminal,
};

pub(super) async fn run(context: &Context, action: ShareAction) -> Result<()> {
    match action {
        ShareAction::Create(args) => create(context, args).await,
        ShareAction::Ls => list(context).await,
        ShareAction::Revoke { ids } => revoke(context, &ids).await,
    }
}

/// The address alone goes to stdout, so that a script can catch it; the rest is talk.
async fn create(context: &Context, args: CreateShareArgs) -> Result<()> {
    let path = remote(&args.path)?;
    let client = context.connect()?;
    let password = match args.password_stdin {
        true => Some(terminal::password(true, true).await?),
        false => None,
    };
    let body = CreateShare {
        path,
        expires_in: args.expires,
        password,
        max_downloads: args.max_downloads,
        uploads: args.uploads,
    };
    let created = client.create_share(&body).await;
    let created = created.map_err(|error| error.during(format!("cannot share {}", body.path)))?;
    context.out.record(&created)?;
    let CreatedShare { url, about, .. } = created;
    context.out.text(url)?;
    if !context.out.is_json() {
        context.out.note(format_args!(
            "keep it: it is shown this once; `cloudstore share revoke {}` ends it",
            about.id
        ));
    }
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let listed = context.connect()?.shares().await;
    let shares = listed.map_err(|error| error.during("cannot list shares"))?;
    for share in &shares.shares {
        context.out.record(share)?;
        context.out.text(line(share))?;
    }
    if shares.shares.is_empty() && !context.out.is_json() {
        context.out.note("no shares");
    }
    Ok(())
}

/// A share in one line, its path at the end.
fn line(share: &Share) -> String {
    let downloads = match share.max_downloads {
        _ if share.uploads => "collects uploads".to_owned(),
        Some(max) => format!("{} of {max} downloads", share.downloads),
        None => format!("{} downloads", share.downloads),
    };
    let until = share.expires_at.as_deref().unwrap_or("never");
    let password = if share.has_password { "  password" } else { "" };
    let slash = match share.kind {
        EntryKind::Folder => "/",
        EntryKind::File => "",
    };
    format!(
        "{}  {downloads}  expires {until}{password}  {}{slash}",
        share.id, share.path
    )
}

async fn revoke(context: &Context, ids: &[String]) -> Result<()> {
    let deed = Deed {
        key: "id",
        verb: "revoke",
        done: "revoked",
        advice: Some("`cloudstore share ls` shows what there is"),
    };
    let client = context.connect()?;
    deed.each(context, ids, async |id| client.revoke_share(id).await)
        .await
}
