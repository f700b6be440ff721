//! Files and folders over gRPC.

use cloudstore_proto::file::{file_store_server::FileStore, *};

super::service! {
    FileStore {
        stat => stat(StatRequest) -> Entry;
        list => list(ListRequest) -> ListResponse;
        search => search(SearchRequest) -> SearchResponse;
        create_folder => create_folder(CreateFolderRequest) -> Entry;
        r#move => move_entry(MoveRequest) -> Entry;
        copy => copy(CopyRequest) -> Entry;
        delete => delete(DeleteRequest) -> DeleteResponse;
        list_trash => list_trash(ListTrashRequest) -> ListTrashResponse;
        restore => restore(RestoreRequest) -> Entry;
        empty_trash => empty_trash(EmptyTrashRequest) -> EmptyTrashResponse;
        purge => purge(PurgeRequest) -> PurgeResponse;
        apply => apply(ApplyRequest) -> ApplyResponse;
        record_reads => record_reads(RecordReadsRequest) -> RecordReadsResponse;
        hot_blobs => hot_blobs(HotBlobsRequest) -> HotBlobsResponse;
    }
}
