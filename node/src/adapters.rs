//! The only place that chooses adapters by configuration.

use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use cloudstore_backends::{
    blob::{
        BlobStore,
        fs::FsBlobStore,
        s3::{Checksums, DEFAULT_PART_BYTES, S3BlobStore, S3Config},
    },
    discovery::{
        Discovery, Instance, Instances, Settings,
        consul::{ConsulConfig, ConsulDiscovery},
        fixed::FixedDiscovery,
    },
    flush::Flusher,
    queue::{
        Queue,
        memory::MemoryQueue,
        rabbitmq::{RabbitConfig, RabbitQueue},
    },
};
use cloudstore_service::config::Secret;

use crate::{BlobBackend, Config, QueueConfig, StartError, StorageConfig};

/// Time between two checks of an instance's `/readyz`: an instance that fails is out of the lists
/// after about this time.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Wake-ups handed to one worker process ahead of its work. It claims them in batches; more would
/// keep them from idle workers.
const PREFETCH: u16 = 64;
/// Deliveries of one wake-up before it goes to the dead letters. The row does not depend on it.
const DELIVERY_LIMIT: u32 = 10;
/// How long a wake-up rests that is to be tried again. Real back-off is in the database row.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Wake-ups that may wait in memory; what does not fit is found by the sweep.
const QUEUE_BOUND: usize = 10_000;

/// Durable storage: a directory below `data`, or a bucket.
///
/// # Errors
/// When something is missing in the configuration or the directory cannot be used.
pub fn blobs(
    backend: BlobBackend,
    storage: &StorageConfig,
    data: &Path,
    flusher: Flusher,
) -> Result<Arc<dyn BlobStore>, StartError> {
    Ok(match backend {
        // Keys begin with "blobs/", so the store's directory is the data directory itself.
        BlobBackend::Fs => Arc::new(FsBlobStore::open(data, flusher)?),
        BlobBackend::S3 => Arc::new(S3BlobStore::new(s3_config(storage)?)),
    })
}

fn s3_config(config: &StorageConfig) -> Result<S3Config, StartError> {
    let given = |value: &Option<String>, what: &str| {
        let missing = || StartError::Config(format!("object storage needs {what}"));
        value.clone().ok_or_else(missing)
    };
    let secret = config.s3_secret_key.as_ref();
    let secret = secret.map(|secret| secret.expose().to_owned());
    Ok(S3Config {
        endpoint: config.s3_endpoint.clone(),
        region: config.s3_region.clone(),
        bucket: given(&config.s3_bucket, "a bucket")?,
        prefix: config.s3_prefix.clone(),
        path_style: true,
        access_key: given(&config.s3_access_key, "an access key")?,
        secret_key: given(&secret, "CLOUDSTORE_S3_SECRET_KEY")?,
        checksums: Checksums::WhenRequired,
        part_bytes: DEFAULT_PART_BYTES,
    })
}

/// Wake-ups inside this process.
#[must_use]
pub fn memory_queue() -> Arc<dyn Queue> {
    Arc::new(MemoryQueue::new(QUEUE_BOUND))
}

/// Wake-ups through RabbitMQ. A queue in memory could not reach another process, so there is no
/// other choice here.
///
/// # Errors
/// When the address is missing.
pub fn broker(config: &QueueConfig, consume: bool) -> Result<Arc<dyn Queue>, StartError> {
    let url = config.rabbitmq_url.as_ref().map(Secret::expose);
    let url = url.ok_or_else(|| StartError::Config("CLOUDSTORE_RABBITMQ_URL is not set".into()))?;
    let queue: Arc<dyn Queue> = RabbitQueue::connect(RabbitConfig {
        url: url.to_owned(),
        queue: config.rabbitmq_queue.clone(),
        prefetch: PREFETCH,
        delivery_limit: DELIVERY_LIMIT,
        retry_delay: RETRY_DELAY,
        consume,
    });
    Ok(queue)
}

/// Consul, or what the configuration lists.
///
/// # Errors
/// When the configuration cannot be understood.
pub fn discovery(config: &Config) -> Result<Arc<dyn Discovery>, StartError> {
    if let Some(url) = &config.consul_url {
        let token = Secret::from_env_or_file("CLOUDSTORE_CONSUL_TOKEN")?;
        let consul = ConsulDiscovery::new(ConsulConfig {
            url: url.clone(),
            prefix: config.consul_prefix.clone(),
            token: token.map(|token| token.expose().to_owned()),
            check_interval: CHECK_EVERY,
        });
        return Ok(Arc::new(
            consul.map_err(|error| StartError::Config(error.to_string()))?,
        ));
    }
    let instances = instances(config.peers.as_deref().unwrap_or_default())?;
    let settings = match &config.settings_file {
        Some(file) => settings(&std::fs::read_to_string(file)?),
        None => Settings::new(),
    };
    Ok(Arc::new(FixedDiscovery::new(instances, settings)))
}

/// `service=id@address`, separated by commas.
fn instances(list: &str) -> Result<HashMap<String, Instances>, StartError> {
    let mut instances: HashMap<String, Instances> = HashMap::new();
    for item in list.split(',').filter(|item| !item.is_empty()) {
        let parsed = item.split_once('=').and_then(|(service, instance)| {
            let (id, address) = instance.split_once('@')?;
            let address: SocketAddr = address.parse().ok()?;
            Some((service, id, address))
        });
        let Some((service, id, address)) = parsed else {
            let detail = format!("{item:?} is not of the form service=id@address:port");
            return Err(StartError::Config(detail));
        };
        instances
            .entry(service.to_owned())
            .or_default()
            .push(Instance {
                id: id.to_owned(),
                address,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            });
    }
    for list in instances.values_mut() {
        list.sort();
    }
    Ok(instances)
}

/// Lines of `key=value`; empty ones and those that begin with `#` are left out.
fn settings(text: &str) -> Settings {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), value.trim().as_bytes().to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_peers() {
        let parsed =
            instances("dbproxy=d2@127.0.0.1:2,dbproxy=d1@127.0.0.1:1,x=y@[::1]:3").unwrap();
        let ids: Vec<_> = parsed["dbproxy"]
            .iter()
            .map(|one| one.id.as_str())
            .collect();
        assert_eq!(ids, ["d1", "d2"]);
        assert!(parsed["x"][0].address.is_ipv6());
        for bad in [
            "dbproxy",
            "dbproxy=127.0.0.1:1",
            "dbproxy=a@host:1",
            "dbproxy=a@127.0.0.1",
        ] {
            assert!(instances(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_of_settings() {
        let parsed = settings("# comment\n\nkeys/a/b = c=d\nsettings/upload.instant=off\n");
        assert_eq!(parsed["keys/a/b"], b"c=d");
        assert_eq!(parsed["settings/upload.instant"], b"off");
        assert_eq!(parsed.len(), 2);
    }
}
