//! Any instance takes any request; the node with the bytes answers it. What belongs to another
//! node is streamed through to it, in both directions, before anything of the body is read.
//!
//! A forwarded request says who sends it ([`FORWARDED`], with a service's token), is checked for
//! its user again, and is never forwarded once more.

mod carried;
mod client;
mod list;

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequestParts as _, RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use cloudstore_service::{
    Kind, Problem, Result,
    trust::{Tokens, Trusted},
};
use http::{HeaderMap, HeaderName, Method, request::Parts};
use moka::future::Cache;
use uuid::Uuid;

use self::client::{Client, Failed};
use crate::{
    drop_box::{Admission, Depositor},
    engine::{Engine, Error},
    peers::{Directory, Place},
    routes::App,
};

/// The name of this service in service tokens.
pub(crate) const AUDIENCE: &str = "upload-svc";
/// On a forwarded request: the node that sends it.
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static("cloudstore-forwarded");
/// On a forwarded request: the token of the sending service; `Authorization` is the user's.
pub(crate) const SERVICE_TOKEN: HeaderName = HeaderName::from_static("cloudstore-service-token");

/// How long the owner of an upload is remembered. It never changes, but the upload ends.
const OWNER_TTL: Duration = Duration::from_secs(60);
/// Owners that are remembered: about 100 bytes each.
const OWNERS: u64 = 100_000;

/// The way to the other nodes.
pub(crate) struct Forward {
    engine: Arc<Engine>,
    admission: Admission,
    trusted: Trusted,
    directory: Arc<Directory>,
    client: Client,
    /// Owners of uploads that are not here.
    owners: Cache<Uuid, Arc<str>>,
}

/// Whose request this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// The client's own.
    Client,
    /// Another node sent it on: it is answered here or not at all.
    Node,
}

/// The layer of all routes that name an upload.
pub(crate) async fn to_owner(State(app): State<App>, request: Request, next: Next) -> Response {
    let forward = &app.forward;
    let (mut parts, body) = request.into_parts();
    match forward.decide(&mut parts).await {
        Ok(Decision::Here) => next.run(Request::from_parts(parts, body)).await,
        Ok(Decision::Node(id, node)) => forward.pass(id, &node, parts, body, next).await,
        Err(problem) => problem.into_response(),
    }
}

enum Decision {
    Here,
    Node(Uuid, Arc<str>),
}

impl Forward {
    pub(crate) fn new(
        engine: Arc<Engine>,
        admission: Admission,
        directory: Arc<Directory>,
        trusted: Trusted,
        tokens: Tokens,
    ) -> Self {
        let client = Client::new(&engine.settings().node, tokens);
        Self {
            engine,
            admission,
            trusted,
            directory,
            client,
            owners: Cache::builder()
                .max_capacity(OWNERS)
                .time_to_live(OWNER_TTL)
                .build(),
        }
    }

    /// Who sends a request. Nobody but this service may say that a request was forwarded.
    ///
    /// # Errors
    /// `unavailable` when it is said without a token that can be verified now. To take such a
    /// request for a client's could send it in circles.
    pub(crate) async fn sender(&self, headers: &HeaderMap) -> Result<Sender> {
        if !headers.contains_key(FORWARDED) {
            return Ok(Sender::Client);
        }
        let token = headers.get(SERVICE_TOKEN);
        let token = token.and_then(|token| token.to_str().ok());
        let verified = self
            .trusted
            .verify(token.unwrap_or_default(), AUDIENCE, &[AUDIENCE]);
        match verified.await {
            Ok(_) => Ok(Sender::Node),
            Err(problem) => {
                let detail = "a forwarded request comes without proof of where it comes from";
                Err(Problem::new(Kind::Unavailable, detail).caused_by(problem))
            }
        }
    }

    /// Where a request is answered. Reads nothing of the body.
    async fn decide(&self, parts: &mut Parts) -> Result<Decision> {
        let sender = self.sender(&parts.headers).await?;
        // A path without a valid id is refused by the handler.
        let Some(id) = upload_id(parts).await else {
            return Ok(Decision::Here);
        };
        if self.engine.has(id) {
            return Ok(Decision::Here);
        }
        let account = self.account(parts).await?;
        let known = self.owners.get(&id).await;
        let owner = match known {
            Some(node) => Some(node),
            None => self.look_up(account, id).await?,
        };
        match owner {
            None => Ok(Decision::Here),
            Some(node) if sender == Sender::Node => {
                // The sender's list of nodes is wrong.
                Err(Error::OtherNode(node.to_string()).into())
            }
            Some(node) => Ok(Decision::Node(id, node)),
        }
    }

    /// Whose upload may be asked for: the handler decides in the same way.
    async fn account(&self, parts: &mut Parts) -> Result<Uuid> {
        let depositor = Depositor::of(parts, &self.admission).await?;
        Ok(depositor.account_id)
    }

    /// Asks dbproxy for the node of an unfinished upload that is not on this one.
    async fn look_up(&self, account: Uuid, id: Uuid) -> Result<Option<Arc<str>>> {
        let node = self.engine.elsewhere(account, id).await?;
        let node: Option<Arc<str>> = node.map(Into::into);
        match &node {
            Some(node) => self.owners.insert(id, node.clone()).await,
            None => self.owners.invalidate(&id).await,
        }
        Ok(node)
    }

    /// Answers with what the owner answers.
    async fn pass(&self, id: Uuid, node: &str, parts: Parts, body: Body, next: Next) -> Response {
        let Place::At(address) = self.directory.find(node) else {
            return self.without_owner(id, node, parts, body, next).await;
        };
        let empty = body.is_end_stream();
        let answer = match self.client.send(address, &parts, body).await {
            // Everything without a body can be repeated; the connection may have been an old one.
            Err(Failed::Broken(_)) if empty => {
                self.client.send(address, &parts, Body::empty()).await
            }
            answer => answer,
        };
        metrics::counter!("cloudstore_uploads_forwarded_total").increment(1);
        match answer {
            Ok(answer) => answer,
            Err(Failed::Unreachable(error)) if empty => {
                tracing::warn!(node, %error, "the owner of an upload cannot be reached");
                self.without_owner(id, node, parts, Body::empty(), next)
                    .await
            }
            Err(failed) => {
                self.owners.invalidate(&id).await;
                Problem::from(failed).into_response()
            }
        }
    }

    /// The owner is away. What was completed needs it no more; of the rest something can be said
    /// only when it has been away for too long.
    async fn without_owner(
        &self,
        id: Uuid,
        node: &str,
        mut parts: Parts,
        body: Body,
        next: Next,
    ) -> Response {
        let account = match self.account(&mut parts).await {
            Ok(account) => account,
            Err(problem) => return problem.into_response(),
        };
        match self.look_up(account, id).await {
            Ok(None) => return next.run(Request::from_parts(parts, body)).await,
            Ok(Some(_)) => {}
            Err(problem) => return problem.into_response(),
        }
        match self.directory.find(node) {
            // Cancelling releases what the account has reserved, wherever the bytes are.
            Place::Lost if parts.method == Method::DELETE => {
                next.run(Request::from_parts(parts, body)).await
            }
            Place::Lost => {
                let detail = "the node with what was received of this upload is gone: start again";
                Problem::new(Kind::UploadLost, detail).into_response()
            }
            Place::Away | Place::At(_) => {
                let detail = "the node that holds this upload cannot be reached";
                Problem::new(Kind::Unavailable, detail).into_response()
            }
        }
    }
}

async fn upload_id(parts: &mut Parts) -> Option<Uuid> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let id = params.iter().find(|(name, _)| *name == "id")?.1;
    Uuid::try_parse(id).ok()
}
