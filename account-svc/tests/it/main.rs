//! The service as clients meet it: a real socket, a real database, no stand-ins.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod api_tokens;
mod flood;
mod sessions;
mod stack;
mod tokens;
