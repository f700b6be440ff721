//! What one account has, as dbproxy knows it.

use std::time::Duration;

use bytes::Bytes;
use cloudstore_proto::{
    account::{Account, GetAccountRequest, account_store_client::AccountStoreClient},
    dav::{
        EntryProperty, ListLocksRequest, ListPropertiesRequest, Lock, LockRequest,
        PatchPropertiesRequest, PropertyChange, RefreshLockRequest, UnlockRequest,
        dav_store_client::DavStoreClient,
    },
    file::{
        CopyRequest, CreateFolderRequest, DeleteRequest, Entry, EntryKind, ListRequest,
        ListResponse, MoveRequest, Precondition, StatRequest, file_store_client::FileStoreClient,
    },
};
use cloudstore_service::{
    Kind, Problem, Result,
    rpc::{Channel, MAX_MESSAGE, deadline},
};
use uuid::Uuid;

/// Entries of a page: as many as dbproxy tells the properties of in one call.
const PAGE: u32 = 250;

/// Files, folders, locks and properties of an account.
#[derive(Clone)]
pub(super) struct Store {
    channel: Channel,
    owner: Bytes,
    /// How long what is deleted can be restored.
    trash: Duration,
}

impl Store {
    pub(super) fn new(channel: Channel, account: Uuid, trash: Duration) -> Self {
        Self {
            channel,
            owner: Bytes::copy_from_slice(account.as_bytes()),
            trash,
        }
    }

    fn files(&self) -> FileStoreClient<Channel> {
        FileStoreClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    fn dav(&self) -> DavStoreClient<Channel> {
        DavStoreClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// What a path names.
    pub(super) async fn stat(&self, path: &str) -> Result<Entry> {
        let request = StatRequest {
            owner: self.owner.clone(),
            path: path.to_owned(),
        };
        Ok(self.files().stat(deadline(request)).await?.into_inner())
    }

    /// The same; `None` when nothing is there.
    pub(super) async fn find(&self, path: &str) -> Result<Option<Entry>> {
        match self.stat(path).await {
            Ok(entry) => Ok(Some(entry)),
            Err(problem) if problem.kind() == Kind::NotFound => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// A page of a folder, and the folder.
    pub(super) async fn list(&self, path: &str, cursor: String) -> Result<ListResponse> {
        let request = ListRequest {
            owner: self.owner.clone(),
            path: path.to_owned(),
            cursor,
            limit: PAGE,
            ..ListRequest::default()
        };
        Ok(self.files().list(deadline(request)).await?.into_inner())
    }

    pub(super) async fn create_folder(&self, path: String, under: Precondition) -> Result<Entry> {
        let request = CreateFolderRequest {
            owner: self.owner.clone(),
            path,
            parents: false,
            precondition: Some(under),
        };
        let made = self.files().create_folder(deadline(request)).await?;
        Ok(made.into_inner())
    }

    pub(super) async fn delete(&self, path: String, under: Precondition) -> Result<()> {
        let request = DeleteRequest {
            owner: self.owner.clone(),
            path,
            precondition: Some(under),
            keep_ms: i64::try_from(self.trash.as_millis()).unwrap_or(i64::MAX),
        };
        self.files().delete(deadline(request)).await?;
        Ok(())
    }

    pub(super) async fn rename(
        &self,
        from: String,
        to: String,
        replace: bool,
        under: Precondition,
    ) -> Result<()> {
        let request = MoveRequest {
            owner: self.owner.clone(),
            from,
            to,
            replace,
            precondition: Some(under),
        };
        self.files().r#move(deadline(request)).await?;
        Ok(())
    }

    pub(super) async fn copy(&self, copy: CopyRequest) -> Result<()> {
        let request = CopyRequest {
            owner: self.owner.clone(),
            id: Bytes::copy_from_slice(Uuid::now_v7().as_bytes()),
            ..copy
        };
        self.files().copy(deadline(request)).await?;
        Ok(())
    }

    pub(super) async fn lock(&self, lock: LockRequest) -> Result<Lock> {
        let request = LockRequest {
            owner: self.owner.clone(),
            // Whoever knows it may use it: not one that could be guessed.
            token: Bytes::copy_from_slice(Uuid::new_v4().as_bytes()),
            ..lock
        };
        Ok(self.dav().lock(deadline(request)).await?.into_inner())
    }

    pub(super) async fn refresh_lock(
        &self,
        token: Bytes,
        path: String,
        timeout_ms: i64,
    ) -> Result<Lock> {
        let request = RefreshLockRequest {
            owner: self.owner.clone(),
            token,
            path,
            timeout_ms,
        };
        let lock = self.dav().refresh_lock(deadline(request)).await?;
        Ok(lock.into_inner())
    }

    pub(super) async fn unlock(&self, token: Bytes, path: String) -> Result<()> {
        let request = UnlockRequest {
            owner: self.owner.clone(),
            token,
            path,
        };
        self.dav().unlock(deadline(request)).await?;
        Ok(())
    }

    /// Every lock of the account.
    pub(super) async fn locks(&self) -> Result<Vec<Lock>> {
        let request = deadline(ListLocksRequest {
            owner: self.owner.clone(),
        });
        Ok(self.dav().list_locks(request).await?.into_inner().locks)
    }

    pub(super) async fn patch_properties(
        &self,
        path: String,
        changes: Vec<PropertyChange>,
        lock_tokens: Vec<Bytes>,
    ) -> Result<()> {
        let request = PatchPropertiesRequest {
            owner: self.owner.clone(),
            path,
            changes,
            lock_tokens,
        };
        self.dav().patch_properties(deadline(request)).await?;
        Ok(())
    }

    /// Properties of up to a page of entries.
    pub(super) async fn properties(&self, entries: Vec<Bytes>) -> Result<Vec<EntryProperty>> {
        let request = deadline(ListPropertiesRequest {
            owner: self.owner.clone(),
            entries,
        });
        let found = self.dav().list_properties(request).await?;
        Ok(found.into_inner().properties)
    }

    /// For the quota.
    pub(super) async fn account(&self) -> Result<Account> {
        let request = deadline(GetAccountRequest {
            id: self.owner.clone(),
        });
        let mut accounts = AccountStoreClient::new(self.channel.clone());
        Ok(accounts.get_account(request).await?.into_inner())
    }

    /// The folder that is to hold something new.
    ///
    /// # Errors
    /// `NotAFolder` when there is none: RFC 4918 has 409 for it, not 404.
    pub(super) async fn parent_of(&self, path: &str) -> Result<()> {
        let parent = cloudstore_proto::path::parent(path);
        match self.find(parent).await? {
            Some(entry) if is_folder(&entry) => Ok(()),
            _ => Err(no_parent()),
        }
    }
}

/// See [`Store::parent_of`].
pub(super) fn no_parent() -> Problem {
    let detail = "the folder that is to hold this does not exist";
    Problem::new(Kind::NotAFolder, detail)
}

pub(super) fn is_folder(entry: &Entry) -> bool {
    entry.kind() == EntryKind::Folder
}

/// The entity tag of a file, with its quotes.
pub(super) fn etag(entry: &Entry) -> Option<String> {
    let blob = entry.blob.as_ref()?;
    Some(format!("\"{}\"", hex::encode(&blob.blake3)))
}
