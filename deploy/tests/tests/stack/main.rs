//! The whole stack under faults, seen by clients through the gateway.
//!
//! `cargo nextest run --profile stack -p cloudstore-stack-tests` runs these, one after the other:
//! each has the stack to itself, finds it healthy and leaves it so. The programs have to be built
//! before (`cargo build --workspace --bins --features cloudstore-transfer/failpoints`).
//!
//! What a fault must not do is in the table of reliability: the clients write down what was
//! acknowledged to them, and every test ends by holding the stack to it (I1 to I7 of ARCHITECTURE.md).

#![expect(clippy::unwrap_used, reason = "test code: what fails, fails the test")]

mod broker;
mod consul;
mod dialects;
mod gateway;
mod mysql;
mod nodes;
mod redis;
mod replica;
mod s3;
mod worker;
