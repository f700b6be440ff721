//! The command line as its users run it: the real binary against a real server, in directories of
//! their own, with nothing shared between tests.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on fails its test"
)]

mod account;
mod fake;
mod files;
mod foreign;
mod hostile;
mod interrupted;
mod share;
mod support;
mod tokens;
mod transfer;
mod tree;
mod tus;
