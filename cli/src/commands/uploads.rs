//! `cloudstore uploads`

use super::Context;
use crate::{
    args::UploadsAction,
    error::{Error, Result},
    output::human_bytes,
};

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

/// Cancels what it can; the exit code is that of the first failure.
async fn cancel(context: &Context, ids: &[String]) -> Result<()> {
    let client = context.connect()?;
    let mut failure = None;
    for id in ids {
        match client.cancel(id).await {
            Ok(()) => {
                context
                    .out
                    .record(&serde_json::json!({ "id": id, "status": "cancelled" }))?;
                context.out.report(format_args!("cancelled {id}"))?;
            }
            Err(error) if error.ends_the_run() => return Err(error),
            Err(error) => {
                let error = error.advise("`cloudstore uploads` shows what there is");
                let error = error.during(format!("cannot cancel {id}"));
                context.out.complain(&error);
                failure.get_or_insert(Error::told(error.exit()));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}
