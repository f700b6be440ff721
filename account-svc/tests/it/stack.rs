//! account-svc over dbproxy over SQLite in a temporary directory, on a free port.

use std::sync::Arc;

use axum::{Router, extract::FromRef, routing::get};
use cloudstore_account::Config;
use cloudstore_proto::http::Tokens;
use cloudstore_service::{
    auth::{User, Verifier},
    http,
    listener::{self, Limits},
    rpc::{self, Channel},
    settings::Settings,
    tls,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct Stack {
    url: String,
    pub(crate) channel: Channel,
    client: Client,
    database: CancellationToken,
    database_running: JoinHandle<()>,
    _shutdown: DropGuard,
    _directory: tempfile::TempDir,
}

/// What the rest of the API does with a token: it only verifies it.
#[derive(Clone)]
struct Elsewhere(Verifier);

impl FromRef<Elsewhere> for Verifier {
    fn from_ref(state: &Elsewhere) -> Self {
        state.0.clone()
    }
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        tls::install_provider();
        let directory = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let database = CancellationToken::new();
        let (channel, incoming) = rpc::in_memory();
        let path = directory.path().join("db.sqlite");
        let store = cloudstore_dbproxy::SqliteStore::open(&path).await.unwrap();
        let serve = cloudstore_dbproxy::serve(Arc::clone(&store), incoming, database.clone());
        let database_running = tokio::spawn(async move { serve.await.unwrap() });

        let verifier = Verifier::new(channel.clone(), shutdown.clone());
        let elsewhere = Router::new()
            .route(
                "/whoami",
                get(async |user: User| user.account_id.to_string()),
            )
            .with_state(Elsewhere(verifier.clone()));
        let app = cloudstore_account::router(
            config,
            channel.clone(),
            verifier,
            Settings::fixed(),
            shutdown.clone(),
        )
        .await;
        let app = http::finish(app.unwrap().merge(elsewhere));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        tokio::spawn(listener::serve(
            socket,
            app,
            Limits::default(),
            shutdown.clone(),
        ));
        Self {
            url,
            channel,
            client: Client::new(),
            database,
            database_running,
            _shutdown: shutdown.drop_guard(),
            _directory: directory,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Response {
        self.request(Method::GET, path)
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn delete(&self, path: &str, token: &str) -> Response {
        self.request(Method::DELETE, path)
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path)
            .json(body)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn register(&self, username: &str) {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self.post("/api/v1/accounts", &body).await;
        assert_eq!(answer.status(), 201);
    }

    pub(crate) async fn try_login(&self, username: &str, password: &str) -> Response {
        let body = json!({"username": username, "password": password});
        self.post("/api/v1/sessions", &body).await
    }

    pub(crate) async fn login(&self, username: &str) -> Tokens {
        let answer = self.try_login(username, PASSWORD).await;
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        answer.json().await.unwrap()
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Response {
        self.post(
            "/api/v1/sessions/refresh",
            &json!({"refresh_token": refresh_token}),
        )
        .await
    }

    /// A registered account with a session.
    pub(crate) async fn with_user(username: &str) -> (Self, Tokens) {
        let stack = Self::start().await;
        stack.register(username).await;
        let tokens = stack.login(username).await;
        (stack, tokens)
    }

    /// Stops dbproxy for good.
    pub(crate) async fn stop_database(&mut self) {
        self.database.cancel();
        (&mut self.database_running).await.unwrap();
    }
}

/// Checks that an answer is this problem and returns its body.
pub(crate) async fn problem(answer: Response, status: u16, slug: &str) -> Value {
    let got = answer.status();
    let text = answer.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (got.as_u16(), &body["type"]),
        (status, &json!(format!("/problems/{slug}"))),
        "{text}"
    );
    assert_eq!(body["status"], status);
    assert!(
        body["request_id"].as_str().is_some_and(|id| !id.is_empty()),
        "{text}"
    );
    body
}
