//! One put in parts of an object at a time: two would take each other's unfinished upload for one
//! that was left behind.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

type Turns = HashMap<String, Arc<tokio::sync::Mutex<()>>>;

/// The objects that this process is putting in parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    turns: Arc<Mutex<Turns>>,
}

/// Nobody else here puts that object in parts until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    running: Running,
    name: String,
    held: Option<OwnedMutexGuard<()>>,
}

impl Running {
    /// Waits for the others who put this object.
    pub(super) async fn enter(&self, name: &str) -> Turn {
        let turn = self.turns().entry(name.to_owned()).or_default().clone();
        let mut entered = self.turn(name, None);
        entered.held = Some(turn.lock_owned().await);
        entered
    }

    /// `None` when somebody is putting it.
    pub(super) fn try_enter(&self, name: &str) -> Option<Turn> {
        let turn = self.turns().entry(name.to_owned()).or_default().clone();
        let held = turn.try_lock_owned().ok()?;
        Some(self.turn(name, Some(held)))
    }

    fn turn(&self, name: &str, held: Option<OwnedMutexGuard<()>>) -> Turn {
        Turn {
            running: self.clone(),
            name: name.to_owned(),
            held,
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        let mut turns = self.running.turns();
        // Whoever waits has a share of it too.
        if turns
            .get(&self.name)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left_over() {
        let running = Running::default();
        let first = running.enter("a").await;
        let other = running.enter("b").await;
        assert!(running.try_enter("a").is_none());
        let waiting = running.enter("a");
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        let second = waiting.await;
        drop((second, other));
        assert!(running.try_enter("a").is_some());
        // Whoever stops waiting leaves nothing behind either.
        let held = running.enter("a").await;
        assert!(running.enter("a").now_or_never().is_none());
        drop(held);
        assert!(running.turns().is_empty());
    }
}
