//! Every adapter against the contract of its port, and what is special about each.

#![expect(clippy::unwrap_used, reason = "test code: what fails, fails the test")]

mod fs;
mod memory;
mod s3;
