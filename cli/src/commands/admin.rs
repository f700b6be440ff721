//! `cloudstore admin`: what operators do. A key file says who they are, not an account.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use cloudstore_proto::http::admin::{Park, Parked, Replay, Replayed, Transfers};
use cloudstore_service::trust::Identity;
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::{Context, FEW_CONNECTIONS};
use crate::{
    client::{
        answer::Json,
        wire::{Request, Wire},
    },
    error::{Error, Result},
    output::{count, human_bytes},
};

/// Who operators are to the services.
const ADMIN: &str = "admin";
/// The service that knows the transfers.
const WORKER: &str = "transfer-worker";
/// Prefix of everything in Consul's key-value store, unless the services were told another one.
const PREFIX: &str = "cloudstore/";

/// `admin`
#[derive(Debug, Args)]
#[command(after_help = "\
Operators are known by a key. `cloudstore serve` makes one, admin.key in its data directory.
Services that run on their own learn it from Consul: `admin keygen FILE` makes it and prints
the name and the value to store there. `--server` is a transfer-worker then, not the gateway.")]
pub(crate) struct AdminArgs {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an operator's key, or show the public half of one again
    Keygen {
        /// Where the key is kept, readable by its owner only
        file: PathBuf,
        /// Prefix of the services' keys in Consul
        #[arg(long, default_value = PREFIX)]
        prefix: String,
    },
    /// See and steer the way of content to durable storage
    Transfers {
        /// The operator's key
        #[arg(long, value_name = "FILE", env = "CLOUDSTORE_ADMIN_KEY_FILE")]
        key: PathBuf,
        #[command(subcommand)]
        action: TransfersAction,
    },
}

#[derive(Debug, Subcommand)]
enum TransfersAction {
    /// List what is not in durable storage yet, oldest first
    Ls {
        /// Only those in this state
        #[arg(long)]
        state: Option<State>,
    },
    /// Try parked transfers again
    Replay {
        /// BLAKE3 of the content; none: everything that is parked
        blake3: Vec<String>,
    },
    /// Stop trying until told otherwise
    Park {
        /// BLAKE3 of the content
        #[arg(required = true)]
        blake3: Vec<String>,
        /// Why, for whoever looks at it later
        #[arg(long, default_value = "parked by an operator")]
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Waiting,
    Claimed,
    Parked,
}

pub(super) async fn run(context: &Context, args: AdminArgs) -> Result<()> {
    match args.action {
        Action::Keygen { file, prefix } => keygen(context, &file, &prefix),
        Action::Transfers { key, action } => {
            let operator = Operator {
                wire: context.wire(context.named_server(), FEW_CONNECTIONS)?,
                identity: identity(&key)?,
            };
            match action {
                TransfersAction::Ls { state } => list(context, &operator, state).await,
                TransfersAction::Replay { blake3 } => replay(context, &operator, blake3).await,
                TransfersAction::Park { blake3, reason } => {
                    park(context, &operator, Park { blake3, reason }).await
                }
            }
        }
    }
}

fn keygen(context: &Context, file: &Path, prefix: &str) -> Result<()> {
    let made = Identity::create_or_load(ADMIN, file).map_err(|error| Error::at(&error, file))?;
    let (name, value) = made.published();
    let value = String::from_utf8_lossy(&value).into_owned();
    let name = format!("{prefix}{name}");
    context
        .out
        .record(&serde_json::json!({ "key": name, "value": value }))?;
    context.out.text(format_args!("{name} {value}"))
}

/// A key that is there: a mistyped name must not make a new one that nobody knows.
fn identity(file: &Path) -> Result<Identity> {
    std::fs::metadata(file)
        .and_then(|_| Identity::create_or_load(ADMIN, file))
        .map_err(|error| Error::at(&error, file).during("cannot use the operator's key"))
}

/// An operator and the service that is asked.
struct Operator {
    wire: Wire,
    identity: Identity,
}

impl Operator {
    async fn call<T: DeserializeOwned + Send>(&self, mut request: Request) -> Result<T> {
        let token = self.identity.token(WORKER);
        match self.wire.run(&mut request, Some(&token)).await {
            Ok(Json(answer)) => Ok(answer),
            Err(trouble) => Err(trouble.into_error(self.wire.base())),
        }
    }
}

async fn list(context: &Context, operator: &Operator, state: Option<State>) -> Result<()> {
    let mut request = Request::new(Method::GET, "/internal/v1/transfers");
    if let Some(state) = state.and_then(|state| state.to_possible_value()) {
        request = request.query("state", state.get_name());
    }
    let list: Transfers = operator.call(request).await?;
    for transfer in &list.transfers {
        context.out.record(transfer)?;
        context.out.text(format_args!(
            "{}  {:>12}  {:8}  {} failed  on {}  {}",
            transfer.blake3,
            human_bytes(transfer.size),
            format!("{:?}", transfer.state).to_lowercase(),
            transfer.attempts,
            transfer.node,
            transfer.last_error
        ))?;
    }
    if list.transfers.is_empty() && !context.out.is_json() {
        context.out.note(match state {
            None => "everything is in durable storage",
            Some(_) => "there are no such transfers",
        });
    }
    Ok(())
}

async fn replay(context: &Context, operator: &Operator, blake3: Vec<String>) -> Result<()> {
    let request = Request::new(Method::POST, "/internal/v1/transfers/replay");
    let done: Replayed = operator.call(request.json(&Replay { blake3 })?).await?;
    context.out.record(&done)?;
    let number = u64::from(done.replayed);
    context
        .out
        .report(format_args!("{} due again", count(number, "transfer")))
}

async fn park(context: &Context, operator: &Operator, park: Park) -> Result<()> {
    let request = Request::new(Method::POST, "/internal/v1/transfers/park");
    let done: Parked = operator.call(request.json(&park)?).await?;
    context.out.record(&done)?;
    let number = u64::from(done.parked);
    context
        .out
        .report(format_args!("{} parked", count(number, "transfer")))
}
