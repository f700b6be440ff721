//! Uploads over gRPC.

use cloudstore_proto::upload::{upload_store_server::UploadStore, *};

super::service! {
    UploadStore {
        begin_uploads => begin_uploads(BeginUploadsRequest) -> BeginUploadsResponse;
        get_upload => get_upload(GetUploadRequest) -> Upload;
        list_uploads => list_uploads(ListUploadsRequest) -> ListUploadsResponse;
        commit_upload => commit_upload(CommitUploadRequest) -> CommitUploadResponse;
        resize_upload => resize_upload(ResizeUploadRequest) -> Upload;
        cancel_upload => cancel_upload(CancelUploadRequest) -> CancelUploadResponse;
        expire_uploads => expire_uploads(ExpireUploadsRequest) -> ExpireUploadsResponse;
        block_instant => block_instant(BlockInstantRequest) -> BlockInstantResponse;
        resolve_staging => resolve_staging(ResolveStagingRequest) -> ResolveStagingResponse;
    }
}
