//! The time on which leases, expiry and grace periods run.

/// Where a store reads the time, so that tests can move it.
pub trait Clock: Send + Sync {
    /// Unix milliseconds.
    fn now_ms(&self) -> i64;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        cloudstore_service::clock::now_ms()
    }
}
