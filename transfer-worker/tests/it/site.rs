//! Everything around the worker: metadata, disks, a queue, a clock that can be moved.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cloudstore_backends::{
    blob::{BlobStore, Key, Stat, fs::FsBlobStore},
    flush::Flusher,
    queue::{Job, Queue as _, memory::MemoryQueue},
    staging::{Layout, LocalStaging, StagedBlobs, VALUES_AT},
};
use cloudstore_content::{
    Root,
    tree::{TreeHasher, group_count},
};
use cloudstore_dbproxy::{Clock, SqliteStore};
use cloudstore_proto::{
    account::{CreateAccountRequest, account_store_client::AccountStoreClient},
    file::{BlobState, DeleteRequest, Entry, StatRequest, file_store_client::FileStoreClient},
    transfer::{
        ListTransfersRequest, ParkTransfersRequest, ReplayTransfersRequest, Transfer,
        TransferState, transfer_store_client::TransferStoreClient,
    },
    upload::{
        CommitUploadRequest, CommitUploadResponse, Digests, OnConflict,
        upload_store_client::UploadStoreClient,
    },
};
use cloudstore_service::{Result, clock::now_ms, rpc};
use cloudstore_transfer::Config;
use futures::TryStreamExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Code;
use uuid::Uuid;

use crate::store::Faulty;

/// Long enough for the slowest machine; only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// dbproxy has no events to wait for, so it is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// The machine's clock, moved.
#[derive(Default)]
struct MovedClock(AtomicI64);

impl Clock for MovedClock {
    fn now_ms(&self) -> i64 {
        now_ms() + self.0.load(Ordering::SeqCst)
    }
}

/// A finished upload.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) path: String,
    pub(crate) root: Root,
    pub(crate) staging_id: Uuid,
    pub(crate) content: Vec<u8>,
}

pub(crate) struct Site {
    dir: PathBuf,
    /// Removes the directory in the end, unless it belongs to somebody else.
    _temporary: Option<tempfile::TempDir>,
    pub(crate) layout: Layout,
    pub(crate) disk: Arc<dyn BlobStore>,
    pub(crate) staged: Arc<dyn StagedBlobs>,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) channel: rpc::Channel,
    account: Uuid,
    clock: Arc<MovedClock>,
    _stop: DropGuard,
}

/// A worker that runs.
pub(crate) struct Running {
    pub(crate) store: Arc<Faulty>,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Running {
    /// Shuts the worker down and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// Fast where time does not matter, slow where it does.
pub(crate) fn config() -> Config {
    Config {
        sweep_every: Duration::from_millis(20),
        clean_every: Duration::from_millis(20),
        retry_base: Duration::from_millis(4),
        ..Config::default()
    }
}

fn id(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

/// Content that repeats nowhere, the same for the same seed.
pub(crate) fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut content = vec![0; size];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut content);
    content
}

impl Site {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut site = Self::at(dir.path()).await;
        site._temporary = Some(dir);
        site
    }

    /// In a directory in which there may have been one before.
    pub(crate) async fn at(dir: &Path) -> Self {
        let layout = Layout::new(dir.join("staging"));
        layout.create().unwrap();
        let disk = FsBlobStore::open(dir.join("blobs"), Flusher::new()).unwrap();
        let clock = Arc::new(MovedClock::default());
        let metadata = dir.join("metadata.sqlite");
        let was_there = metadata.exists();
        let store = SqliteStore::open_with(metadata, clock.clone())
            .await
            .unwrap();
        let (channel, incoming) = rpc::in_memory();
        let stop = CancellationToken::new();
        tokio::spawn(cloudstore_dbproxy::serve(store, incoming, stop.clone()));
        let account = Uuid::from_u128(1);
        let request = CreateAccountRequest {
            id: id(account),
            username: "someone".to_owned(),
            password_hash: "none".to_owned(),
            email: String::new(),
            display_name: String::new(),
            quota_bytes: 1 << 40,
        };
        let created = AccountStoreClient::new(channel.clone())
            .create_account(request)
            .await;
        assert!(created.is_ok() || was_there, "{created:?}");
        Self {
            dir: dir.to_owned(),
            _temporary: None,
            staged: Arc::new(LocalStaging::new(layout.clone())),
            layout,
            disk: Arc::new(disk),
            queue: Arc::new(MemoryQueue::new(10_000)),
            channel,
            account,
            clock,
            _stop: stop.drop_guard(),
        }
    }

    /// Starts a worker on a store that can be told to fail.
    pub(crate) fn worker(&self, config: Config) -> Running {
        self.worker_with(config, |_| ())
    }

    /// The same, with a fault that is there from the start.
    pub(crate) fn worker_with(&self, config: Config, fault: impl FnOnce(&Faulty)) -> Running {
        let store = Arc::new(Faulty::new(self.disk.clone()));
        fault(&store);
        let stop = CancellationToken::new();
        let staged = self.staged.clone();
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        let run =
            cloudstore_transfer::run(config, channel, store.clone(), staged, queue, stop.clone());
        Running {
            store,
            stop,
            task: tokio::spawn(run),
        }
    }

    /// Finishes an upload without telling the worker.
    pub(crate) async fn upload(&self, path: &str, content: Vec<u8>) -> Upload {
        self.upload_on("here", path, content).await
    }

    /// The same, on a node.
    pub(crate) async fn upload_on(&self, node: &str, path: &str, content: Vec<u8>) -> Upload {
        let mut hasher = TreeHasher::new();
        hasher.update(&content);
        let outboard = hasher.finish();
        let staging_id = Uuid::now_v7();
        std::fs::write(self.layout.data(staging_id), &content).unwrap();
        if group_count(outboard.size()) > 1 {
            let mut side = vec![0; usize::try_from(VALUES_AT).unwrap()];
            side.extend(outboard.encode());
            std::fs::write(self.layout.side(staging_id), side).unwrap();
        }
        let blake3 = Bytes::copy_from_slice(outboard.root());
        let request = CommitUploadRequest {
            precondition: None,
            id: id(Uuid::now_v7()),
            account_id: id(self.account),
            reserved: false,
            path: path.to_owned(),
            size: i64::try_from(content.len()).unwrap(),
            on_conflict: OnConflict::Replace.into(),
            mtime_ms: 0,
            media_type: String::new(),
            content: Some(Digests {
                blake3,
                ..Digests::default()
            }),
            node: node.to_owned(),
            staging_id: id(staging_id),
        };
        let committed = self.commit(request).await;
        if !committed.took_staged_copy {
            self.layout.remove(staging_id).unwrap();
        }
        Upload {
            path: path.to_owned(),
            root: *outboard.root(),
            staging_id,
            content,
        }
    }

    /// As upload-svc does: content that is being deleted this moment is committed a little later.
    async fn commit(&self, request: CommitUploadRequest) -> CommitUploadResponse {
        let mut uploads = UploadStoreClient::new(self.channel.clone());
        let mut again = tokio::time::interval(ASK_AGAIN);
        loop {
            match uploads.commit_upload(request.clone()).await {
                Err(status) if status.code() == Code::Aborted => again.tick().await,
                committed => return committed.unwrap().into_inner(),
            };
        }
    }

    /// Tells the worker.
    pub(crate) async fn wake(&self, root: &Root) {
        self.queue
            .publish(&Job {
                blake3: hex::encode(root),
                traceparent: None,
            })
            .await
            .unwrap();
    }

    /// Moves the time of leases, due times and graces.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock
            .0
            .fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) async fn stat(&self, path: &str) -> Entry {
        let request = StatRequest {
            owner: id(self.account),
            path: path.to_owned(),
        };
        FileStoreClient::new(self.channel.clone())
            .stat(request)
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn delete(&self, path: &str) {
        let request = DeleteRequest {
            keep_ms: 0,
            precondition: None,
            owner: id(self.account),
            path: path.to_owned(),
        };
        FileStoreClient::new(self.channel.clone())
            .delete(request)
            .await
            .unwrap();
    }

    pub(crate) async fn transfers(&self, state: TransferState) -> Vec<Transfer> {
        let request = ListTransfersRequest {
            state: state.into(),
            limit: 1_000,
        };
        let mut transfers = TransferStoreClient::new(self.channel.clone());
        transfers
            .list_transfers(request)
            .await
            .unwrap()
            .into_inner()
            .transfers
    }

    /// Keeps workers away from an upload.
    pub(crate) async fn park(&self, upload: &Upload) {
        let request = ParkTransfersRequest {
            blake3: vec![Bytes::copy_from_slice(&upload.root)],
            reason: "a test".to_owned(),
        };
        let mut transfers = TransferStoreClient::new(self.channel.clone());
        let parked = transfers.park_transfers(request).await.unwrap();
        assert_eq!(parked.into_inner().parked, 1);
    }

    pub(crate) async fn replay(&self) -> u32 {
        let mut transfers = TransferStoreClient::new(self.channel.clone());
        let request = ReplayTransfersRequest { blake3: Vec::new() };
        transfers
            .replay_transfers(request)
            .await
            .unwrap()
            .into_inner()
            .replayed
    }

    pub(crate) async fn state(&self, upload: &Upload) -> BlobState {
        self.stat(&upload.path).await.blob.unwrap().state()
    }

    /// Waits until a file is in durable storage, and checks that it really is.
    pub(crate) async fn stored(&self, upload: &Upload) {
        eventually(async || self.state(upload).await == BlobState::Stored).await;
        let len = upload.content.len() as u64;
        let key = Key::blob(&upload.root);
        assert_eq!(self.disk.stat(&key).await.unwrap(), Some(Stat { len }));
        if len > 0 {
            let stream = self.disk.get(&key, 0..len).await.unwrap();
            let read: Vec<Bytes> = stream.try_collect().await.unwrap();
            assert!(read.concat() == upload.content);
        }
        let outboard = self.disk.stat(&Key::outboard(&upload.root)).await.unwrap();
        let groups = outboard.map_or(1, |outboard| outboard.len / 32);
        assert_eq!(groups, group_count(len));
    }

    /// The store's directory.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    pub(crate) fn object(&self, upload: &Upload) -> PathBuf {
        self.blobs().join(Key::blob(&upload.root).as_str())
    }

    pub(crate) fn outboard(&self, upload: &Upload) -> PathBuf {
        self.blobs().join(Key::outboard(&upload.root).as_str())
    }

    pub(crate) fn is_staged(&self, upload: &Upload) -> bool {
        self.layout.data(upload.staging_id).exists()
    }
}

/// Waits for a condition that nothing announces.
pub(crate) async fn eventually(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        let mut again = tokio::time::interval(ASK_AGAIN);
        while !condition().await {
            again.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("this should have happened by now");
}
