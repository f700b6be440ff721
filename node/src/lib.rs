//! How a process of the distributed mode is put together: configuration, adapters, identity,
//! registration, draining. Every service's `main` is one call of [`run`].
//!
//! [`adapters`] is the only place that chooses between the adapters of a port.

pub mod adapters;
mod config;
mod process;

pub use config::{BlobBackend, Config, QueueConfig, StorageConfig};
pub use process::{Node, Serving, StartError, run};
