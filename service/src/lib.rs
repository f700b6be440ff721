//! The chassis every service stands on: configuration, errors (problem+json and gRPC statuses),
//! authentication, the HTTP listener with graceful shutdown, health, metrics and logs.
//!
//! A service builds an axum `Router` out of thin handlers that return [`Result`]; whoever owns the
//! socket merges routers, wraps them once in [`http::finish`] and hands them to [`listener::serve`].

pub mod auth;
mod body;
pub mod bucket;
pub mod cache;
pub mod clock;
pub mod config;
pub mod context;
pub mod guesses;
pub mod health;
pub mod http;
mod interim;
pub mod json;
pub mod jwt;
pub mod listener;
pub mod openapi;
pub mod path;
pub mod position;
pub mod precondition;
pub mod problem;
pub mod query;
mod refresh;
pub mod rpc;
pub mod settings;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
pub mod trash;
pub mod trust;

pub use interim::Interim;
pub use problem::{Kind, Problem, Result};
