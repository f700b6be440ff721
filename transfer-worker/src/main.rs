//! The process of transfer-worker.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use cloudstore_backends::{flush::Flusher, staging::HttpStaging};
use cloudstore_node::{BlobBackend, QueueConfig, Serving, StorageConfig, adapters};
use cloudstore_transfer::{Config, Options};
use serde::Serialize;

/// Allocates faster than the system's allocator when many threads share buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// From staging to object storage
#[derive(Parser, Serialize)]
#[command(name = "transfer-worker", version)]
struct Args {
    #[command(flatten)]
    node: cloudstore_node::Config,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    storage: StorageConfig,
    #[command(flatten)]
    queue: QueueConfig,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cloudstore_node::run("transfer-worker", args.node.clone(), &args, async |node| {
        let storage = args.storage.clone().with_secrets()?;
        let queue = args.queue.clone().with_secrets()?;
        let (name, data) = (node.config.node.clone(), &node.config.data);
        let blobs = adapters::blobs(BlobBackend::S3, &storage, data, Flusher::new())?;
        let staged = HttpStaging::new(
            name.clone(),
            None,
            node.peers("upload-svc"),
            node.identity.tokens(),
        );
        let channel = node.dbproxy().await?;
        let checked = blobs.clone();
        node.health.add("blob-store", move || {
            let blobs = checked.clone();
            async move { blobs.check().await.map_err(|error| error.to_string()) }
        });
        let operators = cloudstore_transfer::router(channel.clone(), node.trusted.clone());
        let mut serving = Serving::new(operators);
        let work = cloudstore_transfer::run(
            Config {
                settings: node.settings.clone(),
                ..args.options.config(name)
            },
            channel,
            blobs,
            Arc::new(staged),
            adapters::broker(&queue, true)?,
            node.shutdown.clone(),
        );
        serving.work.spawn(async move {
            if let Err(error) = work.await {
                tracing::error!(%error, "the worker failed");
            }
        });
        Ok(serving)
    })
}
