//! The chassis as clients meet it: real sockets, real clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod channel;
mod http2;
mod interim;
mod listener;
mod requests;
mod rpc;
mod server;
mod store;
mod trust;
