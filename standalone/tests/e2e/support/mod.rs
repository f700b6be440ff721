//! What the tests stand on: servers, clients, content, and waiting for events.

mod answer;
mod client;
mod data;
mod line;
mod local;
mod raw;
mod tmpfs;

use std::time::{Duration, Instant};

pub(crate) use self::{
    answer::{Answer, CutOff},
    client::{Api, PASSWORD, User, encode, names, part, send, streamed, try_send},
    data::{assert_same, collision_file, digests, fixed_content, prove, sha256_field},
    line::Line,
    local::{Local, Objects},
    raw::Raw,
    tmpfs::Tmpfs,
};

/// How long an event may take that happens by itself. Far more than it ever takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Waits until the probe finds what it looks for, and fails the test when it never does.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it never happened: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A server to test: the one that `CLOUDSTORE_E2E_URL` names, or one of the test's own.
pub(crate) struct TestStack {
    api: Api,
    local: Option<Local>,
}

impl TestStack {
    /// With the defaults of a fresh installation.
    pub(crate) async fn start() -> Self {
        if let Ok(url) = std::env::var("CLOUDSTORE_E2E_URL") {
            return Self {
                api: Api::new(&url),
                local: None,
            };
        }
        let local = Local::start().await;
        Self {
            api: local.api(),
            local: Some(local),
        }
    }

    /// And a user of it.
    pub(crate) async fn with_user() -> (Self, User) {
        let stack = Self::start().await;
        let user = stack.user().await;
        (stack, user)
    }

    /// Is there a gateway before the services? It reads requests by itself and passes on what it made
    /// of them, so a few things look different from outside.
    pub(crate) fn is_gateway(&self) -> bool {
        self.local.is_none()
    }

    /// Without a login.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// A new account, logged in.
    pub(crate) async fn user(&self) -> User {
        self.api.user().await
    }
}
