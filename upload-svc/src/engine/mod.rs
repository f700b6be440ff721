//! The upload engine: every way bytes come in ends here. No HTTP types; the dialects translate.
//!
//! - [`begin`] reservation, instant upload, challenges
//! - [`session`] one unfinished upload: chunks in any order, one writer per chunk
//! - [`direct`] a whole file in one body
//! - [`reservation`] room in the quota for it
//! - [`append`] bytes at the end of an upload, as sequential protocols send them
//! - [`checksum`] what their requests are compared with
//! - [`mod@concat`] an upload made of others
//! - [`commit`] received content becomes a file
//! - [`list`] what an account has not finished
//! - [`made`] files that uploads became
//! - [`sweep`] expiry, and what a crash left behind
//! - [`staged`] finished copies, for the other services
//! - [`body`] how bytes get from the socket to the disk and through the hash

mod append;
mod begin;
pub mod body;
mod challenge;
pub mod checksum;
mod commit;
mod concat;
pub mod direct;
mod error;
mod list;
mod made;
mod prefix;
mod reservation;
pub mod session;
mod sidecar;
mod staged;
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
use cloudstore_content::Root;
use cloudstore_proto::{
    convert::unsigned,
    file,
    upload::{
        self, CancelUploadRequest, GetUploadRequest, InstantPolicy, UploadStatus,
        upload_store_client::UploadStoreClient,
    },
};
use cloudstore_service::{
    Problem, context,
    rpc::{Channel, deadline},
    settings::Settings as LiveSettings,
};
use moka::future::Cache;
use tokio::{
    sync::{OnceCell, Semaphore},
    task::spawn_blocking,
};
use uuid::Uuid;

pub use self::{
    append::Appended,
    begin::{Begin, Begun, ChallengeView},
    checksum::Check,
    error::Error,
    list::Listed,
};
use self::{
    challenge::Content,
    concat::Waiting,
    session::{Declared, Facts, Session},
};
use crate::{drop_box::DropBox, limit::ProbeLimit, peers::Peers};

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Unfinished uploads one account may have. Enough for a batch of large files and its
/// successor; each costs a row, and files once bytes arrive.
const MAX_OPEN_UPLOADS: u32 = 2_000;

/// Contents that are read in full at a time, to take an upload up again or to check a proof. Each
/// keeps a processor or the disk busy; uploads and downloads go on beside them.
const READINGS: usize = 2;
/// How long the free bytes of an account are believed when a small upload fits into them. The
/// transaction that makes the file checks the quota itself.
const FREE_TTL: Duration = Duration::from_secs(1);
/// Accounts whose free bytes are remembered.
const FREE_ACCOUNTS: u64 = 10_000;

/// How long it is remembered that an upload has ended: longer than a replica of the metadata may be
/// behind and still be asked.
const ENDED_TTL: Duration = Duration::from_secs(5 * 60);
/// Uploads remembered for that time, about 200 bytes each.
const ENDED: u64 = 50_000;

/// How the engine behaves; see the service's configuration for meaning and defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name: sessions belong to it.
    pub node: String,
    /// Longest content, bytes.
    pub max_size: u64,
    /// How long an unfinished upload is kept.
    pub lifetime: Duration,
    /// How long what is deleted can be restored.
    pub trash: Duration,
    /// Who may upload instantly.
    pub instant: InstantPolicy,
    /// The account whose unfinished uploads are kept for another time.
    pub(crate) drop_box: Option<DropBox>,
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
    /// What operators change while the service runs.
    pub live: LiveSettings,
    /// The other nodes; `None` when there is only this one. The engine itself calls none of them.
    pub peers: Option<Peers>,
}

/// An upload that was asked for by id.
pub enum Found {
    /// It goes on.
    Open(Arc<Session>),
    /// It became a file.
    Done(Box<Finished>),
}

/// An upload that became a file.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The file as it is now.
    pub file: file::Entry,
    /// Identity of the content that was uploaded; the file may have other content by now. `None`
    /// for uploads of earlier versions.
    pub root: Option<Root>,
    /// Bytes of the upload.
    pub size: u64,
    /// What the dialect that made the upload left there.
    pub note: String,
    /// Unix milliseconds; it may be forgotten a while after that.
    pub expires_at_ms: i64,
}

impl Finished {
    /// Does the file still hold what was uploaded?
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let blob = self.file.blob.as_ref();
        self.root
            .is_none_or(|root| blob.is_some_and(|blob| blob.blake3 == root[..]))
    }
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
    /// Uploads on this node that wait for their parts. Lost with the process: whoever asks for
    /// such an upload makes it go on.
    waiting: Mutex<HashMap<Uuid, Waiting>>,
    /// What direct uploads reserved and nobody took back yet.
    unreleased: Mutex<reservation::Unreleased>,
    /// Whole contents that may be read to verify something.
    readings: Arc<Semaphore>,
    /// Free bytes of accounts, a moment ago.
    free: Cache<Uuid, u64>,
    /// Uploads that ended here a moment ago, each with the position of the metadata that shows it:
    /// an older state would bring the upload back to life.
    ended: Cache<Uuid, String>,
    /// Staged files that are copies of blobs, which they stay until they are removed.
    finished: Cache<Uuid, ()>,
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
            waiting: Mutex::default(),
            unreleased: Mutex::default(),
            free: Cache::builder()
                .max_capacity(FREE_ACCOUNTS)
                .time_to_live(FREE_TTL)
                .build(),
            ended: Cache::builder()
                .max_capacity(ENDED)
                .time_to_live(ENDED_TTL)
                .build(),
            finished: Cache::new(staged::FINISHED),
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

    /// How long an unfinished upload of this account is kept.
    fn lifetime(&self, account: Uuid) -> Duration {
        match self.settings.drop_box {
            Some(drop_box) if drop_box.account == account => drop_box.lifetime,
            _ => self.settings.lifetime,
        }
    }

    /// To dbproxy, for the dialects that are about more than uploads.
    pub(crate) fn channel(&self) -> Channel {
        self.ports.channel.clone()
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
        let upload = self.row(account, id).await?;
        match (upload.status(), upload.file.clone()) {
            (UploadStatus::Completed, Some(file)) => Ok(Found::Done(Box::new(Finished {
                file,
                root: root(&upload),
                size: unsigned(upload.size),
                note: upload.note,
                expires_at_ms: upload.expires_at_ms,
            }))),
            (UploadStatus::Uploading, _) if direct => Err(Error::Busy),
            (UploadStatus::Uploading, _) if upload.node == self.settings.node => {
                self.load(&upload).await.map(Found::Open)
            }
            // Requests for it are streamed through to that node before they come here; this is
            // what slips through.
            (UploadStatus::Uploading, _) => Err(Error::OtherNode(upload.node)),
            _ => Err(Error::Gone),
        }
    }

    async fn row(&self, account: Uuid, id: Uuid) -> Result<upload::Upload> {
        if let Some(position) = self.ended.get(&id).await {
            context::advance(&position);
        }
        let request = GetUploadRequest {
            account_id: bytes(account),
            id: bytes(id),
        };
        let found = self.client().get_upload(deadline(request)).await?;
        Ok(found.into_inner())
    }

    /// Is this upload known to be here without asking anybody?
    pub(crate) fn has(&self, id: Uuid) -> bool {
        self.sessions().contains_key(&id) || self.direct_ids().contains_key(&id)
    }

    /// The node with the bytes of an unfinished upload; `None` when that is this one, and when
    /// there are none (any more).
    ///
    /// # Errors
    /// [`Error::NotFound`] for unknown and foreign ids.
    pub(crate) async fn elsewhere(&self, account: Uuid, id: Uuid) -> Result<Option<String>> {
        let upload = self.row(account, id).await?;
        let elsewhere =
            upload.status() == UploadStatus::Uploading && upload.node != self.settings.node;
        Ok(elsewhere.then_some(upload.node))
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
        let task = context::spawn(async move { slot.get_or_try_init(load).await.cloned() });
        task.await.map_err(std::io::Error::other)?
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
        let task = context::spawn(async move {
            engine.client().cancel_upload(request).await?;
            engine.remember_end(id).await;
            engine.drop_session(id).await
        });
        task.await.map_err(std::io::Error::other)?
    }

    /// After a call that ended an upload: who asks for it from now on sees that.
    async fn remember_end(&self, id: Uuid) {
        if let Some(position) = context::position() {
            self.ended.insert(id, position).await;
        }
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

fn root(upload: &upload::Upload) -> Option<Root> {
    let digests = upload.digests.as_ref()?;
    digests.blake3[..].try_into().ok()
}

fn facts(upload: &upload::Upload) -> Result<Facts> {
    let broken = |_| Error::Metadata(Problem::internal("an upload row is malformed"));
    let digests = upload.digests.clone().unwrap_or_default();
    Ok(Facts {
        id: Uuid::from_slice(&upload.id).map_err(broken)?,
        account: Uuid::from_slice(&upload.account_id).map_err(broken)?,
        path: upload.path.clone(),
        size: (!upload.deferred).then_some(unsigned(upload.size)),
        chunk_size: unsigned(upload.chunk_size).max(cloudstore_content::GROUP_BYTES),
        expires_at_ms: upload.expires_at_ms,
        declared: Declared {
            blake3: digests.blake3[..].try_into().ok(),
            sha256: digests.sha256[..].try_into().ok(),
            sha1: digests.sha1[..].try_into().ok(),
        },
        part: upload.part,
        note: upload.note.clone(),
        reserved: unsigned(upload.size),
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
