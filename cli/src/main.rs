//! `cloudstore`: the client commands and `serve`, the whole server in one process.

mod args;
mod client;
mod commands;
mod credentials;
mod download;
mod error;
mod output;
mod progress;
mod state;
mod terminal;
mod upload;

use std::process::ExitCode;

use clap::Parser as _;

/// Allocates faster than the system's allocator when many threads share buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = cli.command.blocking_threads() {
        builder.max_blocking_threads(threads);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cloudstore: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(commands::run(cli));
    // A read of a terminal or a pipe cannot be cancelled, and must not keep the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}
