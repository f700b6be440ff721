//! Shares over gRPC.

use cloudstore_proto::share::{share_store_server::ShareStore, *};

super::service! {
    ShareStore {
        create_share => create_share(CreateShareRequest) -> Share;
        list_shares => list_shares(ListSharesRequest) -> ListSharesResponse;
        get_share => get_share(GetShareRequest) -> Share;
        revoke_share => revoke_share(RevokeShareRequest) -> RevokeShareResponse;
        find_shared => find_shared(FindSharedRequest) -> SharedEntry;
        list_shared => list_shared(ListSharedRequest) -> ListSharedResponse;
        begin_download => begin_download(BeginDownloadRequest) -> BeginDownloadResponse;
    }
}
