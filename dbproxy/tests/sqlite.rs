//! The contract on SQLite, and what is SQLite's own: files, restarts, locks.

use std::sync::Arc;

use bytes::Bytes;
use cloudstore_dbproxy::{
    SqliteStore, Store,
    testing::{self, Fixture},
};
use cloudstore_proto::account::{CreateAccountRequest, GetAccountRequest};
use cloudstore_service::Kind;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// A fixture in a directory of its own.
#[expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]
async fn fixture(dir: &TempDir) -> Fixture {
    Fixture::new(async |clock| {
        SqliteStore::open_with(dir.path().join("db"), clock)
            .await
            .unwrap()
    })
    .await
}

macro_rules! topics {
    ($($topic:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $topic() {
            let dir = TempDir::new().unwrap();
            let fixture = fixture(&dir).await;
            let store: Arc<dyn Store> = fixture.store.clone();
            testing::$topic(fixture).await;
            store.close().await;
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
    same_content_of_two quota_of_two removal_against_instant
}

/// What was answered is there after the process is gone, without an orderly end.
#[tokio::test(flavor = "multi_thread")]
async fn answers_survive_reopening() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    let id = Bytes::from_static(&[7; 16]);
    let first = SqliteStore::open(&path).await.unwrap();
    first.create_account(account(&id, "alice")).await.unwrap();
    // The first store stays open: nothing is handed over but the files.
    let second = SqliteStore::open(&path).await.unwrap();
    let found = second
        .get_account(GetAccountRequest { id: id.clone() })
        .await
        .unwrap();
    assert_eq!(found.username, "alice");
    let refused = second
        .create_account(account(&Bytes::from_static(&[8; 16]), "Alice"))
        .await;
    assert_eq!(refused.unwrap_err().kind(), Kind::NameTaken);
    first.close().await;
    second.close().await;
    let problem = first.create_account(account(&id, "bob")).await.unwrap_err();
    assert_eq!(problem.kind(), Kind::Unavailable);
    assert_eq!(first.check().await.unwrap_err().kind(), Kind::Unavailable);
}

/// Commands that wait together share a transaction, and a failing one takes no other with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_command_fails_alone() {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(dir.path().join("db")).await.unwrap();
    let calls: JoinSet<_> = (0..200_u8)
        .map(|number| {
            let store = store.clone();
            // Every second one wants a name that is taken by then.
            let name = if number % 2 == 0 {
                format!("user {number}")
            } else {
                "same".to_owned()
            };
            async move {
                store
                    .create_account(account(&vec![number; 16].into(), &name))
                    .await
            }
        })
        .collect();
    let results = calls.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 101);
    for number in (0..200_u8).step_by(2) {
        let id = Bytes::from(vec![number; 16]);
        assert!(store.get_account(GetAccountRequest { id }).await.is_ok());
    }
    store.check().await.unwrap();
}

/// Another process that holds the file for too long makes writes fail cleanly; they work again
/// when it lets go. Reads go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_recovers() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    let store = SqliteStore::open(&path).await.unwrap();
    let id = Bytes::from_static(&[1; 16]);
    store.create_account(account(&id, "alice")).await.unwrap();
    let mut other = SqliteConnectOptions::new()
        .filename(&path)
        .connect()
        .await
        .unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let blocked = store.create_account(account(&Bytes::from_static(&[2; 16]), "bob"));
    let reading = store.get_account(GetAccountRequest { id });
    let (blocked, read) = tokio::join!(blocked, reading);
    assert_eq!(blocked.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(read.unwrap().username, "alice");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    store
        .create_account(account(&Bytes::from_static(&[2; 16]), "bob"))
        .await
        .unwrap();
}

fn account(id: &Bytes, username: &str) -> CreateAccountRequest {
    CreateAccountRequest {
        id: id.clone(),
        username: username.to_owned(),
        password_hash: format!("{id:?}"),
        quota_bytes: 1,
        ..CreateAccountRequest::default()
    }
}
