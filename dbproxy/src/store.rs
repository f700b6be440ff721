//! The port between the gRPC services and a database: one method per RPC.

use async_trait::async_trait;
use cloudstore_proto::{account::*, dav::*, file::*, share::*, transfer::*, upload::*};
use cloudstore_service::Result;

/// Everything cloudstore keeps in a database.
///
/// The `.proto` files say what each method does and how it fails; these rules hold for all:
/// - Requests have passed [`Check`](crate::check::Check): ids and digests have their length, paths
///   are in normal form, numbers are in range. Entries of [`BeginUploadsRequest`] are the
///   exception: each is checked on its own, because each has its own result.
/// - A method is one transaction. An answer means that the transaction survives a crash; an error
///   means that nothing changed, except for `Unavailable` and `Internal`, after which the caller
///   does not know. Repeating a write has no second effect; where the answer matters (accounts,
///   sessions, uploads, commits) it is the same again, elsewhere it may say that nothing is left
///   to do (`NotFound`, `LeaseLost`).
/// - A call sees every write that was answered before it began.
/// - Used plus reserved bytes of an account never exceed its quota, whatever runs in parallel.
/// - A blob's reference count equals the number of entries that refer to it, in every snapshot.
/// - Dropping a call's future does not stop a write that has begun.
#[async_trait]
pub trait Store: Send + Sync {
    /// Adds an account and its root folder, whose id is the account's.
    async fn create_account(&self, request: CreateAccountRequest) -> Result<Account>;
    /// One account; `NotFound` when there is none.
    async fn get_account(&self, request: GetAccountRequest) -> Result<Account>;
    /// An account and its password hash, by username without regard to case.
    async fn find_credentials(&self, request: FindCredentialsRequest) -> Result<Credentials>;
    /// Changes the fields that are set.
    async fn update_account(&self, request: UpdateAccountRequest) -> Result<Account>;
    /// `PreconditionFailed` when the stored hash is not the old one.
    async fn set_password(&self, request: SetPasswordRequest) -> Result<SetPasswordResponse>;

    /// Begins a session; also forgets some that expired. `NameConflict` when the id belongs to
    /// another session.
    async fn create_session(&self, request: CreateSessionRequest) -> Result<Session>;
    /// `Unauthenticated` for a token that is unknown, expired, revoked, or was exchanged before
    /// for another successor; the last revokes the session. Repeating an exchange is no reuse.
    async fn rotate_session(&self, request: RotateSessionRequest) -> Result<Session>;
    /// A session that can be used now.
    async fn get_session(&self, request: GetSessionRequest) -> Result<Session>;
    /// Those of an account that can be used now, last used first.
    async fn list_sessions(&self, request: ListSessionsRequest) -> Result<ListSessionsResponse>;
    /// Ends one session. `NotFound` when an account is named whose it is not.
    async fn revoke_session(&self, request: RevokeSessionRequest)
    -> Result<RevokeSessionsResponse>;
    /// Ends every session of an account.
    async fn revoke_all_sessions(
        &self,
        request: RevokeAllSessionsRequest,
    ) -> Result<RevokeSessionsResponse>;
    /// Revoked sessions and API tokens, oldest revocation first, in pages.
    async fn list_revocations(
        &self,
        request: ListRevocationsRequest,
    ) -> Result<ListRevocationsResponse>;

    /// Adds a token; also forgets those of the account that ended. `NameConflict` when the id or
    /// the hash belongs to another token, `TooManyTokens` when there is no room for one.
    async fn create_api_token(&self, request: CreateApiTokenRequest) -> Result<ApiToken>;
    /// A token that can be used now, by its hash.
    async fn find_api_token(&self, request: FindApiTokenRequest) -> Result<ApiToken>;
    /// The tokens of an account that can be used now, oldest first.
    async fn list_api_tokens(&self, request: ListApiTokensRequest)
    -> Result<ListApiTokensResponse>;
    /// Ends a token. `NotFound` when it is not one of the account's.
    async fn revoke_api_token(
        &self,
        request: RevokeApiTokenRequest,
    ) -> Result<RevokeApiTokenResponse>;

    /// `NameConflict` when the kid belongs to another key.
    async fn publish_key(&self, request: PublishKeyRequest) -> Result<PublishKeyResponse>;
    /// Keys that verify tokens now.
    async fn list_keys(&self, request: ListKeysRequest) -> Result<ListKeysResponse>;

    /// The entry at a path.
    async fn stat(&self, request: StatRequest) -> Result<Entry>;
    /// A page of a folder's entries; `NotAFolder` for a file.
    async fn list(&self, request: ListRequest) -> Result<ListResponse>;
    /// `NotAFolder` for a file. The answer may miss what is moved meanwhile.
    async fn search(&self, request: SearchRequest) -> Result<SearchResponse>;
    /// `NotAFolder` when something on the way is a file.
    async fn create_folder(&self, request: CreateFolderRequest) -> Result<Entry>;
    /// `NotFound` when the new parent is not there, `NameConflict` when the new name is taken,
    /// `InvalidPath` for moving a folder into itself, for replacing an entry by one below it, and when
    /// something in the folder would get too long a path. Takes as long as it takes to look at
    /// everything in the folder if its own path gets longer.
    async fn move_entry(&self, request: MoveRequest) -> Result<Entry>;
    /// Fails as [`Store::move_entry`] does, and with `QuotaExceeded` and `LimitReached`. Repeating a call
    /// answers the copy that was made, if it is still there.
    async fn copy(&self, request: CopyRequest) -> Result<Entry>;
    /// Deletes a file, or a folder with everything below it, in constant time.
    async fn delete(&self, request: DeleteRequest) -> Result<DeleteResponse>;
    /// What can be restored now.
    async fn list_trash(&self, request: ListTrashRequest) -> Result<ListTrashResponse>;
    /// With its properties, and its shares open again. `NotFound` for what is not in the trash,
    /// `NameConflict` when the name is taken, `NotAFolder` when something on the way is a file,
    /// `InvalidPath` as for [`Store::move_entry`].
    async fn restore(&self, request: RestoreRequest) -> Result<Entry>;
    /// Call again while the answer says `more`. `NotFound` for an id that is not in the trash.
    async fn empty_trash(&self, request: EmptyTrashRequest) -> Result<EmptyTrashResponse>;
    /// Also ends what has been in the trash for long enough. Call again while the answer says `more`.
    async fn purge(&self, request: PurgeRequest) -> Result<PurgeResponse>;

    /// Several changes in one transaction: all of them, or none and the problem of the first that
    /// fails.
    async fn apply(&self, request: ApplyRequest) -> Result<ApplyResponse>;

    /// Locks are about paths, whatever is there. They bind only callers who ask about them
    /// ([`Precondition::locks`]), and end when they expire, by [`Store::unlock`], and with what they
    /// are on: a move, a deletion or a replacement by such a caller ends those at and below it.
    async fn lock(&self, request: LockRequest) -> Result<Lock>;
    /// Never shortens what others rely on: the time is set, from now.
    async fn refresh_lock(&self, request: RefreshLockRequest) -> Result<Lock>;
    /// `NotFound` also for a lock that ended before.
    async fn unlock(&self, request: UnlockRequest) -> Result<UnlockResponse>;
    /// Sees every lock that was answered before.
    async fn list_locks(&self, request: ListLocksRequest) -> Result<ListLocksResponse>;
    /// Properties belong to the entry: they move with it, are copied with it, stay when its content
    /// changes, and end when it is purged.
    async fn patch_properties(
        &self,
        request: PatchPropertiesRequest,
    ) -> Result<PatchPropertiesResponse>;
    /// Of what is not there: none.
    async fn list_properties(
        &self,
        request: ListPropertiesRequest,
    ) -> Result<ListPropertiesResponse>;

    /// Also forgets those of the account that expired. `NotFound` when nothing is at the path,
    /// `LimitReached` when there is no room for one, `NameConflict` when the id or the hash belongs to
    /// another share.
    async fn create_share(&self, request: CreateShareRequest) -> Result<Share>;
    /// Those that have not expired and whose entry is there, oldest first.
    async fn list_shares(&self, request: ListSharesRequest) -> Result<ListSharesResponse>;
    /// One of those.
    async fn get_share(&self, request: GetShareRequest) -> Result<Share>;
    /// Holds for every call that begins after the answer.
    async fn revoke_share(&self, request: RevokeShareRequest) -> Result<RevokeShareResponse>;
    /// Never an entry outside of what is shared, whatever moves meanwhile. Sees the last state: a
    /// share that has ended opens nothing.
    async fn find_shared(&self, request: FindSharedRequest) -> Result<SharedEntry>;
    /// As [`Store::find_shared`].
    async fn list_shared(&self, request: ListSharedRequest) -> Result<ListSharedResponse>;
    /// Never counts more than the share allows, however many calls run in parallel;
    /// `ShareExhausted` then, `NotFound` for a share that has ended. Whether the entry is still there
    /// is not looked at.
    async fn begin_download(&self, request: BeginDownloadRequest) -> Result<BeginDownloadResponse>;

    /// Counts downloads for [`Store::hot_blobs`]. Only a store with a cache in front of it does.
    async fn record_reads(&self, _request: RecordReadsRequest) -> Result<RecordReadsResponse> {
        Ok(RecordReadsResponse {})
    }
    /// What is read most, best first; nothing where nobody counts.
    async fn hot_blobs(&self, _request: HotBlobsRequest) -> Result<HotBlobsResponse> {
        Ok(HotBlobsResponse::default())
    }

    /// Decides for each entry whether and how it must be sent.
    ///
    /// The strongest declared digest looks content up, together with the size. BLAKE3 and SHA-256
    /// identify it. SHA-1 only finds it (collisions can be made), so a match by SHA-1 alone always
    /// is a challenge, also for content of the account itself. Content whose known digests
    /// contradict a declared one, and a digest that finds several blobs, count as unknown.
    async fn begin_uploads(&self, request: BeginUploadsRequest) -> Result<BeginUploadsResponse>;
    /// One upload of the account.
    async fn get_upload(&self, request: GetUploadRequest) -> Result<Upload>;
    /// A page of unfinished uploads.
    async fn list_uploads(&self, request: ListUploadsRequest) -> Result<ListUploadsResponse>;
    /// Makes the file. The path holding exactly this content already is success, whatever the
    /// conflict rule; a new file's entry gets the upload's id, so that repeating the call of an
    /// upload without a row is recognised, too. `took_staged_copy` is answered by what the blob
    /// refers to, so that it is right for a repeated call. `UploadGone` for an upload that was
    /// cancelled or has expired, or whose file was deleted since; `LengthUnknown` and
    /// `Forbidden` for one that has no length yet, or is a part of others.
    async fn commit_upload(&self, request: CommitUploadRequest) -> Result<CommitUploadResponse>;
    /// Repeating it reserves nothing twice. `UploadGone` for an upload that has ended, `WrongLength`
    /// when the length is known and is not the one that is told, or more is to be reserved then.
    async fn resize_upload(&self, request: ResizeUploadRequest) -> Result<Upload>;
    /// `UploadGone` for a completed upload.
    async fn cancel_upload(&self, request: CancelUploadRequest) -> Result<CancelUploadResponse>;
    /// Also forgets finished uploads of every node: a day after their end, completed ones not
    /// before they expire.
    async fn expire_uploads(&self, request: ExpireUploadsRequest) -> Result<ExpireUploadsResponse>;
    /// Holds for every call of [`Store::begin_uploads`] that begins after the answer. `NotFound` when
    /// there is no such account.
    async fn block_instant(&self, request: BlockInstantRequest) -> Result<BlockInstantResponse>;
    /// Answers from one snapshot, so that an upload that becomes a blob is never unreferenced.
    async fn resolve_staging(
        &self,
        request: ResolveStagingRequest,
    ) -> Result<ResolveStagingResponse>;

    /// A lease that ran out counts as a failed attempt when the transfer is claimed again.
    /// Transfers that wait for their time are not claimed, not even by name.
    async fn claim_transfers(
        &self,
        request: ClaimTransfersRequest,
    ) -> Result<ClaimTransfersResponse>;
    /// Extends the lease from now; possible until somebody else claimed the transfer.
    async fn renew_transfer(&self, request: RenewTransferRequest) -> Result<RenewTransferResponse>;
    /// Records durable copies and the digests found on the way.
    async fn commit_transfers(
        &self,
        request: CommitTransfersRequest,
    ) -> Result<CommitTransfersResponse>;
    /// Ends a claim without success.
    async fn fail_transfer(&self, request: FailTransferRequest) -> Result<FailTransferResponse>;
    /// Transfers, oldest first.
    async fn list_transfers(&self, request: ListTransfersRequest) -> Result<ListTransfersResponse>;
    /// Their count of failed attempts starts again at 0.
    async fn replay_transfers(
        &self,
        request: ReplayTransfersRequest,
    ) -> Result<ReplayTransfersResponse>;

    /// Only waiting transfers; the others stay as they are.
    async fn park_transfers(&self, request: ParkTransfersRequest) -> Result<ParkTransfersResponse>;
    /// Which blobs have a row. Sees every write that was answered before, whatever replicas know.
    async fn find_blobs(&self, request: FindBlobsRequest) -> Result<FindBlobsResponse>;

    /// Longest stored first.
    async fn list_staged_copies(
        &self,
        request: ListStagedCopiesRequest,
    ) -> Result<ListStagedCopiesResponse>;
    /// Only for stored blobs that still refer to exactly the copy named; others stay as they are.
    async fn forget_staged_copies(
        &self,
        request: ForgetStagedCopiesRequest,
    ) -> Result<ForgetStagedCopiesResponse>;

    /// Includes blobs whose earlier claim ran out. A blob that is being transferred has to wait
    /// for the end of that lease; a transfer that is not claimed ends with this.
    async fn claim_garbage(&self, request: ClaimGarbageRequest) -> Result<ClaimGarbageResponse>;
    /// `LeaseLost` when the fence is not the blob's last.
    async fn confirm_deleted(
        &self,
        request: ConfirmDeletedRequest,
    ) -> Result<ConfirmDeletedResponse>;

    /// Can the database be read and written? For readiness; `Unavailable` when not.
    async fn check(&self) -> Result<()>;
    /// Waits for the writes in hand and lets go of the database; later calls fail `Unavailable`.
    async fn close(&self);
}
