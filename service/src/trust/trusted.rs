//! The published keys of all services, and the check of one token against them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use jsonwebtoken::DecodingKey;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::{Caller, Claims, KEYS_PREFIX, TOKEN_TTL};
use crate::{
    Kind, Problem, Result,
    auth::LEEWAY,
    cache::Generations,
    clock,
    jwt::{self, Demands, KEY_BYTES},
    refresh::Refresher,
};

/// What was published: public keys as hex text by `<service>/<kid>`, with or without `keys/`.
type Published = BTreeMap<String, Vec<u8>>;
/// Asks for all published keys right now; `None` when there is no answer.
pub type Refresh = Arc<dyn Fn() -> BoxFuture<'static, Option<Published>> + Send + Sync>;

/// An unknown key is asked for at most this often.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// Tokens in each generation of the cache: each calling process has a new one every 30 s.
const CACHED_TOKENS: usize = 1024;

/// The services that may be believed, by their keys. Clones share everything.
#[derive(Clone)]
pub struct Trusted(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    refresh: Option<Refresh>,
    refresher: Refresher,
}

struct State {
    keys: Keys,
    watch: Option<watch::Receiver<Published>>,
    verified: Generations<[u8; 32], Verified>,
}

/// Whose they are, by `kid`. One name can stand for keys of several services only if somebody
/// wants it to: each is tried for its own service.
type Keys = HashMap<String, Vec<(Arc<str>, DecodingKey)>>;

#[derive(Clone)]
struct Verified {
    caller: Caller,
    audience: Arc<str>,
    exp: u64,
}

impl Trusted {
    /// These keys, for ever.
    #[must_use]
    pub fn fixed(keys: Vec<(String, Vec<u8>)>) -> Self {
        Self::new(parse(&keys.into_iter().collect()), None, None)
    }

    /// The keys that are being watched. For one that is not among them `refresh` is asked, at most
    /// once a second.
    #[must_use]
    pub fn watching(mut keys: watch::Receiver<Published>, refresh: Refresh) -> Self {
        let parsed = parse(&keys.borrow_and_update());
        Self::new(parsed, Some(keys), Some(refresh))
    }

    fn new(
        keys: Keys,
        watch: Option<watch::Receiver<Published>>,
        refresh: Option<Refresh>,
    ) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                keys,
                watch,
                verified: Generations::new(CACHED_TOKENS),
            }),
            refresh,
            refresher: Refresher::new(REFRESH_EVERY),
        }))
    }

    /// Who shows this token to `audience`.
    ///
    /// # Errors
    /// `unauthenticated` unless a service's own key signed it for this audience and it is valid
    /// now; `forbidden` when the service is not one of `allowed`; `unavailable` when its key would
    /// have to be asked for and nobody answers.
    pub async fn verify(&self, token: &str, audience: &str, allowed: &[&str]) -> Result<Caller> {
        let caller = self.authenticate(token, audience).await?;
        if allowed.contains(&&*caller.service) {
            return Ok(caller);
        }
        let detail = format!("{} may not call this", caller.service);
        Err(Problem::new(Kind::Forbidden, detail))
    }

    async fn authenticate(&self, token: &str, audience: &str) -> Result<Caller> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(verified) = self.state().verified.get(&hash)
            && *verified.audience == *audience
            && clock::now_s() < verified.exp
        {
            return Ok(verified.caller);
        }
        let kid = jwt::kid(token).ok_or_else(refused)?;
        if !self.state().keys.contains_key(&kid) {
            self.look_for(&kid).await?;
        }
        let mut state = self.state();
        let candidates = state.keys.get(&kid).ok_or_else(refused)?;
        let verified = candidates
            .iter()
            .find_map(|(service, key)| check(token, key, service, audience))
            .ok_or_else(refused)?;
        state.verified.insert(hash, verified.clone());
        Ok(verified.caller)
    }

    async fn look_for(&self, kid: &str) -> Result<()> {
        let Some(refresh) = &self.0.refresh else {
            return Ok(());
        };
        let answered = self.0.refresher.run(|| async {
            let Some(published) = refresh().await else {
                return false;
            };
            self.state().extend(&published);
            true
        });
        if answered.await || self.state().keys.contains_key(kid) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::Unavailable,
            "the keys of services cannot be read at the moment",
        ))
    }

    /// The state, up to date with what is watched.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = |watch: &mut watch::Receiver<Published>| {
            let seen = watch.borrow_and_update();
            seen.has_changed().then(|| seen.clone())
        };
        if let Some(published) = state.watch.as_mut().and_then(changed) {
            state.replace(&published);
        }
        state
    }
}

impl State {
    fn replace(&mut self, published: &Published) {
        self.keys = parse(published);
        // A key may have been withdrawn: so is every token it signed.
        self.verified.clear();
    }

    /// Adds what is new. Nothing goes here: only the watch can tell a key that was withdrawn from
    /// one that a store, which has lost everything, has not been told again yet.
    fn extend(&mut self, published: &Published) {
        for (kid, keys) in parse(published) {
            self.keys.entry(kid).or_insert(keys);
        }
    }
}

/// The claims must name the service that the key was published for.
fn check(token: &str, key: &DecodingKey, service: &Arc<str>, audience: &str) -> Option<Verified> {
    let demands = Demands {
        issuer: service,
        audience,
        claims: &["exp", "nbf", "iss", "aud"],
        leeway_s: LEEWAY.as_secs(),
    };
    let claims = jwt::verify::<Claims>(token, key, &demands)
        .inspect_err(|error| tracing::debug!(%error, %service, "a service's token is not valid"))
        .ok()?;
    if claims.exp.saturating_sub(claims.iat) > TOKEN_TTL.as_secs() {
        return None;
    }
    Some(Verified {
        caller: Caller {
            service: Arc::clone(service),
        },
        audience: audience.into(),
        exp: claims.exp,
    })
}

fn parse(published: &Published) -> Keys {
    let mut keys = Keys::new();
    for (name, text) in published {
        let Some((service, kid, key)) = entry(name, text) else {
            tracing::warn!(name, "this is not a service's key");
            continue;
        };
        let key = DecodingKey::from_ed_der(&key);
        keys.entry(kid.to_owned())
            .or_default()
            .push((service.into(), key));
    }
    keys
}

fn entry<'a>(name: &'a str, text: &[u8]) -> Option<(&'a str, &'a str, [u8; KEY_BYTES])> {
    let name = name.strip_prefix(KEYS_PREFIX).unwrap_or(name);
    let (service, kid) = name.split_once('/')?;
    let mut key = [0; KEY_BYTES];
    hex::decode_to_slice(text.trim_ascii(), &mut key).ok()?;
    (!service.is_empty() && !kid.is_empty() && !kid.contains('/')).then_some((service, kid, key))
}

/// One answer for everything that is wrong with a token.
fn refused() -> Problem {
    Problem::new(Kind::Unauthenticated, "the service's token is not valid")
}
