//! Instances, their one dbproxy, and a user.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Bytes;
use cloudstore_backends::{
    blob::{BlobStore, fs::FsBlobStore},
    discovery::{Instance, Instances},
    flush::Flusher,
    queue::memory::MemoryQueue,
    staging::{HttpStaging, Layout, LocalStaging},
};
use cloudstore_dbproxy::{SqliteStore, Store};
use cloudstore_proto::{
    account::{
        Account, CreateAccountRequest, GetAccountRequest, PublicKey, PublishKeyRequest,
        account_store_client::AccountStoreClient,
    },
    http::Upload as View,
    upload::InstantPolicy,
};
use cloudstore_service::{
    auth::{AUDIENCE, Claims, ISSUER, Verifier},
    clock, http, listener,
    rpc::{self, Channel},
    settings::Settings,
    tls,
    trust::{Identity, Trusted},
};
use cloudstore_upload::{Config, Peers, Ports};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::line::Line;

/// Bytes of a chunk of every upload here.
pub(crate) const CHUNK: usize = 8 << 20;
/// Long enough for the slowest machine; only a failing test waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The names of the instances.
const NODES: [&str; 2] = ["a", "b"];

pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) channel: Channel,
    pub(crate) line: Arc<Line>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) instances: watch::Sender<Instances>,
    settings: watch::Sender<BTreeMap<String, Vec<u8>>>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) user: User,
    pub(crate) http: Client,
    /// Makes service tokens of any service.
    pub(crate) identities: Vec<(&'static str, Identity)>,
    key: jsonwebtoken::EncodingKey,
    _stop: DropGuard,
}

/// A running instance.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) layout: Layout,
    edge: CancellationToken,
    listener: Option<JoinHandle<std::io::Result<()>>>,
}

#[derive(Clone)]
pub(crate) struct User {
    pub(crate) account: Uuid,
    pub(crate) token: String,
}

pub(crate) fn id(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

/// Content that repeats nowhere, the same for the same seed.
pub(crate) fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut content = vec![0; size];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut content);
    content
}

pub(crate) fn instance(id: &str, address: SocketAddr) -> Instance {
    Instance {
        id: id.to_owned(),
        address,
        version: String::new(),
    }
}

/// A short life without a node before it counts as lost.
pub(crate) const SOON: Duration = Duration::from_millis(50);

impl Cluster {
    /// Two instances, `a` and `b`.
    pub(crate) async fn new() -> Self {
        Self::with(Duration::from_secs(900)).await
    }

    pub(crate) async fn with(lost_after: Duration) -> Self {
        tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let store = SqliteStore::open(dir.path().join("metadata.sqlite"));
        let (channel, incoming) = rpc::in_memory();
        let store = store.await.unwrap();
        let line = Arc::new(Line::default());
        let incoming = line.clone().carry(incoming);
        let served = cloudstore_dbproxy::serve(store.clone(), incoming, stop.clone());
        tokio::spawn(served);
        let key = publish_key(&channel).await;
        let user = user(&channel, &key).await;
        let services = [
            "upload-svc",
            "transfer-worker",
            "download-svc",
            "account-svc",
        ];
        let identities: Vec<_> = services
            .into_iter()
            .map(|service| (service, Identity::ephemeral(service)))
            .collect();
        let (instances, _) = watch::channel(Vec::new());
        let mut cluster = Self {
            dir,
            channel,
            line,
            store,
            instances,
            settings: watch::channel(BTreeMap::new()).0,
            nodes: Vec::new(),
            user,
            http: Client::builder().http1_only().no_proxy().build().unwrap(),
            identities,
            key,
            _stop: stop.clone().drop_guard(),
        };
        for name in NODES {
            let node = cluster.start(name, lost_after, stop.clone()).await;
            cluster.nodes.push(node);
        }
        cluster.announce(&NODES);
        cluster
    }

    async fn start(&self, name: &str, lost_after: Duration, stop: CancellationToken) -> Node {
        let data = self.dir.path().join(name);
        let layout = Layout::new(data.join("staging"));
        let flusher = Flusher::new();
        let blobs = FsBlobStore::open(self.dir.path().join("blobs"), flusher.clone()).unwrap();
        let blobs: Arc<dyn BlobStore> = Arc::new(blobs);
        let tokens = self.identity("upload-svc").tokens();
        let staged = HttpStaging::new(
            name.to_owned(),
            Some(LocalStaging::new(layout.clone())),
            self.instances.subscribe(),
            tokens.clone(),
        );
        let verifier = Verifier::new(self.channel.clone(), stop.clone());
        let config = Config {
            node: name.to_owned(),
            staging: layout.dir().to_owned(),
            max_size: 1 << 40,
            lifetime: Duration::from_secs(3_600),
            instant: InstantPolicy::Everyone,
            lost_after,
            trash: Duration::ZERO,
            origins: Vec::new(),
            drop_box: None,
        };
        let ports = Ports {
            channel: self.channel.clone(),
            blobs,
            staged: Arc::new(staged),
            queue: Arc::new(MemoryQueue::new(100)),
            flusher,
            live: Settings::watching(self.settings.subscribe()),
            peers: Some(Peers {
                instances: self.instances.subscribe(),
                tokens,
                trusted: self.trusted(),
            }),
        };
        let upload = cloudstore_upload::start(config, ports, verifier, stop.clone());
        let upload = upload.await.unwrap();
        let app = http::finish(upload.router.merge(upload.internal));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let edge = stop.child_token();
        let limits = listener::Limits::default();
        let listener = tokio::spawn(listener::serve(socket, app, limits, edge.clone()));
        Node {
            address,
            layout,
            edge,
            listener: Some(listener),
        }
    }

    fn trusted(&self) -> Trusted {
        let published = self.identities.iter();
        Trusted::fixed(published.map(|(_, one)| one.published()).collect())
    }

    pub(crate) fn identity(&self, service: &str) -> &Identity {
        let found = self.identities.iter().find(|(name, _)| *name == service);
        &found.unwrap().1
    }

    /// Who is in the list of peers from now on.
    pub(crate) fn announce(&self, names: &[&str]) {
        let list = NODES.iter().zip(&self.nodes);
        let list = list.filter(|(name, _)| names.contains(name));
        let list = list.map(|(name, node)| instance(name, node.address));
        self.instances.send_replace(list.collect());
    }

    /// What operators do.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.settings.send_modify(|settings| {
            settings.insert(name.to_owned(), value.as_bytes().to_vec());
        });
    }

    /// Ends the listener of an instance: nobody can connect any more.
    pub(crate) async fn take_down(&mut self, node: usize) {
        self.nodes[node].edge.cancel();
        let listener = self.nodes[node].listener.take().unwrap();
        tokio::time::timeout(PATIENCE, listener)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    pub(crate) fn url(&self, node: usize, path: &str) -> String {
        format!("http://{}{path}", self.nodes[node].address)
    }

    pub(crate) fn request(&self, node: usize, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(node, path));
        request.bearer_auth(&self.user.token)
    }

    pub(crate) async fn send(&self, node: usize, method: Method, path: &str) -> Response {
        self.request(node, method, path).send().await.unwrap()
    }

    /// Begins an upload at a node, which then owns it.
    pub(crate) async fn create(&self, node: usize, path: &str, size: usize) -> View {
        let request = self.request(node, Method::POST, "/api/v1/uploads");
        let body = json!({ "path": path, "size": size });
        let answer = request.json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.json().await.unwrap()
    }

    pub(crate) async fn put(
        &self,
        node: usize,
        upload: &View,
        index: usize,
        chunk: impl Into<reqwest::Body>,
    ) -> Response {
        let path = format!("{}/chunks/{index}", upload.location);
        let request = self.request(node, Method::PUT, &path);
        request.body(chunk).send().await.unwrap()
    }

    /// An upload that became a file at this node.
    pub(crate) async fn completed(&self, node: usize, path: &str, content: &[u8]) -> View {
        let upload = self.create(node, path, content.len()).await;
        for (index, chunk) in content.chunks(CHUNK).enumerate() {
            let answer = self.put(node, &upload, index, chunk.to_vec()).await;
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        }
        let path = format!("{}/complete", upload.location);
        let answer = self.send(node, Method::POST, &path).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        upload
    }

    pub(crate) async fn account(&self) -> Account {
        let request = GetAccountRequest {
            id: id(self.user.account),
        };
        let mut accounts = AccountStoreClient::new(self.channel.clone());
        accounts.get_account(request).await.unwrap().into_inner()
    }

    /// Another user.
    pub(crate) async fn stranger(&self) -> User {
        user(&self.channel, &self.key).await
    }
}

/// Status, slug and Retry-After of a problem.
pub(crate) async fn problem(answer: Response) -> (u16, String, Option<u32>) {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    assert_eq!(headers["content-type"], "application/problem+json");
    let body: Value = answer.json().await.unwrap();
    let slug = body["type"].as_str().unwrap();
    let slug = slug.trim_start_matches("/problems/").to_owned();
    let retry = headers.get("retry-after");
    let retry = retry.map(|value| value.to_str().unwrap().parse().unwrap());
    (status, slug, retry)
}

async fn user(channel: &Channel, key: &jsonwebtoken::EncodingKey) -> User {
    let account = Uuid::now_v7();
    let request = CreateAccountRequest {
        id: id(account),
        username: account.simple().to_string(),
        password_hash: "none".to_owned(),
        email: String::new(),
        display_name: String::new(),
        quota_bytes: 1 << 40,
    };
    let mut accounts = AccountStoreClient::new(channel.clone());
    accounts.create_account(request).await.unwrap();
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
        exp: now + 600,
    };
    let token = jsonwebtoken::encode(&header, &claims, key).unwrap();
    User { account, token }
}

const KID: &str = "test";

async fn publish_key(channel: &Channel) -> jsonwebtoken::EncodingKey {
    /// PKCS #8 of an Ed25519 key, up to the key itself (RFC 8410).
    const PKCS8: [u8; 16] = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let seed = *blake3::hash(Uuid::now_v7().as_bytes()).as_bytes();
    let public = ed25519_dalek::SigningKey::from_bytes(&seed);
    let key = PublicKey {
        kid: KID.to_owned(),
        public_key: Bytes::copy_from_slice(&public.verifying_key().to_bytes()),
        expires_at_ms: clock::now_ms() + 3_600_000,
    };
    let mut accounts = AccountStoreClient::new(channel.clone());
    let request = PublishKeyRequest { key: Some(key) };
    accounts.publish_key(request).await.unwrap();
    jsonwebtoken::EncodingKey::from_ed_der(&[&PKCS8[..], &seed].concat())
}
