//! The process of upload-svc.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use cloudstore_backends::{
    flush::Flusher,
    staging::{HttpStaging, Layout, LocalStaging},
};
use cloudstore_node::{BlobBackend, QueueConfig, Serving, StartError, StorageConfig, adapters};
use cloudstore_service::{auth::Verifier, trash::TrashOptions};
use cloudstore_upload::{Options, Peers, Ports};
use serde::Serialize;

/// Allocates faster than the system's allocator when many threads share buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every way bytes come in
#[derive(Parser, Serialize)]
#[command(name = "upload-svc", version)]
struct Args {
    #[command(flatten)]
    node: cloudstore_node::Config,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    trash: TrashOptions,
    #[command(flatten)]
    storage: StorageConfig,
    #[command(flatten)]
    queue: QueueConfig,
}

fn main() -> ExitCode {
    let args = Args::parse();
    cloudstore_node::run("upload-svc", args.node.clone(), &args, async |node| {
        let storage = args.storage.clone().with_secrets()?;
        let queue = args.queue.clone().with_secrets()?;
        let flusher = Flusher::new();
        let (name, data) = (node.config.node.clone(), &node.config.data);
        let staging = data.join("staging");
        let staged = HttpStaging::new(
            name.clone(),
            Some(LocalStaging::new(Layout::new(&staging))),
            node.peers("upload-svc"),
            node.identity.tokens(),
        );
        let channel = node.dbproxy().await?;
        let ports = Ports {
            channel: channel.clone(),
            blobs: adapters::blobs(BlobBackend::S3, &storage, data, flusher.clone())?,
            staged: Arc::new(staged),
            queue: adapters::broker(&queue, false)?,
            flusher,
            live: node.settings.clone(),
            peers: Some(Peers {
                instances: node.peers("upload-svc"),
                tokens: node.identity.tokens(),
                trusted: node.trusted.clone(),
            }),
        };
        let verifier = Verifier::new(channel, node.shutdown.clone());
        let config = args.options.config(name, staging, &args.trash);
        let upload = cloudstore_upload::start(config, ports, verifier, node.shutdown.clone());
        let upload = upload.await.map_err(StartError::service)?;
        let engine = upload.engine;
        node.health.add("staging", move || {
            let engine = engine.clone();
            async move { engine.check() }
        });
        Ok(Serving::new(upload.router.merge(upload.internal)))
    })
}
