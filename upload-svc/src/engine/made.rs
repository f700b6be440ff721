//! Files that uploads became: read again, or removed.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use cloudstore_backends::{
    blob::{self, ByteStream, Key},
    staging,
};
use cloudstore_content::{GROUP_BYTES, Outboard, Root, tree::group_count};
use cloudstore_proto::{
    convert::unsigned,
    file::{
        Blob, DeleteRequest, Entry, Precondition, file_store_client::FileStoreClient, precondition,
    },
};
use cloudstore_service::{Kind, Problem, rpc::deadline};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::{Engine, Error, Result, bytes, millis};

/// Where content is.
#[derive(Clone)]
enum Place {
    Staged(staging::Content),
    Stored(Arc<dyn blob::BlobStore>, Key),
}

impl Place {
    async fn read(&self, range: std::ops::Range<u64>) -> io::Result<ByteStream> {
        match self {
            Self::Staged(content) => content.read(range).await.map_err(io::Error::other),
            Self::Stored(store, key) => store.get(key, range).await.map_err(io::Error::other),
        }
    }
}

impl Engine {
    /// Length and content of a file. Every group is verified before any of it is handed out; what
    /// is damaged ends the stream with an error.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a folder, [`Error::Io`] when the content cannot be opened.
    pub(crate) async fn read_file(&self, file: &Entry) -> Result<(u64, ByteStream)> {
        let blob = file.blob.as_ref().ok_or(Error::NotFound)?;
        let (place, outboard) = self.open_blob(blob).await?;
        let size = outboard.size();
        let groups = if size == 0 { 0 } else { group_count(size) };
        let frames = stream::iter(0..groups).then(move |group| {
            let (place, outboard) = (place.clone(), outboard.clone());
            async move { read_group(&place, &outboard, group).await }
        });
        Ok((size, frames.boxed()))
    }

    async fn open_blob(&self, blob: &Blob) -> Result<(Place, Arc<Outboard>)> {
        let size = unsigned(blob.size);
        let root = Root::try_from(&blob.blake3[..]).map_err(|_| Error::NotFound)?;
        if let Ok(staging_id) = Uuid::from_slice(&blob.staging_id) {
            let staged = &self.ports.staged;
            match staged.open(&blob.node, staging_id, size, &root).await {
                Ok(copy) => return Ok((Place::Staged(copy.content), copy.outboard)),
                // It was stored meanwhile.
                Err(staging::Error::NotFound) => {}
                Err(error) => return Err(io::Error::other(error).into()),
            }
        }
        let store = self.ports.blobs.clone();
        let outboard = match group_count(size) {
            1 => Outboard::single(size, root),
            count => {
                let range = 0..count * staging::VALUE_BYTES;
                let values = store.get(&Key::outboard(&root), range).await;
                let values = collect(values.map_err(io::Error::other)?).await?;
                Outboard::decode(size, &root, &values).map_err(io::Error::other)?
            }
        };
        let place = Place::Stored(store, Key::blob(&root));
        Ok((place, Arc::new(outboard)))
    }

    /// Removes the file that an upload became, unless it has other content by now.
    ///
    /// # Errors
    /// dbproxy's refusals; that it is gone already, or has other content now, is fine.
    pub(crate) async fn remove_file(&self, account: Uuid, file: &Entry) -> Result<()> {
        let blake3 = file.blob.iter().map(|blob| blob.blake3.clone());
        let same = precondition::Match {
            any: false,
            blake3: blake3.collect(),
        };
        let request = DeleteRequest {
            owner: bytes(account),
            path: file.path.clone(),
            precondition: Some(Precondition {
                if_match: Some(same),
                ..Precondition::default()
            }),
            keep_ms: millis(self.settings.trash),
        };
        let mut client = FileStoreClient::new(self.ports.channel.clone());
        match client
            .delete(deadline(request))
            .await
            .map_err(Problem::from)
        {
            Err(problem)
                if ![Kind::NotFound, Kind::PreconditionFailed].contains(&problem.kind()) =>
            {
                Err(Error::Metadata(problem))
            }
            _ => Ok(()),
        }
    }
}

async fn read_group(place: &Place, outboard: &Outboard, group: u64) -> io::Result<Bytes> {
    let start = group * GROUP_BYTES;
    let end = (start + GROUP_BYTES).min(outboard.size());
    let data = collect(place.read(start..end).await?).await?;
    outboard
        .verify_group(group, &data)
        .map_err(io::Error::other)?;
    Ok(data)
}

async fn collect(stream: ByteStream) -> io::Result<Bytes> {
    let all = stream.try_fold(BytesMut::new(), async |mut all, piece| {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    all.await.map(BytesMut::freeze)
}
