//! Pauses that grow and spread.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// The pause after `failures` failures in a row (at least one): `base` doubled each time up to
/// `cap`, and of that a random part between half and all, so that what failed together does not
/// come back together.
pub(crate) fn pause(failures: u32, base: Duration, cap: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let whole = base.saturating_mul(1 << doublings).min(cap);
    // The standard library's hash keys are random; that is random enough for this.
    let random = u32::try_from(RandomState::new().hash_one(failures) >> 32).unwrap_or(u32::MAX);
    whole / 2 + whole.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_spreads() {
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(60));
        for (failures, whole) in [(1, 1), (2, 2), (5, 16), (6, 32), (7, 60), (1_000, 60)] {
            let whole = Duration::from_secs(whole);
            for _ in 0..100 {
                let pause = pause(failures, base, cap);
                assert!(
                    pause >= whole / 2 && pause <= whole,
                    "{failures}: {pause:?}"
                );
            }
        }
        let different = (0..20).any(|_| pause(5, base, cap) != pause(5, base, cap));
        assert!(different, "not everybody comes back at the same moment");
    }
}
