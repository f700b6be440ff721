//! The whole server, used as its clients use it: over HTTP.
//!
//! Every test has users of its own with unguessable names, and content that no other test has, so
//! all of them can run side by side, against one server too: `CLOUDSTORE_E2E_URL` names a running
//! one. Tests that restart the server, look into its directories or need other limits start their
//! own in this process ([`support::Local`]), whatever that variable says.

#![expect(clippy::unwrap_used, reason = "test code: what fails, fails the test")]

mod support;

mod accounts;
mod api_tokens;
mod archive;
mod batch;
mod chunks;
mod clients;
mod collision;
mod completion;
mod concurrency;
mod copies;
mod dav;
mod direct;
mod disk_full;
mod download;
mod files;
mod ietf;
mod instant;
mod interrupted;
mod moving;
mod paths;
mod preconditions;
mod problems;
mod quota;
mod recovery;
mod resuming;
mod search;
mod shares;
mod tokens;
mod transfer;
mod trash;
mod tus;
mod wire;
