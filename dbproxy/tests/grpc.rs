//! The services over a real gRPC connection: problems survive the way, bad input is refused before
//! it reaches the store, health and reflection answer, and the server ends when it is told to.

use bytes::Bytes;
use cloudstore_dbproxy::{MAX_MESSAGE_BYTES, SqliteStore, serve};
use cloudstore_proto::{
    account::{CreateAccountRequest, account_store_client::AccountStoreClient},
    file::{EntryKind, StatRequest, file_store_client::FileStoreClient},
    http::MAX_BATCH,
    transfer::{ClaimTransfersRequest, transfer_store_client::TransferStoreClient},
    upload::{
        BeginUpload, BeginUploadsRequest, begin_result, upload_store_client::UploadStoreClient,
    },
};
use cloudstore_service::{
    Kind, Problem,
    rpc::{Channel, in_memory},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use uuid::Uuid;

struct Running {
    channel: Channel,
    shutdown: CancellationToken,
    server: JoinHandle<cloudstore_service::Result<()>>,
    _dir: TempDir,
}

#[expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]
async fn start() -> Running {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(dir.path().join("db")).await.unwrap();
    let (channel, incoming) = in_memory();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(store, incoming, shutdown.clone()));
    Running {
        channel,
        shutdown,
        server,
        _dir: dir,
    }
}

fn id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}

fn account(username: &str) -> CreateAccountRequest {
    CreateAccountRequest {
        id: id(),
        username: username.to_owned(),
        password_hash: "hash".to_owned(),
        quota_bytes: 1 << 40,
        ..CreateAccountRequest::default()
    }
}

#[tokio::test]
async fn calls_and_problems() {
    let running = start().await;
    let mut accounts = AccountStoreClient::new(running.channel.clone());
    let mut files = FileStoreClient::new(running.channel.clone());
    let created = accounts
        .create_account(account("alice"))
        .await
        .unwrap()
        .into_inner();
    let taken = accounts.create_account(account("ALICE")).await.unwrap_err();
    assert_eq!(taken.code(), tonic::Code::AlreadyExists);
    assert_eq!(Problem::from(taken).kind(), Kind::NameTaken);

    let stat = |owner: &Bytes, path: &str| StatRequest {
        owner: owner.clone(),
        path: path.to_owned(),
    };
    let root = files
        .stat(stat(&created.id, "/"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(root.kind(), EntryKind::Folder);
    for (owner, path, kind) in [
        (&created.id, "/nothing", Kind::NotFound),
        (&created.id, "/a/../b", Kind::InvalidPath),
        (&created.id, "no/slash", Kind::InvalidPath),
        (&Bytes::from_static(b"short"), "/", Kind::MalformedRequest),
    ] {
        let problem = Problem::from(files.stat(stat(owner, path)).await.unwrap_err());
        assert_eq!(problem.kind(), kind, "{path}");
    }
    let mut transfers = TransferStoreClient::new(running.channel.clone());
    let request = ClaimTransfersRequest {
        lease_ms: -1,
        ..ClaimTransfersRequest::default()
    };
    let problem = Problem::from(transfers.claim_transfers(request).await.unwrap_err());
    assert_eq!(problem.kind(), Kind::MalformedRequest);

    running.shutdown.cancel();
    running.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn largest_batch_fits_a_message() {
    let running = start().await;
    let mut accounts = AccountStoreClient::new(running.channel.clone());
    let owner = accounts
        .create_account(account("alice"))
        .await
        .unwrap()
        .into_inner()
        .id;
    let mut uploads = UploadStoreClient::new(running.channel.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let request = |count: usize| BeginUploadsRequest {
        account_id: owner.clone(),
        node: "node".to_owned(),
        lifetime_ms: 1_000,
        direct_limit: -1,
        max_open: u32::MAX,
        entries: (0..count)
            .map(|number| BeginUpload {
                id: id(),
                path: format!("{}/{number:04}", format!("/{}", "x".repeat(250)).repeat(16)),
                size: 1,
                ..BeginUpload::default()
            })
            .collect(),
        ..BeginUploadsRequest::default()
    };
    let answer = uploads
        .begin_uploads(request(MAX_BATCH))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.results.len(), MAX_BATCH);
    let is_upload =
        |result: &begin_result::Result| matches!(result, begin_result::Result::Uploading(_));
    assert!(
        answer
            .results
            .iter()
            .all(|result| result.result.as_ref().is_some_and(is_upload))
    );
    let problem = uploads
        .begin_uploads(request(MAX_BATCH + 1))
        .await
        .unwrap_err();
    assert_eq!(Problem::from(problem).kind(), Kind::MalformedRequest);
}

#[tokio::test]
async fn health_is_served() {
    let running = start().await;
    let mut health = HealthClient::new(running.channel.clone());
    for service in [
        "",
        "cloudstore.file.v1.FileStore",
        "cloudstore.upload.v1.UploadStore",
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
}
