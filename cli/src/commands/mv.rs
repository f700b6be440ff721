//! `cloudstore mv`

use super::{Context, remote, target};
use crate::{args::MvArgs, error::Result};

pub(super) async fn run(context: &Context, args: &MvArgs) -> Result<()> {
    let from = remote(&args.from)?;
    let to = target(&from, &args.to)?;
    let moved = context
        .connect()?
        .rename(&from, &to)
        .await
        .map_err(|error| {
            let error = match error.slug() {
                Some("name-conflict") => {
                    error.advise("choose another name, or remove that one first")
                }
                _ => error,
            };
            error.during(format!("cannot move {from} to {to}"))
        })?;
    context.out.record(&moved)?;
    context.out.report(format_args!("moved {from} to {to}"))
}
