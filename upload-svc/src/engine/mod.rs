//! The upload engine: every way bytes come in ends here. No HTTP types; the dialects translate.
//!
//! - [`begin`] reservation, instant upload, challenges
//! - [`session`] one unfinished upload: chunks in any order, one writer per chunk
//! - [`direct`] a whole file in one body
//! - [`commit`] received content becomes a file
//! - [`sweep`] expiry, and what a crash left behind
//! - [`body`] how bytes get from the socket to the disk and through the hash

mod begin;
pub mod body;
mod challenge;
mod commit;
pub mod direct;
mod error;
mod prefix;
pub mod session;
mod sidecar;
mod sweep;

use std::{
    collections::HashMap,
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cloudstore_backends::{
    blob::BlobStore,
    flush::Flusher,
    queue::Queue,
    staging::{Layout, StagedBlobs},
};
use cloudstore_proto::{
    convert::unsigned,
    file,
    upload::{
        self, CancelUploadRequest, GetUploadRequest, InstantPolicy, ListUploadsRequest,
        UploadStatus, upload_store_client::UploadStoreClient,
    },
};
use cloudstore_service::{
    Problem,
    rpc::{Channel, deadline},
};
use moka::future::Cache;
use tokio::{
    sync::{OnceCell, Semaphore},
    task::spawn_blocking,
};
use uuid::Uuid;

pub use self::{
    begin::{Begin, Begun, ChallengeView},
    error::Error,
};
use self::{
    challenge::Content,
    session::{Declared, Facts, Session},
};
use crate::limit::ProbeLimit;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Unfinished uploads one account may have. Enough for a batch of large files and its
/// successor; each costs a row, and files once bytes arrive.
const MAX_OPEN_UPLOADS: u32 = 2_000;
/// Unfinished uploads asked for at a time.
const LIST_PAGE: u32 = 1_000;

/// Contents that are read in full at a time, to take an upload up again or to check a proof. Each
/// keeps a processor or the disk busy; uploads and downloads go on beside them.
const READINGS: usize = 2;
/// How long the free bytes of an account are believed when a small upload fits into them. The
/// transaction that makes the file checks the quota itself.
const FREE_TTL: Duration = Duration::from_secs(1);
/// Accounts whose free bytes are remembered.
const FREE_ACCOUNTS: u64 = 10_000;

/// How the engine behaves; see the service's configuration for meaning and defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name: sessions belong to it.
    pub node: String,
    /// Longest content, bytes.
    pub max_size: u64,
    /// How long an unfinished upload is kept.
    pub lifetime: Duration,
    /// Who may upload instantly.
    pub instant: InstantPolicy,
    /// Files no longer than this are sent in one request when batched.
    pub direct_limit: u64,
}

/// Everything the engine stands on.
pub struct Ports {
    /// To dbproxy.
    pub channel: Channel,
    /// Durable content, read for challenges.
    pub blobs: Arc<dyn BlobStore>,
    /// Staged content of every node, read for challenges.
    pub staged: Arc<dyn StagedBlobs>,
    /// Where finished content is announced.
    pub queue: Arc<dyn Queue>,
    /// The group commit of this machine's disks.
    pub flusher: Flusher,
}

/// An upload that was asked for by id.
pub enum Found {
    /// It goes on.
    Open(Arc<Session>),
    /// It became this file.
    Done(Box<file::Entry>),
}

type Slot = Arc<OnceCell<Arc<Session>>>;

/// The uploads of one staging node.
pub struct Engine {
    settings: Settings,
    layout: Layout,
    dir: Arc<File>,
    ports: Ports,
    limit: ProbeLimit,
    sessions: Mutex<HashMap<Uuid, Slot>>,
    /// Direct uploads under way, with the account where the length is unknown; the sweep leaves
    /// their files alone.
    direct: Mutex<HashMap<Uuid, Option<Uuid>>>,
    /// Whole contents that may be read to verify something.
    readings: Arc<Semaphore>,
    /// Free bytes of accounts, a moment ago.
    free: Cache<Uuid, u64>,
    /// A flush failed: this node's disk cannot be trusted any more.
    failed: AtomicBool,
}

impl Engine {
    pub(crate) fn open(settings: Settings, layout: Layout, ports: Ports) -> Result<Arc<Self>> {
        layout.create()?;
        let dir = Arc::new(File::open(layout.dir())?);
        Ok(Arc::new(Self {
            settings,
            layout,
            dir,
            ports,
            limit: ProbeLimit::default(),
            sessions: Mutex::default(),
            direct: Mutex::default(),
            free: Cache::builder()
                .max_capacity(FREE_ACCOUNTS)
                .time_to_live(FREE_TTL)
                .build(),
            readings: Arc::new(Semaphore::new(READINGS)),
            failed: AtomicBool::new(false),
        }))
    }

    /// For readiness: an error once this node's disk has failed a flush.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn check(&self) -> std::result::Result<(), String> {
        if self.failed.load(Ordering::Relaxed) {
            return Err("a flush to the staging disk failed; replace the disk and restart".into());
        }
        Ok(())
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn client(&self) -> UploadStoreClient<Channel> {
        UploadStoreClient::new(self.ports.channel.clone())
            .max_decoding_message_size(cloudstore_service::rpc::MAX_MESSAGE)
            .max_encoding_message_size(cloudstore_service::rpc::MAX_MESSAGE)
    }

    fn content(&self) -> Content {
        Content {
            blobs: self.ports.blobs.clone(),
            staged: self.ports.staged.clone(),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Uuid, Slot>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn direct_ids(&self) -> MutexGuard<'_, HashMap<Uuid, Option<Uuid>>> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An upload of this account, whatever instance created it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for unknown and foreign ids, [`Error::Gone`] for cancelled and expired
    /// ones, [`Error::OtherNode`] for uploads whose bytes are elsewhere.
    pub async fn find(&self, account: Uuid, id: Uuid) -> Result<Found> {
        let loaded = self
            .sessions()
            .get(&id)
            .and_then(|slot| slot.get().cloned());
        if let Some(session) = loaded {
            let own = session.facts().account == account;
            return match own {
                true if session.is_expired() => Err(Error::Gone),
                true => Ok(Found::Open(session)),
                false => Err(Error::NotFound),
            };
        }
        let direct = self.direct_ids().contains_key(&id);
        let request = GetUploadRequest {
            account_id: bytes(account),
            id: bytes(id),
        };
        let upload = self
            .client()
            .get_upload(deadline(request))
            .await?
            .into_inner();
        match (upload.status(), upload.file.clone()) {
            (UploadStatus::Completed, Some(file)) => Ok(Found::Done(Box::new(file))),
            (UploadStatus::Uploading, _) if direct => Err(Error::Busy),
            (UploadStatus::Uploading, _) if upload.node == self.settings.node => {
                self.load(&upload).await.map(Found::Open)
            }
            // An instance that is not the owner will stream the request through to it.
            (UploadStatus::Uploading, _) => Err(Error::OtherNode(upload.node)),
            _ => Err(Error::Gone),
        }
    }

    /// Loads an upload from its files, once, however many requests ask for it. A task of its own:
    /// a request that goes away must not leave a loading behind that repairs the files while the
    /// next request's session writes them.
    async fn load(&self, upload: &upload::Upload) -> Result<Arc<Session>> {
        let facts = facts(upload)?;
        let slot = self.sessions().entry(facts.id).or_default().clone();
        let (layout, readings) = (self.layout.clone(), self.readings.clone());
        let load = || async move {
            let _turn = readings.acquire_owned().await;
            let loaded = spawn_blocking(move || Session::load(facts, layout)).await;
            loaded
                .map_err(std::io::Error::other)?
                .map(Arc::new)
                .map_err(Error::from)
        };
        let task = tokio::spawn(async move { slot.get_or_try_init(load).await.cloned() });
        task.await.map_err(std::io::Error::other)?
    }

    /// The account's unfinished uploads whose bytes are on this node, oldest first.
    ///
    /// # Errors
    /// As [`Engine::find`].
    pub async fn list(&self, account: Uuid) -> Result<Vec<Arc<Session>>> {
        let uploads = self.list_rows(account).await?;
        let mut sessions = Vec::with_capacity(uploads.len());
        for upload in uploads
            .into_iter()
            .filter(|upload| upload.node == self.settings.node)
        {
            let id = Uuid::from_slice(&upload.id).map_err(|_| Error::NotFound)?;
            match self.find(account, id).await {
                Ok(Found::Open(session)) => sessions.push(session),
                // It ended, or a direct upload is under way and cannot be joined.
                Ok(Found::Done(_)) | Err(Error::NotFound | Error::Gone | Error::Busy) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sessions)
    }

    /// All of them: there are [`MAX_OPEN_UPLOADS`] at most.
    async fn list_rows(&self, account: Uuid) -> Result<Vec<upload::Upload>> {
        let mut uploads: Vec<upload::Upload> = Vec::new();
        loop {
            let request = ListUploadsRequest {
                account_id: bytes(account),
                after: uploads
                    .last()
                    .map(|last| last.id.clone())
                    .unwrap_or_default(),
                limit: LIST_PAGE,
            };
            let page = self.client().list_uploads(deadline(request)).await?;
            let page = page.into_inner().uploads;
            let last = page.len() < LIST_PAGE as usize;
            uploads.extend(page);
            if last {
                return Ok(uploads);
            }
        }
    }

    /// Receives one chunk; see [`Session::put_chunk`].
    ///
    /// # Errors
    /// As [`Engine::find`] and [`Session::put_chunk`].
    pub async fn put_chunk(
        &self,
        session: &Arc<Session>,
        index: u64,
        content_length: Option<u64>,
        check: Option<[u8; 32]>,
        body: impl futures::Stream<Item = Result<Bytes, body::BodyError>> + Unpin,
    ) -> Result<()> {
        session
            .put_chunk(index, content_length, check, body)
            .await?;
        prefix::catch_up(session, session.files().await?);
        Ok(())
    }

    /// Ends an upload and drops what was received of it.
    ///
    /// # Errors
    /// [`Error::NotFound`] for unknown and foreign ids, [`Error::Gone`] when it is completed.
    pub async fn cancel(self: &Arc<Self>, account: Uuid, id: Uuid) -> Result<()> {
        let request = deadline(CancelUploadRequest {
            account_id: bytes(account),
            id: bytes(id),
        });
        let engine = self.clone();
        // A task of its own: without its reservation the upload must not go on in memory because
        // the client hung up in between.
        let task = tokio::spawn(async move {
            engine.client().cancel_upload(request).await?;
            engine.drop_session(id).await
        });
        task.await.map_err(std::io::Error::other)?
    }

    /// Forgets a session that ended and removes its files.
    async fn drop_session(&self, id: Uuid) -> Result<()> {
        let slot = self.sessions().remove(&id);
        if let Some(session) = slot.and_then(|slot| slot.get().cloned()) {
            session.close();
        }
        let layout = self.layout.clone();
        Ok(spawn_blocking(move || layout.remove(id))
            .await
            .map_err(std::io::Error::other)??)
    }
}

fn facts(upload: &upload::Upload) -> Result<Facts> {
    let broken = |_| Error::Metadata(Problem::internal("an upload row is malformed"));
    let digests = upload.digests.clone().unwrap_or_default();
    Ok(Facts {
        id: Uuid::from_slice(&upload.id).map_err(broken)?,
        account: Uuid::from_slice(&upload.account_id).map_err(broken)?,
        path: upload.path.clone(),
        size: unsigned(upload.size),
        chunk_size: unsigned(upload.chunk_size).max(cloudstore_content::GROUP_BYTES),
        expires_at_ms: upload.expires_at_ms,
        declared: Declared {
            blake3: digests.blake3[..].try_into().ok(),
            sha256: digests.sha256[..].try_into().ok(),
            sha1: digests.sha1[..].try_into().ok(),
        },
    })
}

fn bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn optional<const N: usize>(digest: &Option<[u8; N]>) -> Bytes {
    digest
        .as_ref()
        .map(|digest| Bytes::copy_from_slice(digest))
        .unwrap_or_default()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
