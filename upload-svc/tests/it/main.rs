//! Several instances of the upload service in one process, over real sockets and a real dbproxy.

#![expect(
    clippy::unwrap_used,
    reason = "test code: what is not there fails the test"
)]

mod away;
mod cluster;
mod forwarding;
mod internal;
mod line;
mod listing;
mod raw;
mod repeated;
mod reservations;
mod streaming;
mod tus;
