//! Proof of possession: knowing a hash is not owning a file.
//!
//! A challenge can be answered once, within [`TTL`]. Whoever fails uploads the bytes.

use std::{ops::Range, os::unix::fs::FileExt as _, sync::Arc, time::Duration};

use cloudstore_backends::{
    blob::{BlobStore, ByteStream, Key},
    staging::{self, RemoteCopy, StagedBlobs},
};
use cloudstore_content::{
    Root,
    proof::{Challenge, Prover, matches},
};
use cloudstore_proto::{convert::unsigned, file::Blob};
use cloudstore_service::clock;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{Error, Result, session::Declared};

/// How long a challenge can be answered.
pub(crate) const TTL: Duration = Duration::from_secs(60);
/// Longest content that is asked for as a whole because only its SHA-1 was declared. Both sides
/// read all of it, the server within one request; what is longer is uploaded.
const MAX_WHOLE: u64 = 1 << 30;
/// Windows read side by side from a remote store.
const READS: usize = 8;

/// A challenge that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    challenge: Challenge,
    /// The content to prove possession of.
    pub(crate) candidate: Blob,
    expires_at_ms: i64,
}

impl Pending {
    /// For content that matches what was declared. `None`: it has to be uploaded.
    ///
    /// SHA-1 only finds content. When nothing stronger was declared, the proof must show that it
    /// is the same content, not just that the client has something with the same SHA-1.
    pub(crate) fn new(candidate: Blob, declared: &Declared) -> Option<Self> {
        let ttl_ms = i64::try_from(TTL.as_millis()).unwrap_or(i64::MAX);
        let size = unsigned(candidate.size);
        let challenge = match declared {
            Declared {
                blake3: None,
                sha256: None,
                ..
            } if size > MAX_WHOLE => return None,
            Declared {
                blake3: None,
                sha256: None,
                ..
            } => Challenge::whole(size),
            _ => Challenge::new(size),
        };
        Some(Self {
            challenge,
            candidate,
            expires_at_ms: clock::now_ms() + ttl_ms,
        })
    }

    /// As the client gets it.
    pub(crate) fn view(&self) -> super::ChallengeView {
        super::ChallengeView {
            nonce: self.challenge.nonce,
            windows: self.challenge.windows.clone(),
            expires_at_ms: self.expires_at_ms,
        }
    }
}

/// Where content can be read.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) staged: Arc<dyn StagedBlobs>,
}

impl Content {
    /// Checks an answer. A challenge that cannot be checked counts as failed: the client can
    /// always send the bytes.
    pub(crate) async fn prove(&self, pending: Pending, proof: &[u8; 32]) -> Result<Blob> {
        if clock::now_ms() > pending.expires_at_ms {
            return Err(Error::ProofFailed);
        }
        let expected = self.expected(&pending).await.map_err(|error| {
            tracing::warn!(%error, "cannot read the windows of a challenge");
            Error::ProofFailed
        })?;
        if !matches(&expected, proof) {
            return Err(Error::ProofFailed);
        }
        Ok(pending.candidate)
    }

    async fn expected(&self, pending: &Pending) -> Result<[u8; 32], ReadError> {
        let Pending {
            challenge,
            candidate: blob,
            ..
        } = pending;
        let root = Root::try_from(&blob.blake3[..]).map_err(|_| ReadError::Identity)?;
        if let Ok(staging_id) = Uuid::from_slice(&blob.staging_id) {
            let size = unsigned(blob.size);
            match self.staged.open(&blob.node, staging_id, size, &root).await {
                Ok(copy) => return from_staged(challenge, copy.content).await,
                // It was stored meanwhile.
                Err(staging::Error::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let key = Key::blob(&root);
        if let Some(file) = self.blobs.open_local(&key).await? {
            return from_file(challenge.clone(), Arc::new(file)).await;
        }
        answer(challenge, Origin::Store(self.blobs.clone(), key)).await
    }
}

async fn from_staged(
    challenge: &Challenge,
    content: staging::Content,
) -> Result<[u8; 32], ReadError> {
    match content {
        staging::Content::Local { file, .. } => from_file(challenge.clone(), file).await,
        staging::Content::Remote(copy) => answer(challenge, Origin::Node(copy)).await,
    }
}

/// Where windows are read that are not on this machine.
#[derive(Clone)]
enum Origin {
    Store(Arc<dyn BlobStore>, Key),
    Node(Arc<dyn RemoteCopy>),
}

impl Origin {
    async fn read(self, window: Range<u64>) -> Result<ByteStream, ReadError> {
        Ok(match self {
            Self::Store(store, key) => store.get(&key, window).await?,
            Self::Node(copy) => copy.read(window).await?,
        })
    }
}

/// The answer to a challenge, from windows that are read side by side from elsewhere.
async fn answer(challenge: &Challenge, origin: Origin) -> Result<[u8; 32], ReadError> {
    let mut windows = stream::iter(challenge.windows.clone())
        .map(|(offset, len)| origin.clone().read(offset..offset + len))
        .buffered(READS);
    let mut prover = Prover::new(&challenge.nonce);
    while let Some(mut window) = windows.try_next().await? {
        while let Some(piece) = window.try_next().await? {
            prover.update(&piece);
        }
    }
    Ok(prover.finish())
}

async fn from_file(challenge: Challenge, file: Arc<std::fs::File>) -> Result<[u8; 32], ReadError> {
    let read = spawn_blocking(move || {
        let mut prover = Prover::new(&challenge.nonce);
        for (offset, len) in challenge.windows {
            let mut window = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
            file.read_exact_at(&mut window, offset)?;
            prover.update(&window);
        }
        std::io::Result::Ok(prover.finish())
    });
    Ok(read.await.map_err(std::io::Error::other)??)
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the blob has no valid identity")]
    Identity,
    #[error(transparent)]
    Staged(#[from] staging::Error),
    #[error(transparent)]
    Stored(#[from] cloudstore_backends::blob::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
