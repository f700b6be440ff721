//! Redis in front of another [`Store`]: an accelerator, never a source of truth.
//!
//! Cached are the entry at a path (folders, files whose blob is stored and has no staged copy any
//! more, and for a shorter time that nothing is there) and the public keys. Quota, sessions, uploads
//! and everything else that decides something comes from the database. Besides, Redis keeps the
//! position of each account's last write, and the ranking of what is read most.
//!
//! # Keys
//! Whatever is read and written belongs to a *subject*, most often an account. `ver:{subject}` holds
//! its *version*, a random number that is never used twice, and the position of its last write.
//! An entry (`stat:{subject}:hash of path`) holds the version under which it was loaded, the position
//! that the load had to see, and the answer. The braces keep both in one slot of a cluster.
//!
//! # Why no answer is wrong
//! 1. An entry counts only under the version that its subject has now; one `MGET` reads both, which
//!    is atomic. No version, no entry: what survives a flush in part counts for nothing.
//! 2. A write first commits, then gives the subject a new version, then is answered (also when it was
//!    refused or its outcome is unknown: a write before it may have gone unheard). So whoever asks
//!    after the answer finds no older entry. The write runs as a task: a caller that hangs up cannot
//!    keep it from being told.
//! 3. A load reads the version first and its entry carries it. What a slow loader stores after a
//!    newer write, however late Redis executes it, does not count: versions do not come back. (A
//!    script stores it only if the version still is the same, so that it does not even displace a
//!    newer entry.)
//! 4. A call that has to see a position accepts only entries whose load had to see that position or a
//!    certainly later one. This does not lean on versions. Whatever Redis lost, delayed or brought
//!    back (a lost change of version, a failover to an old replica), who sends a position reads its
//!    own writes.
//! 5. A call without a position has to see that of its subject's last write, which Redis returns with
//!    the version and this process remembers of its own writes. So 4 holds for it, too, while
//!    Redis works or the same process answers.
//! 6. When Redis cannot be told of a write within the budget, this process asks Redis nothing about
//!    the subject until it has been told. Only a caller without a position, at another process, can
//!    meanwhile get an entry from before the write: until Redis is told, and if it never is, until
//!    36 s (the longest life of an entry) after the last replica has the write.
//! 7. Calls share a load only if they agree on version, position and this process's count of writes:
//!    none gets an answer from before a write that was answered before it asked.
//! 8. What is cached depends on nothing but writes to its own subject. A stored blob without a staged
//!    copy stays as it is for as long as an entry refers to it.
//!
//! # When Redis is slow or away
//! A question has 50 ms. After five failures in a row nobody asks for a second, then one call finds
//! out. A call that got no answer goes to the database; calls for the same at the same time still are
//! one load.

mod address;
mod breaker;
mod entry;
mod flight;
mod link;
mod ranking;
mod recent;
mod shared;
mod store;
mod subject;

use std::{future::Future, sync::Arc, time::Duration};

use cloudstore_proto::{account::*, file::*};
use cloudstore_service::{Kind, Problem, Result, context};
use prost::Message;

use self::{
    address::Address,
    entry::{Content, Stored},
    flight::{Flight, Flights},
    link::{Away, Link},
    recent::later,
    shared::Shared,
    subject::Subject,
};
use crate::{Clock, Store, SystemClock, position};

/// What a question to Redis may take, with everything: less than a client would notice.
pub const BUDGET: Duration = Duration::from_millis(50);
/// How long an entry is kept, give or take a fifth: the bound for everything that could go wrong.
const ENTRY_LIFETIME: Duration = Duration::from_secs(30);
/// How long it is kept that something is not there.
const ABSENT_LIFETIME: Duration = Duration::from_secs(5);
/// How long the public keys are kept. Every service asks for them once a second.
const KEYS_LIFETIME: Duration = Duration::from_secs(1);

/// Where Redis is and how it is used.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://`, `rediss://` or `redis+unix://` for one server,
    /// `redis+sentinel://HOST:PORT,HOST:PORT/MASTER`, `redis+cluster://HOST:PORT,HOST:PORT`; each
    /// with `USER:PASSWORD@` in front of the servers if needed.
    pub url: String,
    /// What every key begins with.
    pub prefix: String,
    /// See [`BUDGET`].
    pub budget: Duration,
}

impl RedisConfig {
    /// The usual way to use the Redis at an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "cs:".to_owned(),
            budget: BUDGET,
        }
    }
}

/// A [`Store`] that answers from Redis what it can.
pub struct CachedStore {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    stats: Flights<Entry>,
    keys: Flights<ListKeysResponse>,
}

/// What is asked for, and how it is kept.
struct Question {
    /// The name in metrics.
    name: &'static str,
    subject: Subject,
    key: String,
    lifetime: Duration,
}

impl CachedStore {
    /// Puts Redis in front of a store. Redis does not have to be there, now or ever.
    ///
    /// # Errors
    /// `invalid-fields` for an address that cannot be understood.
    #[expect(clippy::new_ret_no_self, reason = "callers know the port only")]
    pub fn new(inner: Arc<dyn Store>, config: RedisConfig) -> Result<Arc<dyn Store>> {
        Self::with_clock(inner, config, Arc::new(SystemClock))
    }

    /// The same, with the clock on which the store's keys expire.
    ///
    /// # Errors
    /// As [`CachedStore::new`].
    pub fn with_clock(
        inner: Arc<dyn Store>,
        config: RedisConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn Store>> {
        let link = Link::new(Address::parse(&config.url)?, config.budget);
        Ok(Arc::new(Self {
            inner,
            clock,
            shared: Arc::new(Shared::new(link, config.prefix)),
            stats: Flights::default(),
            keys: Flights::default(),
        }))
    }

    async fn cached_stat(&self, request: StatRequest) -> Result<Entry> {
        let subject = Subject::account(&request.owner);
        let hash = subject::hash(&request.path);
        let question = Question {
            name: "stat",
            key: format!("{}stat:{{{subject}}}:{hash}", self.shared.prefix),
            subject,
            lifetime: ENTRY_LIFETIME,
        };
        let inner = self.inner.clone();
        let load = move || async move { inner.stat(request).await };
        self.cached(&self.stats, question, is_settled, load).await
    }

    async fn cached_keys(&self, request: ListKeysRequest) -> Result<ListKeysResponse> {
        let subject = Subject::keys();
        let question = Question {
            name: "keys",
            key: format!("{}keys:{{{subject}}}", self.shared.prefix),
            subject,
            lifetime: KEYS_LIFETIME,
        };
        let inner = self.inner.clone();
        let load = move || async move { inner.list_keys(request).await };
        let mut list = self.cached(&self.keys, question, |_| true, load).await?;
        // A key may have expired since.
        let now = self.clock.now_ms();
        list.keys.retain(|key| key.expires_at_ms > now);
        Ok(list)
    }

    /// A read that may be answered from Redis; `keep` says what may be kept there.
    async fn cached<M, F>(
        &self,
        flights: &Flights<M>,
        question: Question,
        keep: fn(&M) -> bool,
        load: impl FnOnce() -> F + Send,
    ) -> Result<M>
    where
        M: Message + Default + Clone + 'static,
        F: Future<Output = Result<M>> + Send + 'static,
    {
        let shared = &self.shared;
        let writes = shared.writes.count(&question.subject);
        let (seen, stored) = match shared.look(&question.subject, &question.key).await {
            Ok((seen, stored)) => (Some(seen), stored),
            Err(Away(reason)) => {
                bypassed(&question, reason);
                (None, None)
            }
        };
        let required = position::required().or_else(|| {
            let last = seen.as_ref().and_then(|seen| seen.position.clone());
            later(shared.positions.get(&question.subject), last)
        });
        if let Some(stored) = stored {
            if !stored.has_seen(required.as_deref()) {
                bypassed(&question, "position");
            } else if let Some(answer) = answer(stored) {
                metrics::counter!("dbproxy_cache_hits_total", "of" => question.name).increment(1);
                return answer;
            }
        }
        metrics::counter!("dbproxy_cache_misses_total", "of" => question.name).increment(1);
        let flight = Flight {
            key: question.key.clone(),
            version: seen.as_ref().map(|seen| seen.version),
            position: required.clone(),
            writes,
        };
        let (answer, reached) = flights
            .join(flight, || {
                let (shared, load) = (shared.clone(), load());
                async move {
                    let loaded = position::scope(required.clone(), load).await;
                    let content = content(&loaded.0, keep);
                    let unwritten = shared.writes.count(&question.subject) == writes;
                    if let (Some(seen), Some(content), true) = (seen, content, unwritten) {
                        let entry = Stored {
                            version: seen.version,
                            position: required,
                            content,
                        };
                        shared.keep(&question, &entry).await;
                    }
                    loaded
                }
            })
            .await;
        if let Some(reached) = reached {
            position::reached(reached);
        }
        answer
    }

    /// A read from the database that sees the subject's last write.
    async fn see<T>(&self, subject: &Subject, read: impl Future<Output = Result<T>>) -> Result<T> {
        if position::required().is_some() {
            return read.await;
        }
        let Some(last) = self.shared.position_of(subject).await else {
            return read.await;
        };
        let (answer, reached) = position::scope(Some(last), read).await;
        if let Some(reached) = reached {
            position::reached(reached);
        }
        answer
    }

    /// A write to subjects, of which `named` are known from the answer.
    async fn change<T: Send + 'static>(
        &self,
        mut subjects: Vec<Subject>,
        named: fn(&T) -> Vec<Subject>,
        write: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let shared = self.shared.clone();
        let required = position::required();
        let task = context::spawn(async move {
            let (answer, reached) = position::scope(required, write).await;
            if let Ok(answer) = &answer {
                subjects.extend(named(answer));
            }
            let telling = subjects
                .into_iter()
                .map(|subject| shared.wrote(subject, reached.as_deref()));
            futures::future::join_all(telling).await;
            (answer, reached)
        });
        let (answer, reached) = task.await.map_err(Problem::internal)?;
        if let Some(reached) = reached {
            position::reached(reached);
        }
        answer
    }
}

impl Shared {
    async fn keep(&self, question: &Question, entry: &Stored) {
        let lifetime = match &entry.content {
            Content::Found(_) => question.lifetime,
            Content::Absent(_) => ABSENT_LIFETIME.min(question.lifetime),
        };
        self.fill(&question.subject, &question.key, entry, lifetime)
            .await;
    }
}

/// Does only a write to the account change this entry?
fn is_settled(entry: &Entry) -> bool {
    match entry.kind() {
        EntryKind::Unspecified => false,
        EntryKind::Folder => true,
        EntryKind::File => entry.blob.as_ref().is_some_and(|blob| {
            blob.state() == BlobState::Stored && blob.node.is_empty() && blob.staging_id.is_empty()
        }),
    }
}

/// What of a load is worth keeping.
fn content<M: Message>(answer: &Result<M>, keep: fn(&M) -> bool) -> Option<Content> {
    match answer {
        Ok(message) => keep(message).then(|| Content::Found(message.encode_to_vec().into())),
        Err(problem) => {
            (problem.kind() == Kind::NotFound).then(|| Content::Absent(problem.detail().to_owned()))
        }
    }
}

/// The answer that was kept; `None` when it cannot be read.
fn answer<M: Message + Default>(stored: Stored) -> Option<Result<M>> {
    match stored.content {
        Content::Found(message) => M::decode(message).ok().map(Ok),
        Content::Absent(detail) => Some(Err(Problem::new(Kind::NotFound, detail))),
    }
}

fn bypassed(question: &Question, reason: &'static str) {
    let labels = [("of", question.name), ("reason", reason)];
    metrics::counter!("dbproxy_cache_bypassed_total", &labels).increment(1);
}
