//! Asking Redis: one connection for all, a time budget for each question, and a breaker.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};

use super::{
    address::{Address, Connection},
    breaker::Breaker,
};

/// A command is sent once more when its connection turns out to be dead: after a restart of the
/// server the first one finds out.
const TRIES: u32 = 2;

/// Why there is no answer. The reason is logged and counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Away(pub(super) &'static str);

type Pending = Shared<BoxFuture<'static, Result<Connection, Arc<RedisError>>>>;

/// The way to Redis. It never fails for long and never waits for long.
pub(super) struct Link {
    address: Arc<Address>,
    budget: Duration,
    breaker: Breaker,
    /// The connection everybody uses, made or being made, with its number.
    slot: Mutex<(u64, Option<Pending>)>,
}

impl Link {
    /// Connects when it is first used.
    pub(super) fn new(address: Address, budget: Duration) -> Self {
        describe_metrics();
        metrics::gauge!("dbproxy_cache_breaker_open").set(0.0);
        Self {
            address: Arc::new(address),
            budget,
            breaker: Breaker::default(),
            slot: Mutex::default(),
        }
    }

    /// Sends a command and reads its answer, within the budget.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Away> {
        self.ask_within(self.budget, command).await
    }

    /// The same with another budget.
    pub(super) async fn ask_within<T: FromRedisValue>(
        &self,
        budget: Duration,
        command: &Cmd,
    ) -> Result<T, Away> {
        let Some(permit) = self.breaker.admit() else {
            return Err(Away("breaker"));
        };
        let answer = tokio::time::timeout(budget, self.send(command)).await;
        let (reason, error) = match answer {
            Ok(Ok(answer)) => {
                if permit.succeeded() {
                    metrics::gauge!("dbproxy_cache_breaker_open").set(0.0);
                    tracing::info!("redis answers again");
                }
                return Ok(answer);
            }
            Ok(Err(error)) => ("error", Some(error)),
            Err(_) => ("slow", None),
        };
        metrics::counter!("dbproxy_cache_fallbacks_total", "reason" => reason).increment(1);
        // One line when it goes away and one when it is back, not one a second.
        let known = permit.is_probe();
        if permit.failed() {
            self.give_up_connection();
            if !known {
                metrics::gauge!("dbproxy_cache_breaker_open").set(1.0);
                let error = error.map(tracing::field::display);
                tracing::warn!(reason, error, "redis does not answer, going on without it");
            }
        }
        Err(Away(reason))
    }

    async fn send<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (number, connection) = self.connection();
            let answer = match connection.await {
                Ok(mut connection) => connection.send(command).await,
                Err(error) => Err(copy(&error)),
            };
            match answer {
                Ok(value) => return Ok(redis::from_redis_value(value)?),
                Err(error) => {
                    if is_dead(&error) {
                        self.replace(number);
                        if tries < TRIES {
                            continue;
                        }
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The connection, and its number.
    fn connection(&self) -> (u64, Pending) {
        let mut slot = self.lock();
        let (number, pending) = &mut *slot;
        if let Some(pending) = pending {
            return (*number, pending.clone());
        }
        let address = self.address.clone();
        // A task of its own: making a connection may take longer than any caller waits.
        let making = tokio::spawn(async move { address.connect().await });
        let made = async move {
            match making.await {
                Ok(result) => result.map_err(Arc::new),
                Err(_) => Err(Arc::new(RedisError::from((
                    ErrorKind::Client,
                    "connecting was stopped",
                )))),
            }
        };
        *number += 1;
        let made = made.boxed().shared();
        *pending = Some(made.clone());
        (*number, made)
    }

    /// Forgets a connection that is dead, unless somebody else did already.
    fn replace(&self, number: u64) {
        let mut slot = self.lock();
        if slot.0 == number {
            slot.1 = None;
        }
    }

    /// Forgets the connection, because nobody answers on it: one whose peer vanished without a
    /// word would stay silent for minutes. One that is being made ends by itself.
    fn give_up_connection(&self) {
        let mut slot = self.lock();
        if slot.1.as_ref().is_some_and(|made| made.peek().is_some()) {
            slot.1 = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Option<Pending>)> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe_metrics() {
    metrics::describe_counter!(
        "dbproxy_cache_hits_total",
        "Reads answered from Redis; with misses, all reads that could have been"
    );
    metrics::describe_counter!(
        "dbproxy_cache_misses_total",
        "Reads answered by the database that could have been answered from Redis"
    );
    metrics::describe_counter!(
        "dbproxy_cache_bypassed_total",
        "Reads for which Redis was not asked, did not answer, or knew an older state only"
    );
    metrics::describe_counter!(
        "dbproxy_cache_fallbacks_total",
        "Questions to Redis that failed or took too long"
    );
    metrics::describe_gauge!(
        "dbproxy_cache_breaker_open",
        "1 while Redis is not asked because it did not answer"
    );
}

/// Does the connection have to be replaced? Also one to a master that is none any more.
fn is_dead(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
                | ErrorKind::MasterNameNotFoundBySentinel
        )
}

/// The same failure for another caller.
fn copy(error: &RedisError) -> RedisError {
    RedisError::from((ErrorKind::Io, "cannot connect", error.to_string()))
}
