//! HTTP as a patient client speaks it: an answer, or none.

use std::time::Duration;

use cloudstore_proto::http::{Account, CreateUpload, Digests, Tokens};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::log::Content;

/// Far more than any request takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer that says what happened.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: bytes::Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {}", self.text()),
        }
    }

    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// The session of an account.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    /// Number of the account in this run.
    pub(crate) account: usize,
}

impl Client {
    /// A new account.
    pub(crate) async fn register(base: String, account: usize) -> Self {
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
            account,
        };
        let credentials = json!({ "username": format!("user-{account}"), "password": "password" });
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

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn put(&self, path: &str, content: &Content) -> RequestBuilder {
        self.request(Method::PUT, &format!("/api/v1/content{path}"))
            .body(content.bytes())
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, &format!("/api/v1/files{path}"))
    }

    pub(crate) fn create(&self, path: &str, content: &Content, declare: bool) -> RequestBuilder {
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
    pub(crate) fn upload(&self, method: Method, id: &str, call: &str) -> RequestBuilder {
        self.request(method, &format!("/api/v1/uploads/{id}{call}"))
    }

    /// The hash of what a path holds, by reading all of it; `None` when there is no file.
    pub(crate) async fn read(&self, path: &str) -> Option<[u8; 32]> {
        let answer = send(self.get(&format!("/api/v1/content{path}"))).await;
        let answer = answer.expect("a whole answer from a server that nobody kills");
        match answer.status {
            200 => Some(*blake3::hash(&answer.body).as_bytes()),
            404 => None,
            _ => panic!("{path}: {}", answer.text()),
        }
    }

    pub(crate) async fn me(&self) -> Account {
        send(self.get("/api/v1/me"))
            .await
            .expect("an answer")
            .json()
    }
}

/// The answer; `None` when the connection broke or the server asks for another try, so that the
/// client cannot know what happened.
pub(crate) async fn send(request: RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let body = response.bytes().await.ok()?;
    let answer = Answer { status, body };
    assert_ne!(status, 500, "{}", answer.text());
    (status != 503).then_some(answer)
}
