//! The process of account-svc.

use std::process::ExitCode;

use clap::Parser;
use cloudstore_node::{Serving, StartError};
use cloudstore_service::auth::Verifier;
use serde::Serialize;

/// Accounts, sessions and the keys that sign access tokens
#[derive(Parser, Serialize)]
#[command(name = "account-svc", version)]
struct Args {
    #[command(flatten)]
    node: cloudstore_node::Config,
    #[command(flatten)]
    account: cloudstore_account::Config,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cloudstore_node::run("account-svc", args.node.clone(), &args, async |node| {
        let channel = node.dbproxy().await?;
        let verifier = Verifier::new(channel.clone(), node.shutdown.clone());
        let router = cloudstore_account::router(
            args.account.clone(),
            channel,
            verifier,
            node.settings.clone(),
            node.shutdown.clone(),
        );
        Ok(Serving::new(router.await.map_err(StartError::service)?))
    })
}
