//! Verifies access tokens without asking anybody: keys and revoked sessions are copied from dbproxy
//! in the background, verified tokens are remembered. API tokens are looked up (`tokens.rs`); of
//! their revocation it hears as of that of sessions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use cloudstore_proto::account::{
    ListKeysRequest, ListRevocationsRequest, account_store_client::AccountStoreClient,
};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    ACCESS_TOKEN_TTL, Access, ApiToken, Credential, LEEWAY, PREFIX, User,
    credentials::Credentials,
    keys::{self, Keys},
    tokens::{self, Tokens},
};
use crate::{Kind, Problem, Result, cache::Generations, clock, refresh::Refresher, rpc};

/// How often keys and revocations are copied: a logout is effective everywhere after this time.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// Tokens in each generation of the cache, about 150 bytes each.
const CACHED_TOKENS: usize = 16_384;
/// A revoked session is of interest as long as one of its access tokens may be accepted. The rest
/// covers clocks that differ between dbproxy and this process.
const REVOCATION_MEMORY: Duration =
    Duration::from_secs(ACCESS_TOKEN_TTL.as_secs() + LEEWAY.as_secs() + 15 * 60);
// So is a revoked API token as long as it is accepted without asking.
const _: () = assert!(tokens::REMEMBERED_FOR.as_secs() < ACCESS_TOKEN_TTL.as_secs());

/// Verifies access tokens and API tokens. Clones share everything.
#[derive(Clone)]
pub struct Verifier(Arc<Shared>);

struct Shared {
    accounts: AccountStoreClient<rpc::Channel>,
    keys: RwLock<Keys>,
    revoked: RwLock<Revoked>,
    verified: Mutex<Generations<[u8; 32], Verified>>,
    tokens: Tokens,
    /// Because of unknown keys.
    refresher: Refresher,
}

/// Sessions and API tokens that ended, and when this process heard of it.
#[derive(Default)]
struct Revoked {
    /// Where the next copy goes on; `None` until the first one, before which nobody is let in.
    since_ms: Option<i64>,
    sessions: HashMap<Uuid, Instant>,
}

#[derive(Clone, Copy)]
struct Verified {
    user: User,
    exp: u64,
}

impl Verifier {
    /// Starts copying keys and revocations every second until `shutdown`. While dbproxy cannot be
    /// reached, what was copied stays in force.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(channel: rpc::Channel, shutdown: CancellationToken) -> Self {
        let accounts = AccountStoreClient::new(channel);
        let verifier = Self(Arc::new(Shared {
            tokens: Tokens::new(accounts.clone()),
            accounts,
            keys: RwLock::default(),
            revoked: RwLock::default(),
            verified: Mutex::new(Generations::new(CACHED_TOKENS)),
            refresher: Refresher::new(REFRESH_EVERY),
        }));
        let copy = verifier.clone();
        tokio::spawn(async move {
            shutdown.run_until_cancelled(copy.keep_fresh()).await;
        });
        verifier
    }

    /// Who sends a request, by its `Authorization`. See [`Verifier::verify`] for what it costs.
    ///
    /// # Errors
    /// As [`Verifier::verify`]; `unauthenticated` as well when there are no credentials, and one
    /// answer for everything that may be wrong with an API token; `overloaded` when too many of
    /// them are being tried.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Access> {
        match Credentials::of(headers)? {
            Credentials::Bearer(text) if text.starts_with(PREFIX) => {
                self.api_token(text, None).await
            }
            Credentials::Bearer(token) => Ok(Access {
                user: self.verify(token).await?,
                credential: Credential::Login,
            }),
            Credentials::Basic { username, password } => {
                self.api_token(&password, Some(&username)).await
            }
        }
    }

    /// Whose token this is, if it is that of the account with this name. The name is compared only
    /// when the token is known to be good, and nobody's password is looked at: what is answered and
    /// how late says nothing about names.
    async fn api_token(&self, text: &str, username: Option<&str>) -> Result<Access> {
        let token = ApiToken::parse(text).ok_or_else(tokens::refused)?;
        let known = self.0.tokens.find(&token).await?;
        // Names of accounts are ASCII.
        let named = username.is_none_or(|name| name.eq_ignore_ascii_case(&known.username));
        if !named || self.is_revoked(known.user.session_id).await? {
            return Err(tokens::refused());
        }
        Ok(Access {
            user: known.user,
            credential: Credential::Token(known.scope),
        })
    }

    /// Who an access token belongs to. Costs a hash and two look-ups for a token that was seen before.
    ///
    /// # Errors
    /// `token-expired`; `unauthenticated` for everything else that is wrong with it, and for
    /// revoked sessions; `unavailable` when dbproxy would have to be asked and does not answer.
    pub async fn verify(&self, token: &str) -> Result<User> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let user = match self.remembered(&hash) {
            Some(user) => user,
            None => self.check(token, hash).await?,
        };
        if self.is_revoked(user.session_id).await? {
            return Err(Problem::new(Kind::Unauthenticated, "the session has ended"));
        }
        Ok(user)
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<User> {
        let verified = lock(&self.0.verified).get(hash)?;
        // Between exp and the leeway the full check decides.
        (clock::now_s() < verified.exp).then_some(verified.user)
    }

    /// Which share a ticket is for. It is not remembered: whoever comes with one asks for content.
    ///
    /// # Errors
    /// `unauthenticated` for every ticket that is not good, an expired one too; `unavailable` when
    /// dbproxy would have to be asked and does not answer.
    pub async fn share_ticket(&self, ticket: &str) -> Result<Uuid> {
        let (kid, now_ms) = self.known_kid(ticket).await?;
        let claims = read(&self.0.keys).verify_share(&kid, ticket, now_ms)?;
        Ok(claims.sub)
    }

    /// The `kid` of a token, after its key was looked for.
    async fn known_kid(&self, token: &str) -> Result<(String, i64)> {
        let kid = keys::kid(token)?;
        let now_ms = clock::now_ms();
        let known = read(&self.0.keys).knows(&kid, now_ms);
        if !known {
            self.look_for(&kid).await?;
        }
        Ok((kid, now_ms))
    }

    async fn check(&self, token: &str, hash: [u8; 32]) -> Result<User> {
        let (kid, now_ms) = self.known_kid(token).await?;
        let keys = read(&self.0.keys);
        let claims = keys.verify(&kid, token, now_ms)?;
        let user = User {
            account_id: claims.sub,
            session_id: claims.sid,
        };
        // Under the read lock of the keys, so that a key's removal also removes this.
        lock(&self.0.verified).insert(
            hash,
            Verified {
                user,
                exp: claims.exp,
            },
        );
        Ok(user)
    }

    /// Copies the keys because of an unknown `kid`, at most once a second for all callers together.
    async fn look_for(&self, kid: &str) -> Result<()> {
        let copy = || async { self.copy_keys().await.is_ok() };
        let succeeded = self.0.refresher.run(copy).await;
        if succeeded || read(&self.0.keys).knows(kid, clock::now_ms()) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::Unavailable,
            "access tokens cannot be verified at the moment",
        ))
    }

    async fn is_revoked(&self, session: Uuid) -> Result<bool> {
        let (loaded, revoked) = {
            let revoked = read(&self.0.revoked);
            (
                revoked.since_ms.is_some(),
                revoked.sessions.contains_key(&session),
            )
        };
        if loaded {
            return Ok(revoked);
        }
        // Only right after the start.
        self.copy_revocations().await?;
        Ok(read(&self.0.revoked).sessions.contains_key(&session))
    }

    async fn keep_fresh(self) {
        let mut tick = tokio::time::interval(REFRESH_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut healthy = true;
        loop {
            tick.tick().await;
            let (keys, revocations) = tokio::join!(self.copy_keys(), self.copy_revocations());
            // One line when it starts to fail and one when it works again, not one a second.
            match keys.and(revocations) {
                Err(problem) if healthy => {
                    healthy = false;
                    tracing::warn!(%problem, "keys and revocations cannot be copied from dbproxy");
                }
                Ok(()) if !healthy => {
                    healthy = true;
                    tracing::info!("keys and revocations are copied from dbproxy again");
                }
                _ => {}
            }
        }
    }

    async fn copy_keys(&self) -> Result<()> {
        let mut accounts = self.0.accounts.clone();
        let published = accounts
            .list_keys(rpc::deadline(ListKeysRequest {}))
            .await?
            .into_inner();
        let fresh = Keys::from_published(published.keys, clock::now_ms());
        let mut keys = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        if !keys.subset_of(&fresh) {
            // A key expired or was withdrawn: so is every token it signed.
            lock(&self.0.verified).clear();
        }
        *keys = fresh;
        Ok(())
    }

    async fn copy_revocations(&self) -> Result<()> {
        let memory_ms = i64::try_from(REVOCATION_MEMORY.as_millis()).unwrap_or(i64::MAX);
        let since_ms = read(&self.0.revoked)
            .since_ms
            .unwrap_or_else(|| clock::now_ms() - memory_ms);
        let mut accounts = self.0.accounts.clone();
        let request = rpc::deadline(ListRevocationsRequest { since_ms });
        let list = accounts.list_revocations(request).await?.into_inner();
        let now = Instant::now();
        let mut revoked = self
            .0
            .revoked
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        revoked
            .sessions
            .retain(|_, heard| now.duration_since(*heard) < REVOCATION_MEMORY);
        let ids = list
            .session_ids
            .iter()
            .filter_map(|id| Uuid::from_slice(id).ok());
        revoked.sessions.extend(ids.map(|id| (id, now)));
        revoked.since_ms = Some(list.next_since_ms.max(revoked.since_ms.unwrap_or(i64::MIN)));
        Ok(())
    }
}

/// Panics while a lock is held leave consistent data here: every update is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
