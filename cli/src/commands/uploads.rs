//! `cloudstore uploads`

use super::{Context, each::Deed};
use crate::{args::UploadsAction, error::Result, output::human_bytes};

pub(super) async fn run(context: &Context, action: Option<UploadsAction>) -> Result<()> {
    match action {
        None | Some(UploadsAction::List) => list(context).await,
        Some(UploadsAction::Cancel { ids }) => cancel(context, &ids).await,
    }
}

async fn list(context: &Context) -> Result<()> {
    let uploads = context.connect()?.uploads().await?.uploads;
    for upload in &uploads {
        context.out.record(upload)?;
        let unknown = upload.unreachable.then(|| "unknown".to_owned());
        context.out.text(format_args!(
            "{}  {:>12} of {:>12}  expires {}  {}",
            upload.id,
            unknown.unwrap_or_else(|| human_bytes(upload.received)),
            human_bytes(upload.size),
            upload.expires_at,
            upload.path
        ))?;
    }
    if uploads.is_empty() && !context.out.is_json() {
        context.out.note("no unfinished uploads");
    }
    Ok(())
}

async fn cancel(context: &Context, ids: &[String]) -> Result<()> {
    let deed = Deed {
        key: "id",
        verb: "cancel",
        done: "cancelled",
        advice: Some("`cloudstore uploads` shows what there is"),
    };
    let client = context.connect()?;
    deed.each(context, ids, async |id| client.cancel(id).await)
        .await
}
