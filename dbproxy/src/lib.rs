//! The metadata service: the only crate that speaks SQL.
//!
//! [`Store`] is the port between the gRPC services and a database. [`sqlite`] is its embedded
//! adapter. What does not depend on the database ([`check`], [`rules`], [`names`], [`cursor`])
//! lives outside of the adapters, and one contract suite (feature `testing`) holds for all of them.

pub mod check;
pub mod clock;
pub mod cursor;
mod grpc;
pub mod names;
pub mod rules;
pub mod sqlite;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::{Clock, SystemClock};
pub use grpc::{MAX_MESSAGE_BYTES, serve};
pub use sqlite::SqliteStore;
pub use store::Store;
