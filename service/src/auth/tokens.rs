//! API tokens as dbproxy knows them. Each is looked up once in a while and remembered in between,
//! so that requests with it cost no call, and work for that long without dbproxy.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudstore_proto::{
    account::{self, FindApiTokenRequest, account_store_client::AccountStoreClient},
    convert,
    http::Scope,
};
use moka::future::Cache;
use tokio::time::Instant;
use uuid::Uuid;

use super::{ApiToken, User};
use crate::{Kind, Problem, Result, clock, rpc};

/// How long a token is accepted without asking again. Only bounds what happens behind the API's
/// back (a row removed by hand): expiry is compared each time, and revocations are copied.
pub(super) const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);
/// How long an unknown token is refused without asking: it does not come to life later, and a
/// program with a revoked token may try it without a pause.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// How long it is known that a token was good: asking for it again comes out of no budget.
const PROVEN_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Tokens in each of these memories, about 200 bytes each.
const TOKENS: u64 = 16_384;
/// Look-ups a second of tokens that were never good here. Those that find one do not count, so it
/// bounds what made-up tokens cost dbproxy: less than the requests of one busy client.
const GUESSES_PER_SECOND: f64 = 100.0;

/// A token that can be used.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) user: User,
    pub(super) scope: Scope,
    /// Of the account.
    pub(super) username: String,
    expires_at_ms: i64,
}

/// Why a look-up found nothing. It is shared by those who waited for it.
#[derive(Clone, Debug)]
enum Refusal {
    Unknown,
    Guessing,
    /// dbproxy did not answer, or not with sense.
    Failed,
}

/// Looks tokens up and remembers them.
pub(super) struct Tokens {
    accounts: AccountStoreClient<rpc::Channel>,
    known: Cache<[u8; 32], Arc<Known>>,
    unknown: Cache<[u8; 32], ()>,
    proven: Cache<[u8; 32], ()>,
    guesses: Guesses,
}

impl Tokens {
    pub(super) fn new(accounts: AccountStoreClient<rpc::Channel>) -> Self {
        Self {
            accounts,
            known: memory(REMEMBERED_FOR),
            unknown: memory(UNKNOWN_FOR),
            proven: memory(PROVEN_FOR),
            guesses: Guesses::new(Instant::now()),
        }
    }

    /// The token, if it can be used. Whether it was revoked in the last minutes is for the caller
    /// to see.
    ///
    /// # Errors
    /// `unauthenticated`; `overloaded` when too many unknown ones were tried; `unavailable` when
    /// dbproxy has to be asked and does not answer.
    pub(super) async fn find(&self, token: &ApiToken) -> Result<Arc<Known>> {
        let hash = token.hash();
        if self.unknown.contains_key(&hash) {
            return Err(refused());
        }
        // One look-up for all requests with the same token.
        let found = self.known.try_get_with(hash, self.look_up(hash)).await;
        let known = found.map_err(|refusal| match *refusal {
            Refusal::Unknown => refused(),
            Refusal::Guessing => Problem::new(
                Kind::Overloaded,
                "too many unknown tokens are being tried; try again",
            ),
            Refusal::Failed => {
                Problem::new(Kind::Unavailable, "tokens cannot be verified at the moment")
            }
        })?;
        if clock::now_ms() >= known.expires_at_ms {
            return Err(refused());
        }
        Ok(known)
    }

    async fn look_up(&self, hash: [u8; 32]) -> Result<Arc<Known>, Refusal> {
        let found = self.ask(hash).await;
        let outcome = match &found {
            Ok(_) => "found",
            Err(Refusal::Unknown) => "unknown",
            Err(Refusal::Guessing) => "refused",
            Err(Refusal::Failed) => "failed",
        };
        metrics::counter!("cloudstore_token_lookups_total", "outcome" => outcome).increment(1);
        found
    }

    async fn ask(&self, hash: [u8; 32]) -> Result<Arc<Known>, Refusal> {
        let proven = self.proven.contains_key(&hash);
        if !proven && !self.guesses.take(Instant::now()) {
            return Err(Refusal::Guessing);
        }
        let request = rpc::deadline(FindApiTokenRequest {
            hash: hash.to_vec().into(),
        });
        match self.accounts.clone().find_api_token(request).await {
            Ok(found) => {
                if !proven {
                    self.guesses.give_back();
                }
                let known = known(&found.into_inner()).ok_or(Refusal::Failed)?;
                self.proven.insert(hash, ()).await;
                Ok(Arc::new(known))
            }
            Err(status) => match Problem::from(status) {
                problem if problem.kind() == Kind::NotFound => {
                    self.unknown.insert(hash, ()).await;
                    Err(Refusal::Unknown)
                }
                problem => {
                    tracing::debug!(%problem, "a token cannot be looked up");
                    Err(Refusal::Failed)
                }
            },
        }
    }
}

fn memory<V: Clone + Send + Sync + 'static>(lifetime: Duration) -> Cache<[u8; 32], V> {
    Cache::builder()
        .max_capacity(TOKENS)
        .time_to_live(lifetime)
        .build()
}

/// `None` for a row that makes no sense here, such as a scope of a later version.
fn known(token: &account::ApiToken) -> Option<Known> {
    Some(Known {
        user: User {
            account_id: Uuid::from_slice(&token.account_id).ok()?,
            session_id: Uuid::from_slice(&token.id).ok()?,
        },
        scope: convert::scope(token.scope())?,
        username: token.username.clone(),
        expires_at_ms: token.expires_at_ms,
    })
}

/// One answer for a token that is unknown, expired, revoked or somebody else's.
pub(super) fn refused() -> Problem {
    Problem::new(Kind::Unauthenticated, "the API token is not valid")
}

/// A bucket that holds a second's worth of guesses and refills steadily.
struct Guesses(Mutex<(f64, Instant)>);

impl Guesses {
    fn new(now: Instant) -> Self {
        Self(Mutex::new((GUESSES_PER_SECOND, now)))
    }

    fn take(&self, now: Instant) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = *bucket;
        let refilled = left + now.duration_since(at).as_secs_f64() * GUESSES_PER_SECOND;
        let left = refilled.min(GUESSES_PER_SECOND);
        let may = left >= 1.0;
        *bucket = (if may { left - 1.0 } else { left }, now);
        may
    }

    fn give_back(&self) {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.0 = (bucket.0 + 1.0).min(GUESSES_PER_SECOND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_bounded_and_come_back() {
        let start = Instant::now();
        let guesses = Guesses::new(start);
        let taken = |at| (0..1_000).filter(|_| guesses.take(at)).count();
        assert_eq!(taken(start), 100);
        guesses.give_back();
        assert_eq!(taken(start), 1);
        assert_eq!(taken(start + Duration::from_millis(255)), 25);
        assert_eq!(taken(start + Duration::from_secs(3_600)), 100);
    }
}
