//! Tests of the download service, from the pure rules to HTTP against a real dbproxy.

#![expect(
    clippy::unwrap_used,
    reason = "test code: what is not there fails the test"
)]

mod app;
mod archive;
mod conditional;
mod content;
mod disposition;
mod files;
mod hot;
mod range;
mod reader;
mod shares;
mod store;
