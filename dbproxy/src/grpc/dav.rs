//! Locks and properties of WebDAV over gRPC.

use cloudstore_proto::dav::{dav_store_server::DavStore, *};

super::service! {
    DavStore {
        lock => lock(LockRequest) -> Lock;
        refresh_lock => refresh_lock(RefreshLockRequest) -> Lock;
        unlock => unlock(UnlockRequest) -> UnlockResponse;
        list_locks => list_locks(ListLocksRequest) -> ListLocksResponse;
        patch_properties => patch_properties(PatchPropertiesRequest) -> PatchPropertiesResponse;
        list_properties => list_properties(ListPropertiesRequest) -> ListPropertiesResponse;
    }
}
