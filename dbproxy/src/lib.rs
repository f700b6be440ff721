//! The metadata service: the only crate that speaks SQL.
//!
//! [`Store`] is the port between the gRPC services and a database. [`sqlite`] is its embedded
//! adapter, [`mysql`] the one for many processes. What does not depend on the database ([`check`],
//! [`dav`], [`rules`], [`trash`], [`names`], [`cursor`]) lives outside of the adapters, and one contract suite (feature
//! `testing`) holds for all of them.

pub mod cache;
pub mod check;
pub mod clock;
pub mod cursor;
pub mod dav;
mod grpc;
pub mod mysql;
pub mod names;
pub mod paths;
pub mod position;
pub mod rules;
pub mod sqlite;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trash;

pub use clock::{Clock, SystemClock};
pub use grpc::{MAX_MESSAGE_BYTES, serve, serve_trusted};
pub use mysql::{MySqlConfig, MySqlStore};
pub use sqlite::SqliteStore;
pub use store::Store;
