//! The worker against a real dbproxy, a real disk and the queue in memory.

#![expect(
    clippy::unwrap_used,
    reason = "test code: what is not there fails the test"
)]

mod api;
mod cleaning;
mod copying;
#[cfg(feature = "failpoints")]
mod crash;
mod failures;
mod garage;
mod limits;
mod moving;
mod reconciling;
mod site;
mod store;
