//! One load for everybody who wants the same at the same time.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cloudstore_service::{Kind, Problem, Result};
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};

/// What a load is for, and as of when: calls that must not see the same must not share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) key: String,
    /// What Redis says the subject's version is.
    pub(super) version: Option<[u8; 16]>,
    /// What the load has to see.
    pub(super) position: Option<String>,
    /// This process's writes to the subject so far.
    pub(super) writes: u64,
}

/// What each call gets: the answer, and the position that loading it reached.
type Landing<T> = (std::result::Result<T, Failure>, Option<String>);
type Loading<T> = BoxFuture<'static, Landing<T>>;
type Table<T> = Arc<Mutex<HashMap<Flight, (u64, WeakShared<Loading<T>>)>>>;

/// The loads under way: as many as there are calls, at most.
pub(super) struct Flights<T> {
    table: Table<T>,
    numbers: std::sync::atomic::AtomicU64,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self {
            table: Arc::default(),
            numbers: std::sync::atomic::AtomicU64::default(),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Joins the load under way, or begins one. It goes on for as long as one caller waits for it,
    /// whoever began it.
    pub(super) async fn join<F>(
        &self,
        flight: Flight,
        load: impl FnOnce() -> F,
    ) -> (Result<T>, Option<String>)
    where
        F: Future<Output = (Result<T>, Option<String>)> + Send + 'static,
    {
        let shared = self.board(flight, load);
        let (answer, reached) = shared.await;
        (answer.map_err(Failure::into_problem), reached)
    }

    fn board<F>(&self, flight: Flight, load: impl FnOnce() -> F) -> Shared<Loading<T>>
    where
        F: Future<Output = (Result<T>, Option<String>)> + Send + 'static,
    {
        let mut table = lock(&self.table);
        if let Some(shared) = table.get(&flight).and_then(|(_, weak)| weak.upgrade()) {
            return shared;
        }
        let number = self
            .numbers
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let entry = Entry {
            table: self.table.clone(),
            flight: flight.clone(),
            number,
        };
        let load = load();
        let loading = async move {
            // Also when nobody waits any more and this is dropped.
            let _entry = entry;
            let (answer, reached) = load.await;
            (answer.map_err(Failure::from), reached)
        };
        let shared = loading.boxed().shared();
        if let Some(weak) = shared.downgrade() {
            table.insert(flight, (number, weak));
        }
        shared
    }
}

/// A row of the table, which goes with the load.
struct Entry<T: Clone + Send + Sync + 'static> {
    table: Table<T>,
    flight: Flight,
    number: u64,
}

impl<T: Clone + Send + Sync + 'static> Drop for Entry<T> {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        // Somebody may have begun anew since the last one who waited left.
        if table
            .get(&self.flight)
            .is_some_and(|row| row.0 == self.number)
        {
            table.remove(&self.flight);
        }
    }
}

/// A problem for several callers. The first one gets it with its private cause, which is logged
/// once.
#[derive(Clone)]
struct Failure {
    kind: Kind,
    detail: Arc<str>,
    original: Arc<Mutex<Option<Problem>>>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            kind: problem.kind(),
            detail: problem.detail().into(),
            original: Arc::new(Mutex::new(Some(problem))),
        }
    }
}

impl Failure {
    fn into_problem(self) -> Problem {
        let original = lock(&self.original).take();
        original.unwrap_or_else(|| Problem::new(self.kind, &*self.detail))
    }
}

/// Every update here is complete before anything could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn flight(writes: u64) -> Flight {
        Flight {
            key: "key".to_owned(),
            version: None,
            position: None,
            writes,
        }
    }

    #[tokio::test]
    async fn those_who_wait_share() {
        let flights = Flights::<u32>::default();
        let loads = Arc::new(AtomicU32::new(0));
        let go = Arc::new(Notify::new());
        let begin = |writes: u64| {
            let (loads, go) = (loads.clone(), go.clone());
            flights.join(flight(writes), move || async move {
                let number = loads.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                (Ok(number), Some("0-1-5".to_owned()))
            })
        };
        let mut first = Box::pin(begin(0));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(begin(0));
        assert!(futures::poll!(&mut second).is_pending());
        let mut after_a_write = Box::pin(begin(1));
        assert!(futures::poll!(&mut after_a_write).is_pending());
        // Whoever began it may leave.
        drop(first);
        go.notify_waiters();
        let (answer, reached) = second.await;
        assert_eq!((answer.unwrap(), reached.as_deref()), (0, Some("0-1-5")));
        assert_eq!(after_a_write.await.0.unwrap(), 1);
        assert!(lock(&flights.table).is_empty());

        let mut alone = Box::pin(begin(0));
        assert!(futures::poll!(&mut alone).is_pending());
        drop(alone);
        assert!(lock(&flights.table).is_empty(), "nobody waits for it");
    }

    #[tokio::test]
    async fn all_learn_of_a_failure() {
        let flights = Flights::<u32>::default();
        let load = || async {
            tokio::task::yield_now().await;
            (Err(Problem::internal("the cause")), None)
        };
        let (first, second) =
            tokio::join!(flights.join(flight(0), load), flights.join(flight(0), load));
        let (first, second) = (first.0.unwrap_err(), second.0.unwrap_err());
        assert_eq!(
            (first.kind(), second.kind()),
            (Kind::Internal, Kind::Internal)
        );
        assert_eq!(first.detail(), second.detail());
        let causes = [first, second].map(|problem| std::error::Error::source(&problem).is_some());
        assert_eq!(causes.iter().filter(|cause| **cause).count(), 1);
    }
}
