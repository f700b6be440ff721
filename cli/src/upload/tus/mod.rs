//! To any server that speaks tus 1.0 (<https://tus.io/protocols/resumable-upload>): [`server`] is
//! what it can do, [`call`] its requests, [`transfer`] one upload on it, [`send`] a file, [`stdin`]
//! a stream.

mod call;
mod digest;
mod metadata;
mod send;
mod server;
mod stdin;
mod transfer;

use std::sync::{Arc, atomic::AtomicU64};

use tokio::sync::mpsc;
use url::Url;

use self::{call::Endpoint, server::Server, transfer::PART_BYTES};
use super::{
    Job, NO_FOLDERS, job,
    pipeline::{self, Sender},
    shared::{Item, Shared},
    walk::{Found, LocalFile},
};
use crate::{
    args::UploadArgs,
    client::Client,
    error::{Error, Result},
    output::Out,
    progress::{Done, Outcome},
    state::UploadKey,
};

/// What stands in the place of an account and of a conflict policy in the state of this user: the
/// server knows neither.
const NO_ACCOUNT: &str = "";
const POLICY: &str = "tus";

/// Sends to a tus server.
struct Tus {
    shared: Shared,
    endpoint: Endpoint,
    server: Server,
    /// Bytes of a request; learnt from refusals.
    longest: AtomicU64,
    /// Bytes of the longest request that was taken.
    taken: AtomicU64,
    out: Out,
}

/// `cloudstore upload --protocol tus`
pub(crate) async fn run(
    args: &UploadArgs,
    out: &Out,
    connect: impl FnOnce() -> Result<(Client, Url)>,
) -> Result<()> {
    if args.on_conflict.is_some() {
        let why = "--on-conflict does not go with --protocol tus: the server decides what becomes \
                   of a name that is taken";
        return Err(Error::usage(why).advise("leave one of the two out"));
    }
    let Some(job) = job(args, out).await? else {
        return Ok(());
    };
    let each = match &job {
        Job::Tree(tree) => tree.is_files(),
        Job::Stdin(_) => true,
    };
    let sender = Arc::new(Tus::new(args, out, connect()?, each).await?);
    match job {
        Job::Tree(tree) => pipeline::run(&sender, tree).await,
        Job::Stdin(remote) => {
            Box::pin(sender.send_stdin(&remote)).await?;
            sender.shared.progress.finish()
        }
    }
}

impl Tus {
    async fn new(
        args: &UploadArgs,
        out: &Out,
        (client, url): (Client, Url),
        each: bool,
    ) -> Result<Self> {
        let endpoint = Endpoint { client, url };
        // Also tells early that there is no server.
        let server = endpoint.server().await?;
        let longest = if server.checksum {
            PART_BYTES
        } else {
            u64::MAX
        };
        Ok(Self {
            server,
            longest: AtomicU64::new(longest),
            taken: AtomicU64::new(0),
            endpoint,
            shared: Shared::new(args, out, each)?,
            out: out.clone(),
        })
    }

    fn key(&self, file: &LocalFile) -> UploadKey {
        let endpoint = self.endpoint.url.as_str();
        let (path, stamp, remote) = (&file.path, &file.stamp, &file.remote);
        UploadKey::new(endpoint, NO_ACCOUNT, path, stamp, remote, POLICY)
    }

    /// Frees what the server keeps for an upload that will not be finished.
    async fn terminate(&self, upload: &Url) {
        if self.server.termination {
            self.endpoint.terminate(upload).await;
        }
    }
}

impl Sender for Tus {
    type Work = LocalFile;

    fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn prepare(
        self: Arc<Self>,
        mut findings: mpsc::Receiver<Found>,
        work: mpsc::Sender<LocalFile>,
    ) -> Result<()> {
        while let Some(found) = findings.recv().await {
            match self.shared.sift(found)? {
                Some(Item::File(file)) => {
                    let sent = work.send(file).await;
                    if sent.is_err() {
                        break;
                    }
                }
                Some(Item::EmptyFolder { path, .. }) => {
                    let path = path.display().to_string();
                    self.shared.progress.skipped(&path, NO_FOLDERS);
                }
                None => {}
            }
        }
        Ok(())
    }

    async fn transfer(self: Arc<Self>, file: LocalFile) -> Result<()> {
        match Box::pin(self.deliver(&file)).await {
            Ok(sent) => self.shared.progress.done(&Done {
                local: &file.name(),
                remote: &file.remote,
                size: file.stamp.size,
                blake3: &sent.blake3,
                url: Some(sent.url.as_str()),
                outcome: Outcome::Uploaded,
            }),
            Err(error) => self.shared.failed(&file, error),
        }
    }
}
