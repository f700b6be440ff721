//! Measures `CommitUpload`s per second on SQLite with 32 callers, on the disk of the directory
//! given (default: the system's temporary directory).
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that fails has nothing to report"
)]

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use cloudstore_dbproxy::{SqliteStore, Store};
use cloudstore_proto::{
    account::CreateAccountRequest,
    upload::{CommitUploadRequest, Digests, OnConflict},
};
use uuid::Uuid;

const CALLERS: u32 = 32;
const COMMITS: u32 = 1_000;

fn id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}

fn commit(account: &Bytes, caller: u32, number: u32) -> CommitUploadRequest {
    // Distinct and spread like digests are.
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        let mixed = (caller * COMMITS + number)
            .wrapping_mul(0x9e37_79b9)
            .rotate_left(5);
        *byte = mixed.to_le_bytes()[at % 4];
    }
    CommitUploadRequest {
        id: id(),
        account_id: account.clone(),
        path: format!("/home/project/src/module-{caller}/file-{number}.rs"),
        size: 4_096,
        on_conflict: OnConflict::Fail.into(),
        media_type: "text/plain".to_owned(),
        content: Some(Digests {
            blake3: digest.to_vec().into(),
            ..Digests::default()
        }),
        node: "node".to_owned(),
        staging_id: id(),
        ..CommitUploadRequest::default()
    }
}

async fn call(store: Arc<dyn Store>, account: Bytes, caller: u32) {
    for number in 0..COMMITS {
        store
            .commit_upload(commit(&account, caller, number))
            .await
            .unwrap();
    }
}

#[tokio::main]
async fn main() {
    let parent = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(parent).unwrap();
    let store = SqliteStore::open(dir.path().join("db")).await.unwrap();
    let account = id();
    let request = CreateAccountRequest {
        id: account.clone(),
        username: "measure".to_owned(),
        password_hash: "none".to_owned(),
        quota_bytes: 1 << 50,
        ..CreateAccountRequest::default()
    };
    store.create_account(request).await.unwrap();
    let start = Instant::now();
    let callers = (0..CALLERS).map(|caller| call(store.clone(), account.clone(), caller));
    let callers: tokio::task::JoinSet<()> = callers.collect();
    callers.join_all().await;
    let seconds = start.elapsed().as_secs_f64();
    let rate = f64::from(CALLERS * COMMITS) / seconds;
    println!(
        "{CALLERS} callers, {} commits: {rate:.0} commits/s",
        CALLERS * COMMITS
    );
    store.close().await;
}
