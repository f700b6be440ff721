//! A whole file in one body: hashed in order while it is written, no chunks, no resumption.
//!
//! Small files, and those of unknown length, have no upload row and cost one transaction in all.
//! Larger ones reserve their place in the quota before the first byte is read.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use cloudstore_backends::staging::Layout;
use cloudstore_content::{
    Outboard,
    digest::{Digests, Hasher},
    tree::TreeHasher,
};
use cloudstore_proto::{
    account::{GetAccountRequest, account_store_client::AccountStoreClient},
    file::Precondition,
    upload::{CommitUploadRequest, CommitUploadResponse, StagingUse},
};
use cloudstore_service::{context, rpc::deadline};
use futures::Stream;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{
    Begin, Engine, Error, Result,
    body::{self, BUFFER, BodyError, End, Pulse, Sink},
    bytes,
    commit::{FLUSH_ALONE, content_request, is_definite},
    prefix,
    session::{self, Declared},
    sidecar, signed,
};

/// Bodies longer than this reserve their bytes first. For shorter ones a second transaction costs
/// more than reading a body in vain; the quota is checked all the same when they are committed.
const RESERVE_ABOVE: u64 = 8 << 20;

/// Room set aside at a time while a body of known length arrives.
const RESERVE_STEP: u64 = 16 << 20;
/// Bodies of unknown length an account may send at a time.
const MAX_GROWING: usize = 4;

impl Engine {
    /// Receives a whole file. `size` is `None` when the client does not know it.
    ///
    /// # Errors
    /// Nothing is left behind: [`Error::TooLarge`], [`Error::Quota`], [`Error::NoSpace`],
    /// [`Error::Length`], [`Error::DigestMismatch`], [`Error::Body`], dbproxy's refusals.
    pub async fn direct(
        self: &Arc<Self>,
        account: Uuid,
        upload: Begin,
        precondition: Option<Precondition>,
        size: Option<u64>,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    ) -> Result<CommitUploadResponse> {
        let limit = self.direct_limit(account, size).await?;
        let draft = self.draft(account, &upload, size).await?;
        let mut sink = WholeSink::new(&draft, size, &upload.declared);
        if draft.reserved {
            // A full disk shows before the client has sent anything.
            let open = spawn_blocking(move || sink.file().map(drop).map(|()| sink));
            sink = open.await.map_err(io::Error::other)??;
        }
        let pumped = body::pump(body, limit, size, sink, &Pulse::new()).await?;
        match (pumped.end, size) {
            (End::Complete, Some(expected)) if pumped.len != expected => {
                return Err(Error::Length {
                    expected,
                    found: Some(pumped.len),
                });
            }
            (End::Complete, _) => {}
            (End::TooLong, None) if limit < self.settings.max_size => {
                return Err(Error::Quota(limit));
            }
            (End::TooLong, None) => return Err(Error::TooLarge(limit)),
            (End::TooLong, Some(expected)) => {
                return Err(Error::Length {
                    expected,
                    found: None,
                });
            }
            (End::Broken(error), _) => return Err(Error::Body(error)),
            (End::Preempted, _) => return Err(Error::Preempted),
        }
        let engine = self.clone();
        let task = context::spawn(async move {
            let whole = engine.keep(pumped.sink, pumped.tail, pumped.len).await?;
            engine
                .commit_draft(draft, upload, precondition, whole)
                .await
        });
        task.await.map_err(io::Error::other)?
    }

    /// Writes the rest and puts everything on the disk. Small files are written in the round of
    /// the group commit itself, which spares them two changes of thread.
    async fn keep(&self, sink: WholeSink, tail: BytesMut, len: u64) -> Result<Whole> {
        if len > FLUSH_ALONE {
            let whole = spawn_blocking(move || sink.finish(&tail, len)).await;
            let whole = whole.map_err(io::Error::other)??;
            self.flush_files(&whole.data, whole.files(), len).await?;
            return Ok(whole);
        }
        let write = move || {
            let whole = sink.finish(&tail, len)?;
            let files = whole.files();
            Ok((whole, files))
        };
        let written = self
            .ports
            .flusher
            .write(write, vec![self.dir.clone()])
            .await;
        self.flushed(written)?
    }

    /// Bytes this body may have. Refuses before the body is read what cannot succeed.
    async fn direct_limit(&self, account: Uuid, size: Option<u64>) -> Result<u64> {
        let max = self.settings.max_size;
        match size {
            Some(size) if size > max => Err(Error::TooLarge(max)),
            // The reservation checks the quota.
            Some(size) if size > RESERVE_ABOVE => Ok(size),
            Some(size) => {
                let fits = |free: u64| free >= size;
                let known = self.free.get(&account).await;
                if !known.is_some_and(fits) && !fits(self.free_bytes(account).await?) {
                    return Err(Error::Quota(size));
                }
                Ok(size)
            }
            None => Ok(self.free_bytes(account).await?.min(max)),
        }
    }

    async fn free_bytes(&self, account: Uuid) -> Result<u64> {
        let request = deadline(GetAccountRequest { id: bytes(account) });
        let mut client = AccountStoreClient::new(self.ports.channel.clone());
        let found = client.get_account(request).await?.into_inner();
        let free = found.quota_bytes - found.used_bytes - found.reserved_bytes;
        let free = u64::try_from(free).unwrap_or(0);
        self.free.insert(account, free).await;
        Ok(free)
    }

    async fn draft(
        self: &Arc<Self>,
        account: Uuid,
        upload: &Begin,
        size: Option<u64>,
    ) -> Result<Arc<Draft>> {
        let id = Uuid::now_v7();
        // Registered before any trace of it exists, so that the sweep never takes it for waste.
        self.enter(id, size.is_none().then_some(account))?;
        let mut draft = Draft {
            engine: self.clone(),
            id,
            account,
            reserved: false,
            doomed: AtomicBool::new(true),
            committed: AtomicBool::new(false),
        };
        if size.is_none_or(|size| size <= RESERVE_ABOVE) {
            return Ok(Arc::new(draft));
        }
        // A task of its own: when the client hangs up meanwhile, the reservation is known to exist
        // and dropping the draft releases it.
        let upload = upload.clone();
        let task = context::spawn(async move {
            draft.engine.reserve(account, id, &upload).await?;
            draft.reserved = true;
            Ok(Arc::new(draft))
        });
        task.await.map_err(io::Error::other)?
    }

    /// A body of unknown length has no reservation and may grow to all that the account has free,
    /// so only a few of them may grow at a time.
    fn enter(&self, id: Uuid, unknown: Option<Uuid>) -> Result<()> {
        let mut direct = self.direct_ids();
        let growing = || direct.values().filter(|of| **of == unknown).count();
        if unknown.is_some() && growing() >= MAX_GROWING {
            return Err(Error::TooManyGrowing(MAX_GROWING));
        }
        direct.insert(id, unknown);
        Ok(())
    }

    async fn commit_draft(
        &self,
        draft: Arc<Draft>,
        upload: Begin,
        precondition: Option<Precondition>,
        whole: Whole,
    ) -> Result<CommitUploadResponse> {
        prefix::check(&upload.declared, &whole.digests)?;
        let root = *whole.outboard.root();
        if upload
            .declared
            .blake3
            .is_some_and(|declared| declared != root)
        {
            return Err(Error::DigestMismatch("blake3"));
        }
        let size = whole.outboard.size();
        let Digests { sha1, sha256 } = whole.digests;
        let request = CommitUploadRequest {
            id: bytes(draft.id),
            account_id: bytes(draft.account),
            reserved: draft.reserved,
            path: upload.path,
            size: signed(size),
            on_conflict: upload.on_conflict.into(),
            mtime_ms: upload.mtime_ms,
            media_type: upload.media_type,
            node: self.settings.node.clone(),
            staging_id: bytes(draft.id),
            precondition,
            ..content_request(&Declared {
                blake3: Some(root),
                sha256,
                sha1,
            })
        };
        // From here on the files may be a blob's only copy.
        draft.doomed.store(false, Ordering::Relaxed);
        match self.commit(request).await {
            Ok(mut committed) => {
                draft.committed.store(true, Ordering::Relaxed);
                self.hand_over(draft.id, &committed).await;
                // A file that had this content before has not been created by this request either.
                let file = committed.file.as_ref();
                committed.replaced |= file.is_some_and(|file| file.id != draft.id.as_bytes()[..]);
                Ok(committed)
            }
            Err(error) => {
                let doomed = is_definite(&error) && self.is_unreferenced(draft.id).await;
                draft.doomed.store(doomed, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Asked after a refusal: it may be the answer to a repetition, and the call before, whose
    /// answer was lost, may have made the files a blob's only copy. `If-Match` is refused like
    /// that, because the content it names has been replaced.
    async fn is_unreferenced(&self, id: Uuid) -> bool {
        let used = self.resolve(&[id]).await;
        used.is_ok_and(|used| used == [StagingUse::Unreferenced])
    }
}

/// A direct upload under way. Dropped by whoever lets go of it last, the writing thread included;
/// unless it was committed, nothing of it stays.
struct Draft {
    engine: Arc<Engine>,
    id: Uuid,
    account: Uuid,
    reserved: bool,
    /// The files go.
    doomed: AtomicBool,
    /// The reservation is settled.
    committed: AtomicBool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.engine.direct_ids().remove(&self.id);
        if self.doomed.load(Ordering::Relaxed)
            && let Err(error) = self.engine.layout.remove(self.id)
        {
            tracing::warn!(upload = %self.id, %error, "cannot remove a failed direct upload");
        }
        // Of an upload whose commit got no answer, too: if it was committed, this changes nothing.
        if !self.reserved || self.committed.load(Ordering::Relaxed) {
            return;
        }
        // Without a runtime the process is ending; the next start releases the reservation.
        if tokio::runtime::Handle::try_current().is_ok() {
            let (engine, account, id) = (self.engine.clone(), self.account, self.id);
            context::spawn(async move { engine.release(account, id).await });
        }
    }
}

/// The received content.
struct Whole {
    data: Arc<File>,
    side: Option<Arc<File>>,
    outboard: Outboard,
    digests: Digests,
}

impl Whole {
    fn files(&self) -> Vec<Arc<File>> {
        [Some(&self.data), self.side.as_ref()]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}

/// Writes and hashes a body in order.
struct WholeSink {
    layout: Layout,
    size: Option<u64>,
    /// Bytes that room was set aside for.
    reserved: u64,
    file: Option<File>,
    tree: TreeHasher,
    sha: Option<Hasher>,
    draft: Arc<Draft>,
}

impl WholeSink {
    fn new(draft: &Arc<Draft>, size: Option<u64>, declared: &Declared) -> Self {
        let (sha1, sha256) = (declared.sha1.is_some(), declared.sha256.is_some());
        Self {
            layout: draft.engine.layout.clone(),
            size,
            reserved: 0,
            file: None,
            tree: TreeHasher::new(),
            sha: (sha1 || sha256).then(|| Hasher::new(sha1, sha256)),
            draft: draft.clone(),
        }
    }

    fn file(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            let size = self.size.unwrap_or(0);
            self.file = Some(session::create_data(&self.layout, self.draft.id, size)?);
        }
        Ok(self.file.as_ref().expect("invariant: assigned above"))
    }

    /// Room is set aside a little ahead of the writing: all of it at once would keep the client
    /// waiting. What comes in one write needs none.
    fn make_room(&mut self, offset: u64, len: u64) -> io::Result<()> {
        let Some(size) = self.size else {
            return session::check_room(self.file()?, len);
        };
        if offset + len > self.reserved && size > BUFFER as u64 {
            let ahead = (self.reserved + RESERVE_STEP).max(offset + len).min(size);
            let part = self.reserved..ahead;
            session::reserve(self.file()?, part)?;
            self.reserved = ahead;
        }
        Ok(())
    }

    fn finish(mut self, tail: &[u8], received: u64) -> Result<Whole> {
        self.write(tail)?;
        body::check_whole(received, self.tree.size())?;
        let outboard = std::mem::take(&mut self.tree).finish();
        let side = if outboard.values().len() > 1 {
            let path = self.layout.side(self.draft.id);
            Some(Arc::new(sidecar::create_full(
                &path,
                outboard.size(),
                outboard.values(),
            )?))
        } else {
            None
        };
        let digests = self.sha.take().map(Hasher::finish).unwrap_or_default();
        let data = Arc::new(
            self.file
                .take()
                .expect("invariant: the write above opened it"),
        );
        Ok(Whole {
            data,
            side,
            outboard,
            digests,
        })
    }
}

impl Sink for WholeSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let offset = self.tree.size();
        self.make_room(offset, bytes.len() as u64)?;
        self.file()?.write_all_at(bytes, offset)?;
        self.tree.update(bytes);
        if let Some(sha) = &mut self.sha {
            sha.update(bytes);
        }
        Ok(())
    }
}
