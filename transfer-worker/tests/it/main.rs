//! The worker against a real dbproxy, a real disk and the queue in memory.

#![expect(
    clippy::unwrap_used,
    reason = "test code: what is not there fails the test"
)]

mod cleaning;
mod failures;
mod moving;
mod site;
mod store;
