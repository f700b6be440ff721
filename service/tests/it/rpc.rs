//! Calls that cannot succeed fail as problems.

use cloudstore_proto::account::{ListKeysRequest, account_store_client::AccountStoreClient};
use cloudstore_service::{Kind, Problem, auth::Verifier, rpc};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable() {
    let (channel, incoming) = rpc::in_memory();
    drop(incoming);
    let mut client = AccountStoreClient::new(channel);
    let status = client
        .list_keys(rpc::deadline(ListKeysRequest {}))
        .await
        .unwrap_err();
    assert_eq!(Problem::from(status).kind(), Kind::Unavailable);
}

#[tokio::test]
async fn without_keys_nothing_is_let_in() {
    let (channel, incoming) = rpc::in_memory();
    drop(incoming);
    let verifier = Verifier::new(channel, CancellationToken::new());
    let garbage = verifier.verify("not.a.token").await.unwrap_err();
    assert_eq!(garbage.kind(), Kind::Unauthenticated);
    // {"alg":"EdDSA","kid":"k"}
    let unknown = verifier
        .verify("eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.e30.AA")
        .await
        .unwrap_err();
    assert_eq!(unknown.kind(), Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_unavailable_after_the_deadline() {
    // The connection is never accepted.
    let (channel, _incoming) = rpc::in_memory();
    let start = tokio::time::Instant::now();
    let error = rpc::check(channel.clone()).await.unwrap_err();
    assert_eq!(
        start.elapsed().as_secs(),
        rpc::DEADLINE.as_secs(),
        "{error}"
    );
    let mut client = AccountStoreClient::new(channel);
    let status = client
        .list_keys(rpc::deadline(ListKeysRequest {}))
        .await
        .unwrap_err();
    assert_eq!(Problem::from(status).kind(), Kind::Unavailable);
}
