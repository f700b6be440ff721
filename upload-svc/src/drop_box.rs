//! The drop box: an account whose owner lets everybody send files to `/files/`, if the operator
//! names one. Who sends nothing to prove who it is gets as far as a token with the scope `upload`,
//! and is told of no upload but its own: there the unguessable address of an upload is all that
//! leads to it. The account's quota bounds what strangers can fill.

use std::{sync::Arc, time::Duration};

use axum::extract::{FromRef, FromRequestParts, OriginalUri};
use cloudstore_proto::account::{
    Account, FindCredentialsRequest, account_store_client::AccountStoreClient,
};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::{Uploader, Verifier},
    rpc::{Channel, deadline},
};
use http::{header, request::Parts};
use uuid::Uuid;

use crate::links::Links;

/// Where strangers may send to.
const BELOW: &str = "/files/";

/// What an operator says of the drop box.
#[derive(Clone, Debug)]
pub struct Config {
    /// Username of the account, which must exist.
    pub account: String,
    /// How long an unfinished upload of this account is kept.
    pub lifetime: Duration,
}

/// The drop box of this server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DropBox {
    pub(crate) account: Uuid,
    pub(crate) lifetime: Duration,
}

impl DropBox {
    /// Finds the account.
    ///
    /// # Errors
    /// `not-found` when there is none with this name; as dbproxy fails.
    pub(crate) async fn open(config: &Config, channel: Channel) -> Result<Self> {
        let request = FindCredentialsRequest {
            username: config.account.clone(),
        };
        let mut accounts = AccountStoreClient::new(channel);
        let found = accounts.find_credentials(deadline(request)).await;
        let found = found.map_err(|status| match Problem::from(status) {
            problem if problem.kind() == Kind::NotFound => {
                let name = &config.account;
                let detail = format!("there is no account {name} for the drop box: register it");
                Problem::new(Kind::NotFound, detail)
            }
            problem => problem,
        })?;
        let Account { id, .. } = found.into_inner().account.unwrap_or_default();
        Ok(Self {
            account: Uuid::from_slice(&id).map_err(Problem::internal)?,
            lifetime: config.lifetime,
        })
    }
}

/// What is looked at to tell who may send content to `/files/`.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) verifier: Verifier,
    pub(crate) drop_box: Option<DropBox>,
    pub(crate) links: Links,
}

/// Who sends content to `/files/`: an [`Uploader`], somebody with an upload link, or anybody where there
/// is a drop box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Depositor {
    /// The account that gets the content.
    pub(crate) account_id: Uuid,
    /// It may put new content in the place of old one.
    pub(crate) may_replace: bool,
    /// It has shown nothing that the account has: it may see of it what it sends, and nothing else.
    pub(crate) is_anonymous: bool,
    /// Normalised; where its files go.
    pub(crate) folder: Arc<str>,
}

impl Depositor {
    /// The id of a new upload. That of a stranger is all that protects it, so it says nothing about
    /// the ids that others got at the same time.
    pub(crate) fn new_id(&self) -> Uuid {
        match self.is_anonymous {
            true => Uuid::new_v4(),
            false => Uuid::now_v7(),
        }
    }

    /// Whom a request comes from. Credentials that are not valid are refused, drop box or not: who
    /// shows some means to be somebody.
    ///
    /// # Errors
    /// As for [`Uploader`], and as [`Links::shown`].
    pub(crate) async fn of(parts: &mut Parts, admission: &Admission) -> Result<Self> {
        if is_below(parts)
            && let Some(stranger) = Self::stranger(parts, admission).await?
        {
            return Ok(stranger);
        }
        let uploader = Uploader::from_request_parts(parts, &admission.verifier).await?;
        Ok(Self {
            account_id: uploader.account_id,
            may_replace: uploader.may_replace,
            is_anonymous: false,
            folder: "/".into(),
        })
    }

    async fn stranger(parts: &Parts, admission: &Admission) -> Result<Option<Self>> {
        let stranger = |account_id, folder| Self {
            account_id,
            may_replace: false,
            is_anonymous: true,
            folder,
        };
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            let drop_box = admission.drop_box;
            return Ok(drop_box.map(|DropBox { account, .. }| stranger(account, "/".into())));
        }
        let link = admission.links.shown(parts, &admission.verifier).await?;
        Ok(link.map(|link| stranger(link.account, link.folder.clone())))
    }
}

/// By the address as it was sent: a router within a router sees the rest of it only.
fn is_below(parts: &Parts) -> bool {
    let sent = parts.extensions.get::<OriginalUri>();
    let uri = sent.map_or(&parts.uri, |OriginalUri(uri)| uri);
    uri.path().starts_with(BELOW)
}

impl<S> FromRequestParts<S> for Depositor
where
    Admission: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Self::of(parts, &Admission::from_ref(state)).await
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::any};
    use cloudstore_dbproxy::SqliteStore;
    use cloudstore_proto::account::{CreateAccountRequest, CreateApiTokenRequest, TokenScope};
    use cloudstore_service::{auth::ApiToken, rpc};
    use http::Request;
    use tokio_util::sync::{CancellationToken, DropGuard};
    use tower::ServiceExt as _;

    use super::*;

    #[derive(Clone, FromRef)]
    struct App {
        admission: Admission,
    }

    /// Metadata with two accounts.
    struct Site {
        channel: Channel,
        verifier: Verifier,
        _shutdown: DropGuard,
        _dir: tempfile::TempDir,
    }

    const INBOX: Uuid = Uuid::from_u128(1);
    const ANNA: Uuid = Uuid::from_u128(2);

    impl Site {
        async fn start() -> Self {
            let (dir, shutdown) = (tempfile::tempdir().unwrap(), CancellationToken::new());
            let store = SqliteStore::open(dir.path().join("db")).await.unwrap();
            for (id, name) in [(INBOX, "Inbox"), (ANNA, "anna")] {
                let request = CreateAccountRequest {
                    id: id.into_bytes().to_vec().into(),
                    username: name.to_owned(),
                    password_hash: "none".to_owned(),
                    ..CreateAccountRequest::default()
                };
                store.create_account(request).await.unwrap();
            }
            let (channel, incoming) = rpc::in_memory();
            let serve = cloudstore_dbproxy::serve(store, incoming, shutdown.clone());
            tokio::spawn(async move { serve.await.unwrap() });
            Self {
                verifier: Verifier::new(channel.clone(), shutdown.clone()),
                channel,
                _shutdown: shutdown.drop_guard(),
                _dir: dir,
            }
        }

        async fn drop_box(&self, name: &str) -> Result<DropBox> {
            let config = Config {
                account: name.to_owned(),
                lifetime: Duration::from_secs(60),
            };
            DropBox::open(&config, self.channel.clone()).await
        }

        /// `Authorization` of a token of Anna's.
        async fn token(&self, scope: TokenScope) -> String {
            let token = ApiToken::generate().unwrap();
            let request = CreateApiTokenRequest {
                id: Uuid::now_v7().into_bytes().to_vec().into(),
                account_id: ANNA.into_bytes().to_vec().into(),
                hash: token.hash().to_vec().into(),
                name: "test".to_owned(),
                scope: scope.into(),
                lifetime_ms: 60_000,
                max_tokens: 10,
            };
            let mut accounts = AccountStoreClient::new(self.channel.clone());
            accounts.create_api_token(deadline(request)).await.unwrap();
            format!("Bearer {}", token.text())
        }
    }

    /// What the extractor makes of a request, in a router within a router: account, whether it may
    /// replace, whether it is anonymous; or the status of the refusal.
    async fn ask(
        site: &Site,
        drop_box: Option<DropBox>,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<(Uuid, bool, bool), u16> {
        let answer = async |it: Depositor| {
            format!("{} {} {}", it.account_id, it.may_replace, it.is_anonymous)
        };
        let inner = Router::new()
            .route("/", any(answer))
            .route("/{*rest}", any(answer));
        let admission = Admission {
            verifier: site.verifier.clone(),
            drop_box,
            links: Links::new(site.channel.clone()),
        };
        let app = Router::new()
            .nest("/files/", inner.clone())
            .nest("/api/", inner)
            .with_state(App { admission });
        let mut request = Request::post(path);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let response = app.oneshot(request.body(Body::empty()).unwrap()).await;
        let response = response.unwrap();
        if !response.status().is_success() {
            return Err(response.status().as_u16());
        }
        let body = axum::body::to_bytes(response.into_body(), 1_000)
            .await
            .unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let mut parts = text.split(' ');
        let mut next = || parts.next().unwrap();
        Ok((
            next().parse().unwrap(),
            next().parse().unwrap(),
            next().parse().unwrap(),
        ))
    }

    #[tokio::test]
    async fn strangers_are_let_in_below_files_only_and_only_if_the_operator_says_so() {
        let site = Site::start().await;
        let drop_box = site.drop_box("iNBOX").await.unwrap();
        assert_eq!(drop_box.account, INBOX, "names do not depend on case");
        let stranger = Ok((INBOX, false, true));
        for path in ["/files/", "/files/0190-abc"] {
            assert_eq!(ask(&site, Some(drop_box), path, None).await, stranger);
            assert_eq!(ask(&site, None, path, None).await, Err(401));
        }
        let elsewhere = ask(&site, Some(drop_box), "/api/files/", None).await;
        assert_eq!(elsewhere, Err(401));
    }

    #[tokio::test]
    async fn who_shows_credentials_is_who_they_say_or_nobody() {
        let site = Site::start().await;
        let drop_box = site.drop_box("inbox").await.unwrap();
        let (full, upload, read) = (
            site.token(TokenScope::Full).await,
            site.token(TokenScope::Upload).await,
            site.token(TokenScope::Read).await,
        );
        for drop_box in [None, Some(drop_box)] {
            for (authorization, expected) in [
                (&*full, Ok((ANNA, true, false))),
                (&*upload, Ok((ANNA, false, false))),
                (&*read, Err(403)),
                ("Bearer cst_nonsense", Err(401)),
                ("Bearer", Err(401)),
                ("", Err(401)),
            ] {
                let found = ask(&site, drop_box, "/files/x", Some(authorization)).await;
                assert_eq!(found, expected, "{authorization}");
            }
        }
    }

    #[tokio::test]
    async fn the_account_must_exist() {
        let site = Site::start().await;
        let problem = site.drop_box("nobody").await.unwrap_err();
        assert_eq!(problem.kind(), Kind::NotFound);
    }
}
