//! HTTP as a patient client speaks it: an answer, or none.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudstore_proto::http::{Account, CreateUpload, Digests, PROBLEM_JSON, Tokens};
use cloudstore_service::position::{HEADER as POSITION, is_covered};
use reqwest::{Body, Method, RequestBuilder, Response, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{log::Content, random::Random};

/// Far more than any request takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer that says what happened.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: bytes::Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {}", self.text()),
        }
    }

    /// Status and body, for messages.
    pub fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// How far the server's database was when it answered this client last. Sent back, so that the
/// client reads its own writes, as every client is asked to do.
type Position = Arc<Mutex<Option<String>>>;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes on their way in, and everything about an upload.
    Upload,
    /// Metadata or content of files.
    Read,
    /// Other changes: accounts, deletions.
    Change,
}

impl Kind {
    fn of(method: &Method, path: &str) -> Self {
        let content = path.starts_with("/api/v1/content/") && method == Method::PUT;
        if content || path.starts_with("/api/v1/uploads") {
            Self::Upload
        } else if method == Method::GET {
            Self::Read
        } else {
            Self::Change
        }
    }
}

/// A request that got no answer, or was asked to come again.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What it was for.
    pub kind: Kind,
    /// Method and path.
    pub what: String,
    /// Why there is no answer; the status, headers and body of a 503.
    pub why: String,
    /// A server that cannot answer now says so as a problem, and when to come again.
    pub well_formed: bool,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

/// A request that is to be sent.
pub struct Call {
    request: RequestBuilder,
    kind: Kind,
    what: String,
    position: Position,
}

impl Call {
    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.request = self.request.json(body);
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.request = self.request.body(body);
        self
    }
}

/// The session of an account.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    position: Position,
    /// Number of the account in this run.
    pub account: usize,
}

impl Client {
    /// A new account.
    pub async fn register(base: String, account: usize) -> Self {
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .unwrap();
        let mut client = Self {
            http,
            base,
            token: String::new(),
            position: Position::default(),
            account,
        };
        // The server may have served another run before.
        let name = format!("user-{account}-{:x}", Random::entropy());
        let credentials = json!({ "username": name, "password": "password" });
        let register = client
            .request(Method::POST, "/api/v1/accounts")
            .json(&credentials);
        assert_eq!(send(register).await.unwrap().status, 201);
        let login = client
            .request(Method::POST, "/api/v1/sessions")
            .json(&credentials);
        let tokens: Tokens = send(login).await.unwrap().json();
        client.token = tokens.access_token;
        client
    }

    /// Its access token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A call with the token and the position.
    pub fn request(&self, method: Method, path: &str) -> Call {
        let (kind, what) = (Kind::of(&method, path), format!("{method} {path}"));
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        let position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = &*position {
            request = request.header(POSITION, position);
        }
        Call {
            request,
            kind,
            what,
            position: self.position.clone(),
        }
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Call {
        self.request(Method::GET, path)
    }

    /// A direct upload to a path.
    pub fn put(&self, path: &str, content: &Content) -> Call {
        self.request(Method::PUT, &format!("/api/v1/content{path}"))
            .body(content.bytes())
    }

    /// Deletes what a path names, for good or into the trash.
    pub fn delete(&self, path: &str, permanent: bool) -> Call {
        let path = format!("/api/v1/files{path}?permanent={permanent}");
        self.request(Method::DELETE, &path)
    }

    /// Deletes for good what is in the trash.
    pub fn empty_trash(&self) -> Call {
        self.request(Method::DELETE, "/api/v1/trash")
    }

    /// Begins an upload, with or without saying what comes.
    pub fn create(&self, path: &str, content: &Content, declare: bool) -> Call {
        let digests = declare.then(|| Digests {
            blake3: Some(content.hex()),
            ..Digests::default()
        });
        self.request(Method::POST, "/api/v1/uploads")
            .json(&CreateUpload {
                path: path.to_owned(),
                size: content.size,
                digests,
                mtime: None,
                on_conflict: cloudstore_proto::http::OnConflict::Fail,
            })
    }

    /// A call about an upload.
    pub fn upload(&self, method: Method, id: &str, call: &str) -> Call {
        self.request(method, &format!("/api/v1/uploads/{id}{call}"))
    }

    /// The hash of what a path holds, by reading all of it; `None` when there is no file.
    pub async fn read(&self, path: &str) -> Option<[u8; 32]> {
        let answer = send(self.get(&format!("/api/v1/content{path}"))).await;
        let answer = answer.expect("a whole answer from a server that nobody kills");
        match answer.status {
            200 => Some(*blake3::hash(&answer.body).as_bytes()),
            404 => None,
            _ => panic!("{path}: {}", answer.text()),
        }
    }

    /// The account.
    pub async fn me(&self) -> Account {
        send(self.get("/api/v1/me"))
            .await
            .expect("an answer")
            .json()
    }
}

/// The answer; `None` when the connection broke or the server asks for another try, so that the
/// client cannot know what happened.
pub async fn send(call: Call) -> Option<Answer> {
    attempt(call).await.ok()
}

/// As [`send`], with the reason.
///
/// # Errors
/// When the connection broke or the server asks for another try.
pub async fn attempt(call: Call) -> Result<Answer, Broken> {
    let (kind, what) = (call.kind, call.what);
    let lost = |error: reqwest::Error| Broken {
        kind,
        what: what.clone(),
        why: format!("{error:?}"),
        // Nobody is left who could say so.
        well_formed: true,
        retry_after: None,
    };
    let response = call.request.send().await.map_err(lost)?;
    learn(&call.position, &response);
    let status = response.status().as_u16();
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let retry_after = header(header::RETRY_AFTER)
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    let is_problem = header(header::CONTENT_TYPE) == Some(PROBLEM_JSON);
    let body = response.bytes().await.map_err(lost)?;
    let answer = Answer { status, body };
    assert_ne!(status, 500, "{what}: {}", answer.text());
    if status != 503 {
        return Ok(answer);
    }
    Err(Broken {
        kind,
        why: answer.text(),
        what,
        well_formed: is_problem && retry_after.is_some(),
        retry_after,
    })
}

/// The newest position counts: answers of calls side by side come in any order.
fn learn(known: &Position, response: &Response) {
    let told = response.headers().get(POSITION);
    if let Some(told) = told.and_then(|told| told.to_str().ok()) {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known
            .as_deref()
            .is_some_and(|known| is_covered(told, known))
        {
            *known = Some(told.to_owned());
        }
    }
}
