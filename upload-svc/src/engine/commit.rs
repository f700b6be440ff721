//! Received content becomes a file: verify, flush, one transaction, wake the transfer up.
//!
//! The order is what makes an acknowledged completion survive loss of power: data, sidecar and
//! directory are on the disk before the database knows of them, and the client is told last. It
//! runs as a task of its own, so that a client that hangs up cannot stop it half-way.

use std::{fs::File, io, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use cloudstore_backends::queue::Job;
use cloudstore_content::Outboard;
use cloudstore_proto::{
    file::Entry,
    upload::{BlockInstantRequest, CommitUploadRequest, CommitUploadResponse, Digests, OnConflict},
};
use cloudstore_service::{Kind, Problem, context, rpc::deadline};
use tokio::{task::spawn_blocking, time};
use uuid::Uuid;

use super::{
    Engine, Error, Found, Result, bytes, millis, prefix,
    session::{Declared, Files, Session},
    signed,
};

/// Larger files are flushed on their own before they join a round of the group commit, so that
/// small files never wait for gigabytes of somebody else's.
pub(super) const FLUSH_ALONE: u64 = 4 << 20;
/// How long an account gets no instant upload of others' content after a failed proof: an honest
/// client sends the bytes meanwhile, a guess a minute leads nowhere.
const GUESSING_PAUSE: Duration = Duration::from_secs(60);
/// First pause before asking again while the same content is being deleted; doubles.
const DELETING_PAUSE: Duration = Duration::from_millis(20);
/// Pauses for content that is being deleted, about 10 s in all.
const DELETING_TRIES: u32 = 9;

impl Engine {
    /// Completes an upload. Completing a completed upload gives the same file again.
    ///
    /// # Errors
    /// [`Error::Incomplete`], [`Error::DigestMismatch`], [`Error::NoSpace`], [`Error::Io`], and
    /// dbproxy's refusals (a taken name, a deleted account ...); the upload stays as it was.
    pub async fn complete(self: &Arc<Self>, session: &Arc<Session>) -> Result<Entry> {
        let (engine, session) = (self.clone(), session.clone());
        let task = context::spawn(async move { engine.complete_now(&session).await });
        task.await.map_err(io::Error::other)?
    }

    async fn complete_now(&self, session: &Arc<Session>) -> Result<Entry> {
        let _turn = session.completion.lock().await;
        let facts = session.facts();
        if !self.sessions().contains_key(&facts.id) {
            // The request before this one completed it.
            return match self.find(facts.account, facts.id).await? {
                Found::Done(done) => Ok(done.file),
                Found::Open(_) => Err(Error::Busy),
            };
        }
        let values = session.complete_values()?;
        let size = facts.size.ok_or(Error::LengthUnknown)?;
        let outboard = spawn_blocking(move || Outboard::from_values(size, values)).await;
        let root = *outboard.map_err(io::Error::other)?.root();
        if facts
            .declared
            .blake3
            .is_some_and(|declared| declared != root)
        {
            return Err(Error::DigestMismatch("blake3"));
        }
        let files = session.files().await?;
        let found = prefix::verify(session, files.clone()).await?;
        if let Err(error) = self.flush(&files, size).await {
            session.forget_all();
            return Err(error);
        }
        let content = Declared {
            blake3: Some(root),
            sha256: found.sha256,
            sha1: found.sha1,
        };
        let request = CommitUploadRequest {
            id: bytes(facts.id),
            account_id: bytes(facts.account),
            reserved: true,
            size: signed(size),
            node: self.settings.node.clone(),
            staging_id: bytes(facts.id),
            ..content_request(&content)
        };
        let committed = self.commit(request).await?;
        self.remember_end(facts.id).await;
        session.close();
        self.sessions().remove(&facts.id);
        self.hand_over(facts.id, &committed).await;
        entry(committed)
    }

    /// Completes an upload without bytes: possession of known content was proven.
    ///
    /// # Errors
    /// [`Error::ProofFailed`] also when there is no challenge (any more); dbproxy's refusals.
    pub async fn prove(
        self: &Arc<Self>,
        session: &Arc<Session>,
        proof: &[u8; 32],
    ) -> Result<Entry> {
        let (engine, session, proof) = (self.clone(), session.clone(), *proof);
        let task = context::spawn(async move { engine.prove_now(&session, &proof).await });
        task.await.map_err(io::Error::other)?
    }

    async fn prove_now(&self, session: &Arc<Session>, proof: &[u8; 32]) -> Result<Entry> {
        let pending = session
            .challenge
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        let facts = session.facts();
        let pending = pending.ok_or(Error::ProofFailed)?;
        let turn = self.readings.acquire().await.map_err(io::Error::other)?;
        let proved = self.content().prove(pending, proof).await;
        drop(turn);
        let blob = match proved {
            Ok(blob) => blob,
            Err(error) => {
                self.block_instant(facts.account).await;
                return Err(error);
            }
        };
        let request = CommitUploadRequest {
            id: bytes(facts.id),
            account_id: bytes(facts.account),
            reserved: true,
            size: signed(facts.size.unwrap_or(0)),
            content: Some(Digests {
                blake3: blob.blake3,
                ..Digests::default()
            }),
            ..CommitUploadRequest::default()
        };
        let committed = match self.commit(request).await {
            // The content went away between challenge and proof: the bytes are needed after all.
            Err(Error::Metadata(problem)) if problem.kind() == Kind::BlobMissing => {
                return Err(Error::ProofFailed);
            }
            committed => committed?,
        };
        self.remember_end(facts.id).await;
        session.close();
        // Chunks that were sent as well are left to the sweep: a completion that came first may
        // have made a blob of them.
        self.sessions().remove(&facts.id);
        entry(committed)
    }

    /// Who fails to prove possession is guessing: no more of others' content for a while, on any
    /// node.
    async fn block_instant(&self, account: Uuid) {
        let request = BlockInstantRequest {
            account_id: bytes(account),
            for_ms: millis(GUESSING_PAUSE),
        };
        if let Err(error) = self.client().block_instant(deadline(request)).await {
            tracing::warn!(%account, %error, "a failed proof did not end instant uploads");
        }
    }

    /// Puts the files of finished content on the disk, together with everybody else's who waits.
    async fn flush(&self, files: &Files, size: u64) -> Result<()> {
        let both = vec![files.data.clone(), files.side.clone()];
        self.flush_files(&files.data, both, size).await
    }

    pub(super) async fn flush_files(
        &self,
        data: &Arc<File>,
        files: Vec<Arc<File>>,
        size: u64,
    ) -> Result<()> {
        let flushed = async {
            if size > FLUSH_ALONE {
                let data = data.clone();
                spawn_blocking(move || data.sync_data())
                    .await
                    .map_err(io::Error::other)??;
            }
            self.ports
                .flusher
                .flush(files, vec![self.dir.clone()])
                .await
        };
        self.flushed(flushed.await)
    }

    /// Takes the node out of service when a flush failed, unless the disk was just full: the
    /// kernel may have dropped the pages it could not write, and a second flush would "succeed"
    /// without them.
    pub(super) fn flushed<T>(&self, outcome: io::Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            tracing::error!(%error, "a flush to the staging disk failed");
            let full = error.kind() == io::ErrorKind::StorageFull;
            self.failed.fetch_or(!full, Ordering::Relaxed);
            Error::from(error)
        })
    }

    /// One transaction in dbproxy. Content that is just being deleted is waited for.
    pub(super) async fn commit(
        &self,
        request: CommitUploadRequest,
    ) -> Result<CommitUploadResponse> {
        let mut pause = DELETING_PAUSE;
        for _ in 0..DELETING_TRIES {
            match self
                .client()
                .commit_upload(deadline(request.clone()))
                .await
                .map_err(Problem::from)
            {
                Ok(committed) => return Ok(committed.into_inner()),
                Err(problem) if problem.kind() == Kind::BlobDeleting => {}
                Err(problem) => return Err(Error::Metadata(problem)),
            }
            time::sleep(pause).await;
            pause *= 2;
        }
        Err(Error::Metadata(Problem::new(
            Kind::Unavailable,
            "the same content is just being deleted, try again",
        )))
    }

    /// After the commit: the staged copy is the blob's, or it is superfluous.
    pub(super) async fn hand_over(&self, id: Uuid, committed: &CommitUploadResponse) {
        if !committed.took_staged_copy {
            if let Err(error) = self.drop_session(id).await {
                tracing::warn!(upload = %id, %error, "cannot remove a superfluous staged copy");
            }
            return;
        }
        // dbproxy has just said so: whoever moves the copy on need not make it ask again.
        self.finished.insert(id, ()).await;
        let blob = committed.file.as_ref().and_then(|file| file.blob.as_ref());
        let job = Job {
            blake3: blob
                .map(|blob| hex::encode(&blob.blake3))
                .unwrap_or_default(),
            traceparent: context::traceparent(),
        };
        let queue = self.ports.queue.clone();
        // The client does not wait for the broker; the queue bounds what waits for it.
        context::spawn(async move {
            if let Err(error) = queue.publish(&job).await {
                // The row is the truth; the worker's sweep finds it.
                tracing::debug!(%error, "no wake-up for a transfer");
            }
        });
    }
}

/// Does the failure prove that nothing was committed? Otherwise the staged copy must stay until
/// the sweep has asked.
pub(super) fn is_definite(error: &Error) -> bool {
    match error {
        Error::Metadata(problem) => !matches!(
            problem.kind(),
            Kind::Unavailable | Kind::Internal | Kind::Overloaded | Kind::RequestTimeout
        ),
        _ => true,
    }
}

pub(super) fn content_request(content: &Declared) -> CommitUploadRequest {
    CommitUploadRequest {
        content: Some(Digests {
            blake3: super::optional(&content.blake3),
            sha256: super::optional(&content.sha256),
            sha1: super::optional(&content.sha1),
        }),
        on_conflict: OnConflict::Fail.into(),
        staging_id: Bytes::new(),
        ..CommitUploadRequest::default()
    }
}

fn entry(committed: CommitUploadResponse) -> Result<Entry> {
    committed
        .file
        .ok_or_else(|| Error::Metadata(Problem::internal("a commit without a file")))
}
