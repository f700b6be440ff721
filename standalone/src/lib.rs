//! All of cloudstore in one process: SQLite, a queue in memory, and content in a directory of this
//! machine or in an S3-compatible store. [`Stack::start`] is the only place that chooses adapters.

mod config;
pub mod openapi;
mod stack;

use cloudstore_service::{config::print_effective, telemetry};
use tokio::signal::unix::{SignalKind, signal};

pub use self::{
    config::Config,
    stack::{Stack, StartError},
};

/// Starts the stack, prints `listening on URL` on standard output, and serves until SIGTERM or
/// SIGINT; then drains.
///
/// # Errors
/// When the stack cannot start or the listener fails.
pub async fn run(config: Config) -> Result<(), StartError> {
    let config = config.with_secrets()?;
    if config.print_config {
        println!(
            "{}",
            print_effective(&config).map_err(std::io::Error::other)?
        );
        return Ok(());
    }
    telemetry::init(config.log_format, &config.log_filter);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stack = Stack::start(config).await?;
    println!("listening on {}", stack.url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stack.failed() => {}
    }
    tracing::info!("shutting down");
    stack.stop().await
}
