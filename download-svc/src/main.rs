//! The process of download-svc.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use cloudstore_backends::{flush::Flusher, staging::HttpStaging};
use cloudstore_download::Options;
use cloudstore_node::{BlobBackend, Serving, StorageConfig, adapters};
use cloudstore_service::{auth::Verifier, trash::TrashOptions};
use serde::Serialize;

/// Allocates faster than the system's allocator when many threads share buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every way bytes go out
#[derive(Parser, Serialize)]
#[command(name = "download-svc", version)]
struct Args {
    #[command(flatten)]
    node: cloudstore_node::Config,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    trash: TrashOptions,
    #[command(flatten)]
    storage: StorageConfig,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cloudstore_node::run("download-svc", args.node.clone(), &args, async |node| {
        let storage = args.storage.clone().with_secrets()?;
        let data = &node.config.data;
        let staged = HttpStaging::new(
            node.config.node.clone(),
            None,
            node.peers("upload-svc"),
            node.identity.tokens(),
        );
        let channel = node.dbproxy().await?;
        let verifier = Verifier::new(channel.clone(), node.shutdown.clone());
        let router = cloudstore_download::router(
            args.options.config(data, &args.trash),
            channel,
            verifier,
            adapters::blobs(BlobBackend::S3, &storage, data, Flusher::new())?,
            Arc::new(staged),
            node.shutdown.clone(),
        );
        Ok(Serving::new(router?))
    })
}
