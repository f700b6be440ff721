//! The stack of `deploy/local` in the hands of tests: its parts are stopped, killed and paused while
//! clients work through the gateway, and what they wrote down must be true in the end.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "test code: what fails, fails the test"
)]

pub mod metrics;
pub mod places;
pub mod run;
pub mod servers;
pub mod stack;

pub use self::{
    metrics::Metrics,
    places::Stores,
    run::{Run, Writer},
    stack::Stack,
};
