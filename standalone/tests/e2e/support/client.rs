//! A small typed client: what a call answers is for the test to judge.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, Once},
    time::Duration,
};

use cloudstore_proto::http::{
    self, Account, Completed, Created, File, FileState, Listing, Tokens, Upload, UploadState,
    trash::{Trash, Trashed},
};
use cloudstore_service::position;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, Url, header::HeaderMap};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, CutOff, eventually, fixed_content};

/// Far more than any request takes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The password of every test user.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The newest position that each server told: clients read what they wrote, and what others did
/// who told them about it.
static POSITIONS: LazyLock<Mutex<HashMap<String, String>>> = LazyLock::new(Mutex::default);

fn server(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn learn(url: &Url, headers: &HeaderMap) {
    let Some(new) = headers.get(position::HEADER) else {
        return;
    };
    let new = new.to_str().unwrap();
    assert!(position::is_valid(new), "{new}");
    let mut positions = POSITIONS.lock().unwrap();
    let known = positions.entry(server(url)).or_default();
    if !position::is_covered(new, known) {
        new.clone_into(known);
    }
}

/// Percent-encodes the names of an absolute path.
pub(crate) fn encode(path: &str) -> String {
    let names = path
        .split('/')
        .map(|name| utf8_percent_encode(name, SEGMENT).to_string());
    names.collect::<Vec<_>>().join("/")
}

/// A server, without a login.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    pub(crate) base: String,
}

impl Api {
    pub(crate) fn new(base: &str) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Fails only when there is one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        Self {
            http: client.build().unwrap(),
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    /// A request without a token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = Url::parse(&format!("{}{path}", self.base)).unwrap();
        let position = POSITIONS.lock().unwrap().get(&server(&url)).cloned();
        let request = self.http.request(method, url);
        match position {
            Some(position) => request.header(position::HEADER, position),
            None => request,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// A new account with a name that nobody has, logged in.
    pub(crate) async fn user(&self) -> User {
        let name = format!("u-{}", Uuid::now_v7().simple());
        let account: Account = self
            .post(
                "/api/v1/accounts",
                &json!({ "username": name, "password": PASSWORD }),
            )
            .await
            .json(201);
        assert_eq!(account.username, name);
        self.login(&name, PASSWORD).await
    }

    /// A new session of an account.
    pub(crate) async fn login(&self, name: &str, password: &str) -> User {
        let login = json!({ "username": name, "password": password });
        let tokens: Tokens = self.post("/api/v1/sessions", &login).await.json(201);
        User {
            api: self.clone(),
            name: name.to_owned(),
            token: tokens.access_token,
            refresh: tokens.refresh_token,
        }
    }
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let (answer, body) = try_send(request).await;
    body.expect("the whole body");
    answer
}

/// The same, when the body may break off.
pub(crate) async fn try_send(request: RequestBuilder) -> (Answer, Result<(), CutOff>) {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let what = format!("{} {}", request.method(), request.url());
    let response = match client.execute(request).await {
        Ok(response) => response,
        Err(error) => panic!("{what}: {error:?}"),
    };
    learn(response.url(), response.headers());
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    let mut frames = response.bytes_stream();
    let end = loop {
        match frames.next().await {
            None => break Ok(()),
            Some(Err(_)) => break Err(CutOff),
            Some(Ok(frame)) => body.extend_from_slice(&frame),
        }
    };
    (
        Answer {
            what,
            status,
            headers,
            body: body.into(),
        },
        end,
    )
}

/// A session of an account.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) api: Api,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) refresh: String,
}

impl User {
    /// A request with the access token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.api.request(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &impl Serialize) -> Answer {
        send(self.request(Method::PATCH, path).json(body)).await
    }

    /// Content that nobody else has.
    pub(crate) fn content(&self, label: &str, len: usize) -> Vec<u8> {
        fixed_content(&format!("{}/{label}", self.name), len)
    }

    pub(crate) async fn me(&self) -> Account {
        self.get("/api/v1/me").await.json(200)
    }

    /// Bytes used and bytes reserved.
    pub(crate) async fn usage(&self) -> (u64, u64) {
        let me = self.me().await;
        assert!(
            me.used_bytes + me.reserved_bytes <= me.quota_bytes,
            "{me:?}"
        );
        (me.used_bytes, me.reserved_bytes)
    }

    /// Waits until exactly this much is used and reserved: deleted files are released by and by.
    pub(crate) async fn usage_becomes(&self, used: u64, reserved: u64) {
        eventually(
            &format!("{used} bytes used, {reserved} reserved"),
            async || (self.usage().await == (used, reserved)).then_some(()),
        )
        .await;
    }
}

/// Uploads in chunks.
impl User {
    /// `POST /api/v1/uploads`
    pub(crate) async fn create(&self, body: &impl Serialize) -> Answer {
        self.post("/api/v1/uploads", body).await
    }

    /// Creates an upload for bytes that must be sent.
    pub(crate) async fn begin(&self, path: &str, size: usize) -> Upload {
        match self
            .create(&json!({ "path": path, "size": size }))
            .await
            .json(201)
        {
            Created::Uploading { upload } => upload,
            other => panic!("expected an upload, got {other:?}"),
        }
    }

    pub(crate) fn chunk(&self, id: &str, index: u64) -> RequestBuilder {
        self.request(Method::PUT, &format!("/api/v1/uploads/{id}/chunks/{index}"))
    }

    pub(crate) async fn put_chunk(&self, id: &str, index: u64, bytes: &[u8]) -> Answer {
        send(self.chunk(id, index).body(bytes.to_vec())).await
    }

    /// Sends the chunk that belongs there.
    pub(crate) async fn put_part(&self, upload: &Upload, index: u64, content: &[u8]) {
        self.put_chunk(&upload.id, index, part(upload, index, content))
            .await
            .status(204);
    }

    /// Sends these chunks, four at a time.
    pub(crate) async fn put_parts(
        &self,
        upload: &Upload,
        indexes: impl IntoIterator<Item = u64>,
        content: &[u8],
    ) {
        let parts = indexes
            .into_iter()
            .map(|index| self.put_part(upload, index, content));
        stream::iter(parts)
            .buffer_unordered(4)
            .collect::<Vec<()>>()
            .await;
    }

    pub(crate) async fn upload_state(&self, id: &str) -> UploadState {
        self.get(&format!("/api/v1/uploads/{id}")).await.json(200)
    }

    /// The upload, which must not have ended.
    pub(crate) async fn unfinished(&self, id: &str) -> Upload {
        match self.upload_state(id).await {
            UploadState::Uploading { upload } => upload,
            UploadState::Completed { file } => panic!("completed as {file:?}"),
        }
    }

    pub(crate) async fn try_complete(&self, id: &str) -> Answer {
        send(self.request(Method::POST, &format!("/api/v1/uploads/{id}/complete"))).await
    }

    pub(crate) async fn complete(&self, id: &str) -> File {
        self.try_complete(id).await.json::<Completed>(201).file
    }

    pub(crate) async fn cancel(&self, id: &str) -> Answer {
        self.delete(&format!("/api/v1/uploads/{id}")).await
    }

    pub(crate) async fn prove(&self, id: &str, proof: &str) -> Answer {
        self.post(
            &format!("/api/v1/uploads/{id}/proof"),
            &http::Proof {
                proof: proof.to_owned(),
            },
        )
        .await
    }

    /// The whole way of a file in chunks.
    pub(crate) async fn upload(&self, path: &str, content: &[u8]) -> File {
        let upload = self.begin(path, content.len()).await;
        self.finish(&upload, content).await
    }

    /// Sends what is missing and completes.
    pub(crate) async fn finish(&self, upload: &Upload, content: &[u8]) -> File {
        let missing = upload
            .missing
            .iter()
            .flat_map(|[first, last]| *first..=*last);
        self.put_parts(upload, missing, content).await;
        self.complete(&upload.id).await
    }
}

/// The bytes of a chunk.
pub(crate) fn part<'a>(upload: &Upload, index: u64, content: &'a [u8]) -> &'a [u8] {
    let size = usize::try_from(upload.chunk_size).unwrap();
    let start = usize::try_from(index).unwrap() * size;
    &content[start..content.len().min(start + size)]
}

/// Content and files by path.
impl User {
    pub(crate) fn content_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, &format!("/api/v1/content{}", encode(path)))
    }

    /// `PUT /api/v1/content/{path}`
    pub(crate) async fn try_put(&self, path: &str, content: &[u8]) -> Answer {
        send(
            self.content_request(Method::PUT, path)
                .body(content.to_vec()),
        )
        .await
    }

    /// A new file.
    pub(crate) async fn put(&self, path: &str, content: &[u8]) -> File {
        self.try_put(path, content).await.json(201)
    }

    /// `GET /api/v1/content/{path}`
    pub(crate) async fn download(&self, path: &str) -> Answer {
        send(self.content_request(Method::GET, path)).await
    }

    /// Demands that the path holds exactly this content.
    pub(crate) async fn assert_content(&self, path: &str, content: &[u8]) {
        let answer = self.download(path).await.status(200);
        super::assert_same(&answer.body, content);
        assert_eq!(answer.header("content-length"), content.len().to_string());
        let etag = format!("\"{}\"", blake3::hash(content).to_hex());
        assert_eq!(
            answer.header("etag"),
            etag,
            "the ETag is the hash of the content"
        );
    }

    /// `GET /api/v1/files/{path}`
    pub(crate) async fn try_stat(&self, path: &str) -> Answer {
        self.get(&format!("/api/v1/files{}", encode(path))).await
    }

    /// Metadata of a file.
    pub(crate) async fn stat(&self, path: &str) -> File {
        match self.try_stat(path).await.json::<Listing>(200).entry {
            http::Entry::File(file) => file,
            http::Entry::Folder(folder) => panic!("{path} is a folder: {folder:?}"),
        }
    }

    /// One page of a folder; the query begins with `?` or is empty.
    pub(crate) async fn list(&self, path: &str, query: &str) -> Listing {
        self.get(&format!("/api/v1/files{}{query}", encode(path)))
            .await
            .json(200)
    }

    /// Names in a folder that fits on one page.
    pub(crate) async fn names(&self, path: &str, query: &str) -> Vec<String> {
        names(&self.list(path, query).await)
    }

    pub(crate) async fn mkdir(&self, path: &str) -> Answer {
        self.post("/api/v1/folders", &json!({ "path": path })).await
    }

    pub(crate) async fn mkdirs(&self, path: &str) -> Answer {
        self.post("/api/v1/folders", &json!({ "path": path, "parents": true }))
            .await
    }

    pub(crate) async fn rename(&self, from: &str, to: &str) -> Answer {
        self.patch(
            &format!("/api/v1/files{}", encode(from)),
            &json!({ "path": to }),
        )
        .await
    }

    /// Deletes for good.
    pub(crate) async fn remove(&self, path: &str) -> Answer {
        let path = format!("/api/v1/files{}?permanent=true", encode(path));
        self.delete(&path).await
    }

    /// Deletes into the trash.
    pub(crate) async fn bin(&self, path: &str) -> Answer {
        self.delete(&format!("/api/v1/files{}", encode(path))).await
    }

    /// What is in the trash, last deleted first.
    pub(crate) async fn trash(&self) -> Vec<Trashed> {
        self.get("/api/v1/trash").await.json::<Trash>(200).entries
    }

    /// Puts something of the trash back.
    pub(crate) async fn restore(&self, id: &str, body: &Value) -> Answer {
        self.post(&format!("/api/v1/trash/{id}/restore"), body)
            .await
    }

    /// Waits until the file is in durable storage.
    pub(crate) async fn stored(&self, path: &str) -> File {
        eventually(&format!("{path} is stored"), async || {
            let file = self.stat(path).await;
            (file.state == FileState::Stored).then_some(file)
        })
        .await
    }
}

/// Names of the entries of a page.
pub(crate) fn names(listing: &Listing) -> Vec<String> {
    let entries = listing.entries.as_ref().expect("a folder");
    let path = |entry: &http::Entry| match entry {
        http::Entry::File(file) => file.path.clone(),
        http::Entry::Folder(folder) => folder.path.clone(),
    };
    entries
        .iter()
        .map(|entry| path(entry).rsplit('/').next().unwrap().to_owned())
        .collect()
}

/// A body without a known length.
pub(crate) fn streamed(content: &[u8]) -> reqwest::Body {
    let pieces: Vec<_> = content.chunks(100_000).map(<[u8]>::to_vec).collect();
    reqwest::Body::wrap_stream(
        stream::iter(pieces)
            .map(Ok::<_, std::io::Error>)
            .into_stream(),
    )
}
