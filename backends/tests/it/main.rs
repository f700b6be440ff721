//! Every adapter against the contract of its port, and what is special about each.

#![expect(clippy::unwrap_used, reason = "test code: what fails, fails the test")]

#[cfg(feature = "consul")]
mod consul;
mod discovery;
mod fs;
mod garage;
mod memory;
mod rabbitmq;
mod relay;
mod s3;
mod staging;
mod switch;
