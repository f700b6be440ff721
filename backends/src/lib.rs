//! The outside world behind ports of a few methods, and their adapters.
//!
//! A port's documentation says what callers may rely on; every adapter passes the port's contract
//! suite (feature `testing`). Which adapter is used is decided in one place, `standalone`.

mod backoff;
pub mod blob;
pub mod discovery;
pub mod flush;
pub mod queue;
pub mod staging;
