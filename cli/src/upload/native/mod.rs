//! To a cloudstore server over its own API: [`prepare`] hashes files and asks the server in batches
//! what it has already, [`send`] transfers what it has not.

mod prepare;
mod send;
mod stdin;

use std::sync::Arc;

use cloudstore_proto::http::{File, OnConflict};
use tokio::sync::{Semaphore, mpsc};

use self::prepare::Work;
use super::{
    Job, job,
    pipeline::{self, Sender},
    shared::{Shared, throttle},
    walk::{Found, LocalFile},
};
use crate::{
    args::{Conflict, UploadArgs},
    client::Client,
    error::Result,
    output::Out,
    progress::{Direction, Done, Outcome, Progress},
    state::UploadKey,
};

/// Sends to a cloudstore server.
struct Native {
    shared: Shared,
    client: Client,
    account: String,
    on_conflict: OnConflict,
    /// Requests with content; chunks of one file compete with other files.
    streams: Semaphore,
}

/// `cloudstore upload`
pub(crate) async fn run(
    args: &UploadArgs,
    out: &Out,
    connect: impl FnOnce() -> Result<Client>,
) -> Result<()> {
    match job(args, out).await? {
        None => Ok(()),
        Some(Job::Stdin(to)) => {
            let progress = Arc::new(Progress::new(out, Direction::Upload, true));
            let policy = on_conflict(args);
            stdin::send(&connect()?, &to, policy, &progress, throttle(args)).await?;
            progress.finish()
        }
        Some(Job::Tree(tree)) => {
            let each = tree.is_files();
            let sender = Arc::new(Native::new(args, out, connect()?, each).await?);
            pipeline::run(&sender, tree).await
        }
    }
}

fn on_conflict(args: &UploadArgs) -> OnConflict {
    args.on_conflict.unwrap_or(Conflict::Fail).into()
}

impl Native {
    async fn new(args: &UploadArgs, out: &Out, client: Client, each: bool) -> Result<Self> {
        // Also tells early that there is no login or no server.
        let account = client.me().await?.id;
        let shared = Shared::new(args, out, each)?;
        Ok(Self {
            client,
            account,
            on_conflict: on_conflict(args),
            streams: Semaphore::new(shared.transfers),
            shared,
        })
    }

    fn key(&self, file: &LocalFile) -> UploadKey {
        let policy = match self.on_conflict {
            OnConflict::Fail => "fail",
            OnConflict::Replace => "replace",
            OnConflict::Rename => "rename",
        };
        let server = self.client.base().as_str();
        UploadKey::new(
            server,
            &self.account,
            &file.path,
            &file.stamp,
            &file.remote,
            policy,
        )
    }

    fn succeeded(&self, local: &LocalFile, file: &File) -> Result<()> {
        let outcome = if file.instant {
            Outcome::Instant
        } else {
            Outcome::Uploaded
        };
        self.shared.progress.done(&Done {
            local: &local.name(),
            remote: &file.path,
            size: file.size,
            blake3: &file.blake3,
            url: None,
            outcome,
        })
    }
}

impl Sender for Native {
    type Work = Work;

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn prepare(
        self: Arc<Self>,
        findings: mpsc::Receiver<Found>,
        work: mpsc::Sender<Work>,
    ) -> Result<()> {
        prepare::prepare(self, findings, work).await
    }

    async fn transfer(self: Arc<Self>, work: Work) -> Result<()> {
        match work {
            Work::File(hashed, start) => match Box::pin(self.deliver(&hashed, start)).await {
                Ok(file) => self.succeeded(&hashed.file, &file),
                Err(error) => self.shared.failed(&hashed.file, error),
            },
            Work::Folder { local, remote } => {
                match self.client.create_folder(&remote, true).await {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        let error = error.during(format!("cannot create the folder {remote}"));
                        self.shared.progress.failed(&local, &remote, error)
                    }
                }
            }
        }
    }
}
