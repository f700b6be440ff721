//! `cloudstore tokens`

use cloudstore_proto::http::{CreateToken, CreatedToken, Scope, Token};

use super::{Context, each::Deed};
use crate::{
    args::{CreateTokenArgs, TokensAction},
    error::Result,
};

pub(super) async fn run(context: &Context, action: TokensAction) -> Result<()> {
    match action {
        TokensAction::Create(args) => create(context, args).await,
        TokensAction::Ls => list(context).await,
        TokensAction::Revoke { ids } => revoke(context, &ids).await,
    }
}

/// The token alone goes to stdout, so that a script can catch it; the rest is talk.
async fn create(context: &Context, args: CreateTokenArgs) -> Result<()> {
    let scope = Scope::from(args.scope);
    let body = CreateToken {
        name: args.name.unwrap_or_else(|| name(scope).to_owned()),
        scope,
        expires_in: args.expires,
    };
    let client = context.connect()?;
    let created = client.create_token(&body).await;
    let created = created.map_err(|error| error.during("cannot create a token"))?;
    context.out.record(&created)?;
    let CreatedToken { token, about } = created;
    context.out.text(token)?;
    if !context.out.is_json() {
        context.out.note(format_args!(
            "keep it: it is shown this once; {} ({}) expires {}, `cloudstore tokens revoke {}` ends it",
            about.name,
            name(about.scope),
            about.expires_at,
            about.id
        ));
    }
    Ok(())
}

async fn list(context: &Context) -> Result<()> {
    let listed = context.connect()?.tokens().await;
    let tokens = listed.map_err(|error| error.during("cannot list tokens"))?;
    for token in &tokens.tokens {
        context.out.record(token)?;
        let Token {
            id,
            name: label,
            scope,
            expires_at,
            ..
        } = token;
        let scope = name(*scope);
        context.out.text(format_args!(
            "{id}  {scope:6}  expires {expires_at}  {label}"
        ))?;
    }
    if tokens.tokens.is_empty() && !context.out.is_json() {
        context.out.note("no tokens");
    }
    Ok(())
}

async fn revoke(context: &Context, ids: &[String]) -> Result<()> {
    let deed = Deed {
        key: "id",
        verb: "revoke",
        done: "revoked",
        advice: Some("`cloudstore tokens ls` shows what there is"),
    };
    let client = context.connect()?;
    deed.each(context, ids, async |id| client.revoke_token(id).await)
        .await
}

fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Full => "full",
        Scope::Upload => "upload",
        Scope::Read => "read",
    }
}
