//! Files and folders of an account, as dbproxy knows them.

use std::time::Duration;

use bytes::Bytes;
use cloudstore_proto::{
    file::{self, file_store_client::FileStoreClient},
    http::{CopyEntry, OnConflict},
};
use cloudstore_service::{
    Result,
    rpc::{Channel, deadline},
};
use uuid::Uuid;

/// Bytes of an answer: a page of 1,000 entries with paths of 4 KiB needs more than tonic's default
/// of 4 MiB.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Calls of dbproxy's file store. Paths are normalised, `owner` is the account.
#[derive(Clone)]
pub struct Catalog {
    client: FileStoreClient<Channel>,
}

/// One page of a folder.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// `next_cursor` of the page before; empty for the first.
    pub cursor: String,
    /// 1 to 1,000 entries; 0: 1,000.
    pub limit: u32,
    /// Order of the entries.
    pub sort: file::SortKey,
    /// The other way round.
    pub descending: bool,
    /// Only names that contain this.
    pub search: String,
}

/// As dbproxy is told.
pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn id(owner: Uuid) -> Bytes {
    Bytes::copy_from_slice(owner.as_bytes())
}

impl Catalog {
    /// Over a channel to dbproxy.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        let client = FileStoreClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { client }
    }

    /// What a path names; `not-found` also for what is not the owner's.
    pub async fn stat(&self, owner: Uuid, path: &str) -> Result<file::Entry> {
        let request = file::StatRequest {
            owner: id(owner),
            path: path.to_owned(),
        };
        Ok(self
            .client
            .clone()
            .stat(deadline(request))
            .await?
            .into_inner())
    }

    /// Tells what was read, and how often.
    pub(crate) async fn record_reads(&self, counts: Vec<(Bytes, u32)>) -> Result<()> {
        let counts = counts
            .into_iter()
            .map(|(blake3, reads)| file::ReadCount { blake3, reads });
        let request = file::RecordReadsRequest {
            counts: counts.collect(),
        };
        self.client.clone().record_reads(deadline(request)).await?;
        Ok(())
    }

    /// What is read most on all nodes, best first.
    pub(crate) async fn hot_blobs(&self, limit: u32) -> Result<Vec<Bytes>> {
        let request = deadline(file::HotBlobsRequest { limit });
        let hot = self.client.clone().hot_blobs(request).await?.into_inner();
        Ok(hot.blobs.into_iter().map(|blob| blob.blake3).collect())
    }

    /// Several changes, all or none.
    pub async fn apply(
        &self,
        owner: Uuid,
        changes: Vec<file::change::Change>,
    ) -> Result<Vec<file::Entry>> {
        let changes = changes.into_iter().map(|change| file::Change {
            change: Some(change),
        });
        let request = file::ApplyRequest {
            owner: id(owner),
            changes: changes.collect(),
        };
        let applied = self.client.clone().apply(deadline(request)).await?;
        Ok(applied.into_inner().entries)
    }

    /// A folder and a page of what is in it; `not-a-folder` for a file.
    pub async fn list(&self, owner: Uuid, path: &str, page: Page) -> Result<file::ListResponse> {
        let request = file::ListRequest {
            owner: id(owner),
            path: path.to_owned(),
            cursor: page.cursor,
            limit: page.limit,
            sort: page.sort.into(),
            descending: page.descending,
            search: page.search,
        };
        Ok(self
            .client
            .clone()
            .list(deadline(request))
            .await?
            .into_inner())
    }

    /// Entries anywhere below a folder whose names contain a text; `not-a-folder` for a file.
    pub async fn search(
        &self,
        owner: Uuid,
        path: String,
        text: String,
        limit: u32,
    ) -> Result<file::SearchResponse> {
        let request = file::SearchRequest {
            owner: id(owner),
            path,
            text,
            limit,
        };
        let found = self.client.clone().search(deadline(request)).await?;
        Ok(found.into_inner())
    }

    /// Creates a folder; with `parents` also what is missing above it, and an existing one is fine.
    pub async fn create_folder(
        &self,
        owner: Uuid,
        path: String,
        parents: bool,
    ) -> Result<file::Entry> {
        let request = file::CreateFolderRequest {
            owner: id(owner),
            path,
            parents,
            precondition: None,
        };
        Ok(self
            .client
            .clone()
            .create_folder(deadline(request))
            .await?
            .into_inner())
    }

    /// Renames or moves an entry.
    pub async fn rename(
        &self,
        owner: Uuid,
        from: String,
        to: String,
        precondition: Option<file::Precondition>,
    ) -> Result<file::Entry> {
        let request = file::MoveRequest {
            owner: id(owner),
            from,
            to,
            precondition,
            replace: false,
        };
        Ok(self
            .client
            .clone()
            .r#move(deadline(request))
            .await?
            .into_inner())
    }

    /// Copies an entry with everything below it, in one transaction.
    pub async fn copy(
        &self,
        owner: Uuid,
        copy: CopyEntry,
        precondition: Option<file::Precondition>,
    ) -> Result<file::Entry> {
        let request = file::CopyRequest {
            owner: id(owner),
            from: copy.from,
            to: copy.to,
            precondition,
            replace: copy.on_conflict == OnConflict::Replace,
            rename: copy.on_conflict == OnConflict::Rename,
            shallow: false,
            // The channel may repeat the call.
            id: id(Uuid::now_v7()),
        };
        Ok(self
            .client
            .clone()
            .copy(deadline(request))
            .await?
            .into_inner())
    }

    /// Deletes an entry and everything below it: into the trash for so long, or with no time for good.
    pub async fn delete(
        &self,
        owner: Uuid,
        path: String,
        keep: Duration,
        precondition: Option<file::Precondition>,
    ) -> Result<()> {
        let request = file::DeleteRequest {
            owner: id(owner),
            path,
            precondition,
            keep_ms: millis(keep),
        };
        self.client.clone().delete(deadline(request)).await?;
        Ok(())
    }

    /// A page of what can be restored.
    pub async fn trash(
        &self,
        owner: Uuid,
        cursor: String,
        limit: u32,
    ) -> Result<file::ListTrashResponse> {
        let request = file::ListTrashRequest {
            owner: id(owner),
            cursor,
            limit,
        };
        let page = self.client.clone().list_trash(deadline(request)).await?;
        Ok(page.into_inner())
    }

    /// Puts an entry of the trash back, to where it was if no path is given.
    pub async fn restore(
        &self,
        owner: Uuid,
        entry: Uuid,
        to: Option<String>,
        rename: bool,
    ) -> Result<file::Entry> {
        let request = file::RestoreRequest {
            owner: id(owner),
            id: id(entry),
            path: to.unwrap_or_default(),
            rename,
        };
        let restored = self.client.clone().restore(deadline(request)).await?;
        Ok(restored.into_inner())
    }

    /// Deletes an entry of the trash for good, or all of them.
    pub async fn empty_trash(&self, owner: Uuid, entry: Option<Uuid>) -> Result<()> {
        loop {
            let request = file::EmptyTrashRequest {
                owner: id(owner),
                id: entry.map(id).unwrap_or_default(),
                limit: 0,
            };
            let emptied = self.client.clone().empty_trash(deadline(request)).await?;
            if entry.is_some() || !emptied.into_inner().more {
                return Ok(());
            }
        }
    }
}
