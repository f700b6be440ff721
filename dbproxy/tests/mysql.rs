//! The contract on real servers, a primary and its replica, as a client sees it that carries
//! positions.

mod support;

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
};

use bytes::Bytes;
use cloudstore_dbproxy::{
    Store, SystemClock, serve,
    testing::{self, Fixture},
};
use cloudstore_proto::{
    account::{
        CreateAccountRequest, GetAccountRequest, RotateSessionRequest,
        account_store_client::AccountStoreClient,
    },
    file::{StatRequest, file_store_client::FileStoreClient},
};
use cloudstore_service::{Kind, position::METADATA, rpc::in_memory};
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, metadata::MetadataMap};
use uuid::Uuid;

use support::{Carrier, Database};

macro_rules! topics {
    ($($topic:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $topic() {
            let database = Database::new();
            let fixture = Fixture::new(async |clock| {
                let store: Arc<dyn Store> = Carrier::new(database.open(clock).await);
                store
            })
            .await;
            let store = fixture.store.clone();
            let result = AssertUnwindSafe(testing::$topic(fixture)).catch_unwind().await;
            store.close().await;
            database.remove().await;
            if let Err(panic) = result {
                resume_unwind(panic);
            }
        })*
    };
}

topics! {
    accounts sessions session_lists keys api_tokens token_bounds
    files folders listings searches search_limits changes deep_trees long_paths
    copies renaming replacing large_copies locks locked_changes many_locks properties copied_properties
    shares shared_entries upload_links downloads
    trash restoring emptying trashed_shares
    uploads expiry quota staging lengths
    instant blocks lookups conflicts repeated_calls
    purge garbage staged_copies other_nodes known_blobs
    transfers leases parked_copies parking mending repeated_conditions
    many_references quota_under_load removal_against_references
    same_content_of_two quota_of_two removal_against_instant resolved_or_committed
}

/// Processes that start together bring the schema up to date once, and work on one database.
#[tokio::test(flavor = "multi_thread")]
async fn processes_start_together() {
    let database = Database::new();
    let clock = Arc::new(SystemClock);
    let (first, second, third) = tokio::join!(
        database.open(clock.clone()),
        database.open(clock.clone()),
        database.open(clock)
    );
    let id = Bytes::copy_from_slice(Uuid::now_v7().as_bytes());
    let request = CreateAccountRequest {
        id: id.clone(),
        username: "Alice ".to_owned(),
        password_hash: "hash".to_owned(),
        ..CreateAccountRequest::default()
    };
    let created = first.create_account(request.clone()).await.unwrap();
    assert_eq!(created.username, "Alice ", "spaces count");
    // Without a position: whom the replica does not know, the primary may.
    let found = second.get_account(GetAccountRequest { id }).await.unwrap();
    assert_eq!(found, created);
    let taken = third.create_account(CreateAccountRequest {
        id: Bytes::copy_from_slice(Uuid::now_v7().as_bytes()),
        username: "ALICE ".to_owned(),
        ..request
    });
    assert_eq!(taken.await.unwrap_err().kind(), Kind::NameTaken);
    for store in [first, second, third] {
        store.close().await;
    }
    database.remove().await;
}

fn position(metadata: &MetadataMap) -> Option<String> {
    let position = metadata.get(METADATA)?.to_str();
    Some(position.expect("plain text").to_owned())
}

/// A position comes back with what was written, and goes with what is to be read.
#[tokio::test(flavor = "multi_thread")]
async fn positions_travel_with_the_calls() {
    let database = Database::new();
    let store = database.open(Arc::new(SystemClock)).await;
    let (channel, incoming) = in_memory();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(store.clone(), incoming, shutdown.clone()));
    let mut accounts = AccountStoreClient::new(channel.clone());
    let mut files = FileStoreClient::new(channel);
    let owner = Bytes::copy_from_slice(Uuid::now_v7().as_bytes());
    let request = CreateAccountRequest {
        id: owner.clone(),
        username: "alice".to_owned(),
        password_hash: "hash".to_owned(),
        ..CreateAccountRequest::default()
    };
    let created = accounts.create_account(request).await.unwrap();
    let reached = position(created.metadata()).expect("a write has a position");

    let mut request = Request::new(StatRequest {
        owner,
        path: "/".to_owned(),
    });
    let metadata = request.metadata_mut();
    metadata.insert(METADATA, reached.parse().unwrap());
    let read = files.stat(request).await.unwrap();
    assert_eq!(position(read.metadata()), None, "a read makes no state");

    // A refused token is a write, too: the session may have been revoked.
    let refused = accounts
        .rotate_session(RotateSessionRequest {
            old_refresh_hash: vec![1; 32].into(),
            new_refresh_hash: vec![2; 32].into(),
            lifetime_ms: 1,
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(position(refused.metadata()).is_some());

    shutdown.cancel();
    server.await.unwrap().unwrap();
    store.close().await;
    database.remove().await;
}
