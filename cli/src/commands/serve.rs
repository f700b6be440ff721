//! `cloudstore serve`: all services in this process.

use clap::Args;

use crate::error::{Error, Exit, Result};

/// `serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    config: cloudstore_standalone::Config,
}

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let served = Box::pin(cloudstore_standalone::run(args.config)).await;
    served.map_err(|error| Error::new(Exit::Failed, error.to_string()).during("cannot serve"))
}
