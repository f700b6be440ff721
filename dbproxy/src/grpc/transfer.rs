//! Transfers and garbage over gRPC.

use cloudstore_proto::transfer::{transfer_store_server::TransferStore, *};

super::service! {
    TransferStore {
        claim_transfers => claim_transfers(ClaimTransfersRequest) -> ClaimTransfersResponse;
        renew_transfer => renew_transfer(RenewTransferRequest) -> RenewTransferResponse;
        commit_transfers => commit_transfers(CommitTransfersRequest) -> CommitTransfersResponse;
        fail_transfer => fail_transfer(FailTransferRequest) -> FailTransferResponse;
        list_transfers => list_transfers(ListTransfersRequest) -> ListTransfersResponse;
        replay_transfers => replay_transfers(ReplayTransfersRequest) -> ReplayTransfersResponse;
        park_transfers => park_transfers(ParkTransfersRequest) -> ParkTransfersResponse;
        find_blobs => find_blobs(FindBlobsRequest) -> FindBlobsResponse;
        list_staged_copies
            => list_staged_copies(ListStagedCopiesRequest) -> ListStagedCopiesResponse;
        forget_staged_copies
            => forget_staged_copies(ForgetStagedCopiesRequest) -> ForgetStagedCopiesResponse;
        claim_garbage => claim_garbage(ClaimGarbageRequest) -> ClaimGarbageResponse;
        confirm_deleted => confirm_deleted(ConfirmDeletedRequest) -> ConfirmDeletedResponse;
    }
}
