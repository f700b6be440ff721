//! Who may read now: a bounded number of streams in all, and a smaller one for each account, so
//! that no account can take every place.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// The places.
#[derive(Debug)]
pub(super) struct Admissions {
    all: Arc<Semaphore>,
    /// Places of one account.
    share: usize,
    /// Accounts that read at the moment; those that ended are forgotten when others begin.
    accounts: Mutex<HashMap<Uuid, Weak<Semaphore>>>,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(super) struct Admission {
    _place: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
}

impl Admissions {
    pub(super) fn new(all: usize, share: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            share,
            accounts: Mutex::default(),
        }
    }

    /// A place for this account, if there is one.
    pub(super) fn enter(&self, account: Uuid) -> Option<Admission> {
        let share = self.share_of(account);
        Some(Admission {
            _share: share.try_acquire_owned().ok()?,
            _place: self.all.clone().try_acquire_owned().ok()?,
        })
    }

    fn share_of(&self, account: Uuid) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = accounts.get(&account).and_then(Weak::upgrade) {
            return share;
        }
        // At most as many accounts are alive as there are places.
        accounts.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.share));
        accounts.insert(account, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_its_share_and_no_more() {
        let admissions = Admissions::new(3, 2);
        let (greedy, modest) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut held: Vec<_> = (0..2).map(|_| admissions.enter(greedy).unwrap()).collect();
        assert!(admissions.enter(greedy).is_none(), "its share is taken");
        held.push(admissions.enter(modest).unwrap());
        assert!(admissions.enter(modest).is_none(), "every place is taken");
        held.clear();
        assert!(admissions.enter(greedy).is_some());
    }
}
