//! Finished copies on this node's disk, for services on other machines: what transfer-worker moves
//! to durable storage, and what is downloaded meanwhile.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use cloudstore_backends::staging::{Content, VALUE_BYTES, VALUES_AT};
use cloudstore_content::tree::group_count;
use cloudstore_proto::upload::{ResolveStagingRequest, StagingUse};
use cloudstore_service::rpc::deadline;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{Engine, Error, Result, bytes};

/// Copies that are remembered to be finished, about 100 bytes each: far more than are read within
/// the minutes that content stays here.
pub(super) const FINISHED: u64 = 100_000;

/// A finished copy.
pub(crate) struct Copy {
    pub(crate) content: Content,
    pub(crate) size: u64,
}

impl Engine {
    /// Opens the staged copy of a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none with this id, which is also said of uploads that are
    /// not finished.
    pub(crate) async fn staged(&self, id: Uuid) -> Result<Copy> {
        self.check_finished(id).await?;
        let path = self.layout.data(id);
        let opened = spawn_blocking(move || {
            let file = File::open(&path)?;
            let size = file.metadata()?.len();
            let file = Arc::new(file);
            let content = Content::Local { file, path };
            io::Result::Ok(Copy { content, size })
        });
        opened.await.map_err(io::Error::other)?.map_err(missing)
    }

    /// The group values of the staged copy of a blob.
    ///
    /// # Errors
    /// [`Error::NotFound`] also when the blob has only one group and so no file with values.
    pub(crate) async fn staged_values(&self, id: Uuid) -> Result<Bytes> {
        self.check_finished(id).await?;
        let (data, side) = (self.layout.data(id), self.layout.side(id));
        let read = spawn_blocking(move || {
            let count = group_count(std::fs::metadata(data)?.len());
            let len = usize::try_from(count * VALUE_BYTES).map_err(io::Error::other)?;
            let side = File::open(side)?;
            // Of a damaged file what is there: the receiver sees that it is no outboard.
            let kept = side.metadata()?.len().saturating_sub(VALUES_AT);
            let mut values = vec![0; len.min(usize::try_from(kept).unwrap_or(len))];
            side.read_exact_at(&mut values, VALUES_AT)?;
            io::Result::Ok(Bytes::from(values))
        });
        read.await.map_err(io::Error::other)?.map_err(missing)
    }

    /// Removes copies that are not needed any more. What is gone already is fine.
    ///
    /// # Errors
    /// [`Error::Busy`] when one of them belongs to an upload that is not finished; the others have
    /// been removed then.
    pub(crate) async fn remove_staged(&self, ids: &[Uuid]) -> Result<()> {
        // Looked at before dbproxy is asked: a direct upload that ends in between is a blob by
        // then, or has removed its files itself.
        let busy: Vec<bool> = {
            let direct = self.direct_ids();
            ids.iter().map(|id| direct.contains_key(id)).collect()
        };
        let uses = self.resolve(ids).await?;
        let mut outcome = Ok(());
        for ((id, busy), staging_use) in ids.iter().zip(busy).zip(uses) {
            let unfinished = busy || staging_use == StagingUse::Upload;
            let removed = if unfinished {
                Err(Error::Busy)
            } else {
                self.drop_session(*id).await
            };
            if removed.is_ok() {
                self.finished.invalidate(id).await;
            } else {
                outcome = removed;
            }
        }
        outcome
    }

    /// dbproxy knows what is finished, whatever this process remembers of the upload: the row is
    /// written after the last byte was flushed, and nothing changes a finished copy.
    async fn check_finished(&self, id: Uuid) -> Result<()> {
        if self.finished.get(&id).await.is_some() {
            return Ok(());
        }
        if self.resolve(&[id]).await? != [StagingUse::Blob] {
            return Err(Error::NotFound);
        }
        self.finished.insert(id, ()).await;
        Ok(())
    }

    /// What each staged id is good for, in order.
    pub(super) async fn resolve(&self, ids: &[Uuid]) -> Result<Vec<StagingUse>> {
        let request = ResolveStagingRequest {
            ids: ids.iter().copied().map(bytes).collect(),
        };
        let answer = self.client().resolve_staging(deadline(request)).await?;
        let uses: Vec<_> = answer.into_inner().uses().collect();
        if uses.len() != ids.len() {
            return Err(io::Error::other("an answer of the wrong length").into());
        }
        Ok(uses)
    }
}

fn missing(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound,
        _ => error.into(),
    }
}
