//! The service as a client sees it: over a real dbproxy, with files on a real disk.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use cloudstore_backends::staging::{Error, LocalStaging, Staged, StagedBlobs};
use cloudstore_content::Root;
use cloudstore_dbproxy::SqliteStore;
use cloudstore_download::{Config, reader::Blob};
use cloudstore_proto::{
    account::{
        CreateAccountRequest, PublicKey, PublishKeyRequest,
        account_store_client::AccountStoreClient,
    },
    transfer::{
        ClaimTransfersRequest, CommitTransfer, CommitTransfersRequest, ForgetStagedCopiesRequest,
        ListStagedCopiesRequest, transfer_store_client::TransferStoreClient,
    },
    upload::{CommitUploadRequest, Digests, OnConflict, upload_store_client::UploadStoreClient},
};
use cloudstore_service::{
    auth::{AUDIENCE, Claims, ISSUER, Verifier},
    clock, http,
    rpc::{self, Channel},
};
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::store::Disk;

/// An answer, complete.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and slug of a problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        (
            self.status.as_u16(),
            kind.trim_start_matches("/problems/").to_owned(),
        )
    }
}

/// A running service with one account.
pub(crate) struct App {
    pub(crate) disk: Arc<Disk>,
    pub(crate) router: Router,
    pub(crate) channel: Channel,
    pub(crate) staging: Arc<Hooked>,
    pub(crate) account: Uuid,
    pub(crate) token: String,
    key: jsonwebtoken::EncodingKey,
    verifier: Verifier,
    _stop: DropGuard,
}

/// The staging directory, where something may happen just before a copy is opened.
pub(crate) struct Hooked {
    inner: LocalStaging,
    before_open: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Hooked {
    pub(crate) fn before_open(&self, event: BoxFuture<'static, ()>) {
        *self.before_open.lock().unwrap() = Some(event);
    }
}

#[async_trait]
impl StagedBlobs for Hooked {
    async fn open(&self, node: &str, id: Uuid, size: u64, root: &Root) -> Result<Staged, Error> {
        let event = self.before_open.lock().unwrap().take();
        if let Some(event) = event {
            event.await;
        }
        self.inner.open(node, id, size, root).await
    }

    async fn remove(&self, node: &str, ids: &[Uuid]) -> Result<(), Error> {
        self.inner.remove(node, ids).await
    }
}

fn id(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

impl App {
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Config, &Disk)) -> Self {
        let disk = Arc::new(Disk::new());
        let stop = CancellationToken::new();
        let store = SqliteStore::open(disk.path("metadata.sqlite"))
            .await
            .unwrap();
        let (channel, incoming) = rpc::in_memory();
        tokio::spawn(cloudstore_dbproxy::serve(store, incoming, stop.clone()));
        let verifier = Verifier::new(channel.clone(), stop.clone());
        let inner = LocalStaging::new(disk.layout.clone());
        let staging = Arc::new(Hooked {
            inner,
            before_open: Mutex::default(),
        });
        let mut config = Config::default();
        configure(&mut config, &disk);
        let (blobs, staged) = (disk.blobs.clone(), staging.clone());
        let router = cloudstore_download::router(
            config,
            channel.clone(),
            verifier.clone(),
            blobs,
            staged,
            stop.clone(),
        );
        let key = publish_key(&channel).await;
        let account = create_account(&channel).await;
        let token = token(&key, account);
        let router = http::finish(router.unwrap());
        let _stop = stop.drop_guard();
        Self {
            disk,
            router,
            channel,
            staging,
            account,
            token,
            key,
            verifier,
            _stop,
        }
    }

    /// Another process on the same disk.
    pub(crate) fn restart(&mut self, configure: impl FnOnce(&mut Config, &Disk)) {
        let mut config = Config::default();
        configure(&mut config, &self.disk);
        let router = cloudstore_download::router(
            config,
            self.channel.clone(),
            self.verifier.clone(),
            self.disk.blobs.clone(),
            self.staging.clone(),
            CancellationToken::new(),
        );
        self.router = http::finish(router.unwrap());
    }

    /// The access token of another account.
    pub(crate) async fn stranger(&self) -> String {
        token(&self.key, create_account(&self.channel).await)
    }

    pub(crate) async fn request(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub(crate) fn builder(&self, method: Method, uri: &str) -> axum::http::request::Builder {
        let bearer = format!("Bearer {}", self.token);
        Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", bearer)
    }

    pub(crate) async fn send(&self, method: Method, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let builder = self.builder(method, uri);
        let builder = headers.iter().fold(builder, |builder, (name, value)| {
            builder.header(*name, *value)
        });
        self.request(builder.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, uri: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, uri, headers).await
    }

    pub(crate) async fn json(&self, method: Method, uri: &str, body: Value) -> Answer {
        let builder = self
            .builder(method, uri)
            .header("content-type", "application/json");
        self.request(builder.body(Body::from(body.to_string())).unwrap())
            .await
    }

    /// A finished upload: a file whose content is staged.
    pub(crate) async fn put(&self, path: &str, media_type: &str, content: &[u8]) -> Blob {
        put(
            &self.channel,
            &self.disk,
            self.account,
            path,
            media_type,
            content,
        )
        .await
    }

    /// Makes a staged blob durable and removes its staged copy, as transfer-worker does.
    pub(crate) async fn transfer(&self, blob: &Blob, content: &[u8]) {
        transfer(&self.channel, &self.disk, blob, content).await;
    }
}

pub(crate) async fn put(
    channel: &Channel,
    disk: &Disk,
    account: Uuid,
    path: &str,
    media_type: &str,
    content: &[u8],
) -> Blob {
    let blob = disk.stage(content);
    let (node, staging) = blob.staged.clone().unwrap();
    let blake3 = Bytes::copy_from_slice(&blob.root);
    let request = CommitUploadRequest {
        precondition: None,
        id: id(Uuid::now_v7()),
        account_id: id(account),
        reserved: false,
        path: path.to_owned(),
        size: i64::try_from(blob.size).unwrap(),
        on_conflict: OnConflict::Replace.into(),
        mtime_ms: 784_111_777_123,
        media_type: media_type.to_owned(),
        content: Some(Digests {
            blake3,
            ..Digests::default()
        }),
        node,
        staging_id: id(staging),
    };
    let mut uploads = UploadStoreClient::new(channel.clone());
    uploads.commit_upload(rpc::deadline(request)).await.unwrap();
    blob
}

pub(crate) async fn transfer(channel: &Channel, disk: &Disk, blob: &Blob, content: &[u8]) {
    disk.store(content).await;
    let blake3 = Bytes::copy_from_slice(&blob.root);
    let mut transfers = TransferStoreClient::new(channel.clone());
    let claim = ClaimTransfersRequest {
        blake3: vec![blake3.clone()],
        limit: 1,
        lease_ms: 10_000,
        worker: "test".to_owned(),
    };
    let claimed = transfers
        .claim_transfers(claim)
        .await
        .unwrap()
        .into_inner()
        .transfers;
    let digests = {
        let mut hasher = cloudstore_content::digest::Hasher::new(true, true);
        hasher.update(content);
        hasher.finish()
    };
    let commit = CommitTransfer {
        blake3,
        fence: claimed[0].fence,
        sha256: Bytes::copy_from_slice(&digests.sha256.unwrap()),
        sha1: Bytes::copy_from_slice(&digests.sha1.unwrap()),
    };
    let commits = CommitTransfersRequest {
        commits: vec![commit],
    };
    assert_eq!(
        transfers
            .commit_transfers(commits)
            .await
            .unwrap()
            .into_inner()
            .committed,
        [true]
    );
    let list = ListStagedCopiesRequest {
        grace_ms: 0,
        limit: 100,
        except_nodes: Vec::new(),
    };
    let blobs = transfers
        .list_staged_copies(list)
        .await
        .unwrap()
        .into_inner()
        .blobs;
    let (_, staging) = blob.staged.clone().unwrap();
    disk.layout.remove(staging).unwrap();
    transfers
        .forget_staged_copies(ForgetStagedCopiesRequest { blobs })
        .await
        .unwrap();
}

async fn create_account(channel: &Channel) -> Uuid {
    let account = Uuid::now_v7();
    let request = CreateAccountRequest {
        id: id(account),
        username: account.simple().to_string(),
        password_hash: "none".to_owned(),
        email: String::new(),
        display_name: String::new(),
        quota_bytes: 1 << 40,
    };
    AccountStoreClient::new(channel.clone())
        .create_account(request)
        .await
        .unwrap();
    account
}

const KID: &str = "test";

async fn publish_key(channel: &Channel) -> jsonwebtoken::EncodingKey {
    /// PKCS #8 of an Ed25519 key, up to the key itself (RFC 8410).
    const PKCS8: [u8; 16] = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let seed = *blake3::hash(Uuid::now_v7().as_bytes()).as_bytes();
    let public = ed25519_dalek::SigningKey::from_bytes(&seed)
        .verifying_key()
        .to_bytes();
    let key = PublicKey {
        kid: KID.to_owned(),
        public_key: Bytes::copy_from_slice(&public),
        expires_at_ms: clock::now_ms() + 3_600_000,
    };
    let request = PublishKeyRequest { key: Some(key) };
    AccountStoreClient::new(channel.clone())
        .publish_key(request)
        .await
        .unwrap();
    jsonwebtoken::EncodingKey::from_ed_der(&[&PKCS8[..], &seed].concat())
}

fn token(key: &jsonwebtoken::EncodingKey, account: Uuid) -> String {
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = Some(KID.to_owned());
    let now = clock::now_s();
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: account,
        sid: Uuid::now_v7(),
        iat: now,
        nbf: now,
        exp: now + Duration::from_secs(600).as_secs(),
    };
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}
