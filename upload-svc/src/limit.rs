//! How often an account may ask whether the server knows a hash.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cloudstore_proto::upload::InstantPolicy;
use uuid::Uuid;

/// Hashes an account may probe for in one [`WINDOW`], unless operators set another number. Far
/// above what uploading a large tree needs, far below what guessing content takes.
pub(crate) const MAX_PROBES: u32 = 60_000;
/// Time after which the count starts again.
const WINDOW: Duration = Duration::from_secs(60);
/// Accounts counted at a time; when full, those whose window is over are forgotten.
const MAX_ACCOUNTS: usize = 10_000;

/// Counts probes. Beyond the limit only the account's own content is recognised, which looks to
/// the client exactly as if nobody else held the content.
#[derive(Debug, Default)]
pub(crate) struct ProbeLimit {
    counts: Mutex<HashMap<Uuid, (Instant, u32)>>,
}

impl ProbeLimit {
    /// The policy for a call with this many probes, of which `max` are allowed.
    pub(crate) fn apply(
        &self,
        account: Uuid,
        probes: usize,
        policy: InstantPolicy,
        max: u32,
    ) -> InstantPolicy {
        if policy != InstantPolicy::Everyone {
            return policy;
        }
        let probes = u32::try_from(probes).unwrap_or(u32::MAX);
        if self.count(account, probes, max) {
            policy
        } else {
            InstantPolicy::Account
        }
    }

    /// Counts; false beyond the limit.
    fn count(&self, account: Uuid, probes: u32, max: u32) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_ACCOUNTS {
            counts.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        if counts.len() >= MAX_ACCOUNTS && !counts.contains_key(&account) {
            return false;
        }
        let (since, count) = counts.entry(account).or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(probes);
        *count <= max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_probes_see_only_their_own_content() {
        let limit = ProbeLimit::default();
        let (greedy, modest) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let everyone = InstantPolicy::Everyone;
        let apply = |account, probes, policy| limit.apply(account, probes, policy, 100);
        assert_eq!(apply(greedy, 100, everyone), everyone);
        assert_eq!(apply(greedy, 1, everyone), InstantPolicy::Account);
        assert_eq!(apply(modest, 1, everyone), everyone);
        assert_eq!(apply(modest, 1, InstantPolicy::Off), InstantPolicy::Off);
        let raised = limit.apply(greedy, 1, everyone, 1_000);
        assert_eq!(raised, everyone, "a new limit counts at once");
    }
}
