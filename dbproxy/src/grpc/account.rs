//! Accounts, sessions and keys over gRPC.

use cloudstore_proto::account::{account_store_server::AccountStore, *};

super::service! {
    AccountStore {
        create_account => create_account(CreateAccountRequest) -> Account;
        get_account => get_account(GetAccountRequest) -> Account;
        find_credentials => find_credentials(FindCredentialsRequest) -> Credentials;
        update_account => update_account(UpdateAccountRequest) -> Account;
        set_password => set_password(SetPasswordRequest) -> SetPasswordResponse;
        create_session => create_session(CreateSessionRequest) -> Session;
        rotate_session => rotate_session(RotateSessionRequest) -> Session;
        get_session => get_session(GetSessionRequest) -> Session;
        list_sessions => list_sessions(ListSessionsRequest) -> ListSessionsResponse;
        revoke_session => revoke_session(RevokeSessionRequest) -> RevokeSessionsResponse;
        revoke_all_sessions
            => revoke_all_sessions(RevokeAllSessionsRequest) -> RevokeSessionsResponse;
        list_revocations => list_revocations(ListRevocationsRequest) -> ListRevocationsResponse;
        create_api_token => create_api_token(CreateApiTokenRequest) -> ApiToken;
        find_api_token => find_api_token(FindApiTokenRequest) -> ApiToken;
        list_api_tokens => list_api_tokens(ListApiTokensRequest) -> ListApiTokensResponse;
        revoke_api_token => revoke_api_token(RevokeApiTokenRequest) -> RevokeApiTokenResponse;
        publish_key => publish_key(PublishKeyRequest) -> PublishKeyResponse;
        list_keys => list_keys(ListKeysRequest) -> ListKeysResponse;
    }
}
