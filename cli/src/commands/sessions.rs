//! `cloudstore sessions`

use super::{Context, each::Deed};
use crate::{args::SessionsAction, error::Result};

pub(super) async fn run(context: &Context, action: Option<SessionsAction>) -> Result<()> {
    match action {
        None | Some(SessionsAction::Ls) => list(context).await,
        Some(SessionsAction::Revoke { ids }) => revoke(context, &ids).await,
    }
}

async fn list(context: &Context) -> Result<()> {
    let listed = context.connect()?.sessions().await;
    let listed = listed.map_err(|error| error.during("cannot list sessions"))?;
    for session in &listed.sessions {
        context.out.record(session)?;
        let this = if session.current { "  this one" } else { "" };
        context.out.text(format_args!(
            "{}  since {}  last used {}{this}  {}",
            session.id, session.created_at, session.last_used_at, session.client
        ))?;
    }
    Ok(())
}

async fn revoke(context: &Context, ids: &[String]) -> Result<()> {
    let deed = Deed {
        key: "id",
        verb: "revoke",
        done: "revoked",
        advice: Some("`cloudstore sessions` shows what there is"),
    };
    let client = context.connect()?;
    deed.each(context, ids, async |id| client.revoke_session(id).await)
        .await
}
