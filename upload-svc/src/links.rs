//! Upload links: shares of folders in which others put files. Whoever has one shows its token at
//! `/files/`, and its ticket if it has a password.

use std::{sync::Arc, time::Duration};

use cloudstore_proto::share::{FindSharedRequest, share_store_client::ShareStoreClient};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::{SHARE_TICKET, ShareToken, Verifier, insufficient},
    guesses::Guesses,
    listener::ClientAddress,
    rpc::{Channel, deadline},
};
use http::{HeaderMap, Method, header, request::Parts};
use moka::future::Cache;
use uuid::Uuid;

/// How long a link is taken for good without asking again, so that the pieces of an upload cost no
/// call each. One that is revoked is good for so much longer, for uploads that have begun.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
/// Links that are remembered, of about 300 bytes each: more than can be in use at a time.
const REMEMBERED: u64 = 10_000;

/// What a link is good for.
#[derive(Debug)]
pub(crate) struct Link {
    id: Uuid,
    /// Gets the content.
    pub(crate) account: Uuid,
    /// Where the folder is now.
    pub(crate) folder: Arc<str>,
    has_password: bool,
}

/// Looks links up.
#[derive(Clone)]
pub(crate) struct Links {
    shares: ShareStoreClient<Channel>,
    known: Cache<[u8; 32], Arc<Link>>,
    guesses: Arc<Guesses>,
}

impl Links {
    pub(crate) fn new(channel: Channel) -> Self {
        let known = Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(REMEMBERED_FOR);
        Self {
            shares: ShareStoreClient::new(channel),
            known: known.build(),
            guesses: Arc::default(),
        }
    }

    /// The link whose token a request shows, if it shows one at all.
    ///
    /// # Errors
    /// `unauthenticated` for one that opens nothing, `insufficient-scope` for one that is for looking,
    /// `password-required`, `rate-limited` for who makes tokens up; `unavailable` when dbproxy does not
    /// answer.
    pub(crate) async fn shown(
        &self,
        parts: &Parts,
        verifier: &Verifier,
    ) -> Result<Option<Arc<Link>>> {
        let Some(token) = token(&parts.headers) else {
            return Ok(None);
        };
        let hash = token.hash();
        let known = match parts.method {
            // A new upload goes to where the folder is by now.
            Method::POST => None,
            _ => self.known.get(&hash).await,
        };
        let link = match known {
            Some(link) => link,
            None => {
                let client = ClientAddress::of(parts)?;
                let found = self.guesses.look_up(client, &token, self.look_up(hash));
                found.await.map_err(hidden)?
            }
        };
        if link.has_password {
            link.check_ticket(&parts.headers, verifier).await?;
        }
        Ok(Some(link))
    }

    async fn look_up(&self, hash: [u8; 32]) -> Result<Arc<Link>> {
        let request = FindSharedRequest {
            hash: hash.to_vec().into(),
            path: "/".to_owned(),
        };
        let found = self.shares.clone().find_shared(deadline(request)).await;
        let share = found
            .map_err(Problem::from)?
            .into_inner()
            .share
            .unwrap_or_default();
        if !share.uploads {
            return Err(insufficient("this link is for looking, not for uploads"));
        }
        let link = Arc::new(Link {
            id: Uuid::from_slice(&share.id).map_err(Problem::internal)?,
            account: Uuid::from_slice(&share.account_id).map_err(Problem::internal)?,
            folder: share.path.into(),
            has_password: share.has_password,
        });
        self.known.insert(hash, link.clone()).await;
        Ok(link)
    }
}

impl Link {
    async fn check_ticket(&self, headers: &HeaderMap, verifier: &Verifier) -> Result<()> {
        let ticket = headers.get(SHARE_TICKET);
        if let Some(ticket) = ticket.and_then(|ticket| ticket.to_str().ok()) {
            match verifier.share_ticket(ticket).await {
                Ok(id) if id == self.id => return Ok(()),
                Err(problem) if problem.kind() != Kind::Unauthenticated => return Err(problem),
                _ => {}
            }
        }
        let detail = "unlock the link with its password first";
        Err(Problem::new(Kind::PasswordRequired, detail))
    }
}

/// What opens nothing are credentials that are not valid.
fn hidden(problem: Problem) -> Problem {
    match problem.kind() {
        Kind::NotFound => {
            let detail = "there is no such link, or it has ended";
            Problem::new(Kind::Unauthenticated, detail)
        }
        _ => problem,
    }
}

/// The token in `Authorization: Bearer`.
fn token(headers: &HeaderMap) -> Option<ShareToken> {
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(shown), None) = (shown.next(), shown.next()) else {
        return None;
    };
    let (scheme, text) = shown.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    ShareToken::parse(text.trim())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use cloudstore_dbproxy::SqliteStore;
    use cloudstore_service::rpc;
    use http::Request;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Tokens that open nothing which one client may show in a minute.
    const GUESSES: usize = 60;

    #[tokio::test]
    async fn made_up_tokens_are_bounded() {
        let (dir, shutdown) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let store = SqliteStore::open(dir.path().join("db")).await.unwrap();
        let (channel, incoming) = rpc::in_memory();
        let serve = cloudstore_dbproxy::serve(store, incoming, shutdown.clone());
        tokio::spawn(async move { serve.await.unwrap() });
        let verifier = Verifier::new(channel.clone(), shutdown.clone());
        let links = Links::new(channel);
        let guess = async |client: u8| {
            let token = ShareToken::generate().unwrap().text();
            let client = ClientAddress(IpAddr::V4(Ipv4Addr::new(192, 0, 2, client)));
            let request = Request::post("/files/")
                .header(header::AUTHORIZATION, format!("Bearer {token}"))
                .extension(client);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let shown = links.shown(&parts, &verifier).await;
            shown.map(|_| ()).unwrap_err().kind()
        };
        let mut guesses = 0;
        // A slow machine has some of them free again.
        let refused = loop {
            let kind = guess(1).await;
            if kind != Kind::Unauthenticated {
                break kind;
            }
            guesses += 1;
            assert!(guesses < 10 * GUESSES);
        };
        assert_eq!(refused, Kind::RateLimited);
        assert!(guesses >= GUESSES, "{guesses}");
        assert_eq!(guess(2).await, Kind::Unauthenticated, "nobody else");
        shutdown.cancel();
    }
}
