//! Instances and settings in Consul, through its agent.
//!
//! The client library is used in this file only. It knows no health endpoint, sets no timeouts,
//! reports an empty prefix of the key/value store as an error without an index, and writes a line
//! to the log for every request: all of that is dealt with here.

mod adapter;
mod announcing;
mod watching;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use consulrs::{
    api::{
        self, ApiResponse, Features,
        check::common::AgentServiceCheck,
        features::{Blocking, FeaturedEndpoint},
        kv::requests::{ReadKeyRequest, SetKeyRequest},
        service::requests::RegisterServiceRequest,
    },
    client::{ConsulClient, ConsulClientSettings},
    error::ClientError,
    kv, service,
};
use rustify_derive::Endpoint;
use serde::Deserialize;
use tokio::time::timeout;
use tracing::{Dispatch, instrument::WithSubscriber as _};
use url::Url;

pub use self::adapter::ConsulDiscovery;
use super::{Error, Instance, Registration};

/// How long connecting to the agent may take; it is on this host or near it.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long an answer may take, beyond the time that was asked for.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the `/readyz` of an instance may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Consul removes an instance whose checks have failed for so long: its process has died without
/// withdrawing it, and does not come back.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// The part of the metadata that holds the release.
const VERSION: &str = "version";

/// Which agent, and what is ours in it.
#[derive(Clone)]
pub struct ConsulConfig {
    /// Address of the agent, such as `http://127.0.0.1:8500`.
    pub url: Url,
    /// Prefix of all keys, such as `cloudstore/`.
    pub prefix: String,
    /// Access token.
    pub token: Option<String>,
    /// How often Consul asks an instance whether it is ready.
    pub check_interval: Duration,
}

impl fmt::Debug for ConsulConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the token.
        f.debug_struct("ConsulConfig")
            .field("url", &self.url.as_str())
            .field("prefix", &self.prefix)
            .field("check_interval", &self.check_interval)
            .finish_non_exhaustive()
    }
}

/// What a list holds, and the index to wait on for its next change. No index: there is nothing to
/// wait on.
#[derive(Debug)]
struct Answer<V> {
    index: Option<u64>,
    items: BTreeMap<String, V>,
}

/// Consul's requests, in this crate's words.
struct Api {
    client: ConsulClient,
    prefix: String,
    check_interval: Duration,
}

impl Api {
    fn new(config: ConsulConfig) -> Result<Self, Error> {
        if !matches!(config.url.scheme(), "http" | "https") {
            return Err(Error::Unavailable("Consul's address must be HTTP".into()));
        }
        let mut address = config.url;
        // The library appends a slash itself.
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty();
        }
        let http = reqwest011::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            // A kept connection that breaks makes the client repeat the request by itself: a query
            // that waits would then wait on the index of a Consul that is gone.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()
            .map_err(|error| Error::Unavailable(error.into()))?;
        let settings = ConsulClientSettings {
            address: address.to_string(),
            ca_certs: Vec::new(),
            client_cert: None,
            client_key: None,
            token: config.token,
            verify: true,
            version: 1,
        };
        Ok(Self {
            client: ConsulClient {
                http: rustify::clients::reqwest::Client::new(address.as_str(), http),
                settings,
            },
            prefix: config.prefix,
            check_interval: config.check_interval,
        })
    }

    async fn register(&self, registration: &Registration) -> Result<(), Error> {
        let Registration {
            service: name,
            instance,
            health,
        } = registration;
        let check = AgentServiceCheck {
            http: Some(format!("http://{health}/readyz")),
            interval: Some(milliseconds(self.check_interval)),
            timeout: Some(milliseconds(CHECK_TIMEOUT)),
            deregister_critical_service_after: Some(milliseconds(FORGET_AFTER)),
            ..AgentServiceCheck::default()
        };
        let mut request = RegisterServiceRequest::builder();
        request
            .id(consul_id(name, &instance.id))
            .address(instance.address.ip().to_string())
            .port(u64::from(instance.address.port()))
            .meta(HashMap::from([(VERSION.into(), instance.version.clone())]))
            .check(check);
        let request = service::register(&self.client, name, Some(&mut request));
        within(ANSWER_LIMIT, request).await?;
        Ok(())
    }

    async fn is_registered(&self, service: &str, id: &str) -> Result<bool, Error> {
        let id = consul_id(checked(service)?, checked(id)?);
        let request = ReadInstance { features: None, id };
        let request = api::exec_with_result(&self.client, request);
        found(within(ANSWER_LIMIT, request).await)
    }

    async fn deregister(&self, service: &str, id: &str) -> Result<(), Error> {
        let consul_id = consul_id(checked(service)?, checked(id)?);
        let request = service::deregister(&self.client, &consul_id, None);
        let Err(error) = within(ANSWER_LIMIT, request).await else {
            return Ok(());
        };
        // Depending on its release, Consul calls it an error when there is none.
        match self.is_registered(service, id).await {
            Ok(false) => Ok(()),
            _ => Err(error.into()),
        }
    }

    /// The instances of a service that are ready, now.
    async fn list(&self, service: &str) -> Result<Answer<Instance>, Error> {
        self.instances(service, None, ANSWER_LIMIT).await
    }

    /// The same, when there is news since `index`, or `wait` is over.
    async fn wait_instances(
        &self,
        service: &str,
        index: u64,
        wait: Duration,
    ) -> Result<Answer<Instance>, Error> {
        self.instances(service, blocking(index, wait), limit(wait))
            .await
    }

    async fn instances(
        &self,
        service: &str,
        features: Option<Features>,
        limit: Duration,
    ) -> Result<Answer<Instance>, Error> {
        let request = ReadyInstances {
            features,
            service: checked(service)?.to_owned(),
            passing: true,
        };
        let request = api::exec_with_result(&self.client, request);
        let answer = within(limit, request).await?;
        let items = answer.response.iter().filter_map(|listed| {
            let instance = listed.instance(service);
            if instance.is_none() {
                tracing::debug!(service, ?listed, "not an address, left out");
            }
            instance.map(|instance| (instance.id.clone(), instance))
        });
        Ok(Answer {
            index: index(&answer),
            items: items.collect(),
        })
    }

    /// What is below a prefix, now. Keys without both prefixes.
    async fn settings(&self, prefix: &str) -> Result<Answer<Vec<u8>>, Error> {
        self.keys(prefix, None, ANSWER_LIMIT).await
    }

    /// The same, when there is news since `index`, or `wait` is over.
    async fn wait_settings(
        &self,
        prefix: &str,
        index: u64,
        wait: Duration,
    ) -> Result<Answer<Vec<u8>>, Error> {
        self.keys(prefix, blocking(index, wait), limit(wait)).await
    }

    async fn keys(
        &self,
        prefix: &str,
        features: Option<Features>,
        limit: Duration,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let whole = format!("{}{}", self.prefix, checked(prefix)?);
        let mut request = ReadKeyRequest::builder();
        request.recurse(true);
        if let Some(features) = features {
            request.features(features);
        }
        let request = kv::read(&self.client, &whole, Some(&mut request));
        let answer = match within(limit, request).await {
            Err(Failure::NotFound) => {
                return Ok(Answer {
                    index: None,
                    items: BTreeMap::new(),
                });
            }
            answer => answer?,
        };
        let index = index(&answer);
        let mut items = BTreeMap::new();
        for pair in answer.response {
            let Some(key) = pair.key.strip_prefix(&whole).filter(|key| !key.is_empty()) else {
                continue;
            };
            let value: Vec<u8> = match pair.value {
                Some(value) => value
                    .try_into()
                    .map_err(|error: ClientError| Error::Unavailable(error.into()))?,
                None => Vec::new(),
            };
            items.insert(key.to_owned(), value);
        }
        Ok(Answer { index, items })
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let key = format!("{}{}", self.prefix, checked(key)?);
        let mut request = SetKeyRequest::builder();
        request.key(key).value(value);
        let request = request.build().expect("everything has a default");
        let request = api::exec_with_result(&self.client, request);
        let answer = within(ANSWER_LIMIT, request).await?;
        match answer.response {
            true => Ok(()),
            false => Err(Error::Unavailable("Consul did not take the key".into())),
        }
    }

    async fn is_set(&self, key: &str) -> Result<bool, Error> {
        let key = format!("{}{}", self.prefix, checked(key)?);
        found(within(ANSWER_LIMIT, kv::read(&self.client, &key, None)).await)
    }
}

/// Why a request failed.
enum Failure {
    NotFound,
    Other(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Unavailable(match failure {
            Failure::NotFound => "not found".into(),
            Failure::Other(detail) => detail.into(),
        })
    }
}

/// Runs a request of the library: bounded, and without its lines in the log.
async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, Failure> {
    let quiet = request.with_subscriber(Dispatch::none());
    match timeout(limit, quiet).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(ClientError::APIError { code: 404, .. })) => Err(Failure::NotFound),
        Ok(Err(ClientError::APIError { code, message })) => Err(Failure::Other(format!(
            "Consul answered {code}: {}",
            message.unwrap_or_default().trim()
        ))),
        Ok(Err(error)) => Err(Failure::Other(causes(&error))),
        Err(_) => Err(Failure::Other("Consul does not answer".into())),
    }
}

/// The outer errors say nothing but where they come from; some of the inner ones repeat their own
/// causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

fn found<T>(answer: Result<T, Failure>) -> Result<bool, Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(Failure::NotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn index<T>(answer: &ApiResponse<T>) -> Option<u64> {
    let index = answer.index.as_deref()?.parse().ok()?;
    // Consul's rule: an index of 0 is none, and waiting on it would not wait.
    (index > 0).then_some(index)
}

fn blocking(index: u64, wait: Duration) -> Option<Features> {
    (index > 0).then(|| Features {
        blocking: Some(Blocking {
            index,
            wait: Some(milliseconds(wait)),
        }),
        ..Features::default()
    })
}

/// Consul waits up to a sixteenth longer than it is asked to.
fn limit(wait: Duration) -> Duration {
    wait + wait / 16 + ANSWER_LIMIT
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// Unique in the agent, which may have instances of several services.
fn consul_id(service: &str, id: &str) -> String {
    format!("{service}:{id}")
}

/// Names become parts of paths, which the library does not escape properly.
fn checked(name: &str) -> Result<&str, Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    let dots = name.split('/').any(|part| part == "." || part == "..");
    if name.bytes().all(plain) && !dots {
        Ok(name)
    } else {
        Err(Error::Unavailable(
            format!("{name:?} cannot be a name").into(),
        ))
    }
}

/// `GET /v1/health/service/:service?passing`
#[derive(Debug, Endpoint)]
#[endpoint(path = "health/service/{self.service}", response = "Vec<Listed>")]
struct ReadyInstances {
    #[endpoint(skip)]
    features: Option<Features>,
    #[endpoint(skip)]
    service: String,
    #[endpoint(query)]
    passing: bool,
}

impl FeaturedEndpoint for ReadyInstances {
    fn features(&self) -> Option<Features> {
        self.features.clone()
    }
}

/// `GET /v1/agent/service/:id`. The library's own cannot read an answer with addresses in it.
#[derive(Debug, Endpoint)]
#[endpoint(path = "agent/service/{self.id}", response = "Registered")]
struct ReadInstance {
    #[endpoint(skip)]
    features: Option<Features>,
    #[endpoint(skip)]
    id: String,
}

impl FeaturedEndpoint for ReadInstance {
    fn features(&self) -> Option<Features> {
        self.features.clone()
    }
}

/// Nothing of its answer is of use but that there is one.
#[derive(Debug, Deserialize)]
struct Registered {}

/// What is of use in the answer about ready instances.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    node: ListedNode,
    service: ListedService,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNode {
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedService {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    address: String,
    port: u16,
    #[serde(default)]
    meta: Option<HashMap<String, String>>,
}

impl Listed {
    fn instance(&self, service: &str) -> Option<Instance> {
        let ListedService {
            id,
            address,
            port,
            meta,
        } = &self.service;
        let id = id.strip_prefix(service).and_then(|id| id.strip_prefix(':'));
        // A service without an address is at that of its node.
        let address = if address.is_empty() {
            &self.node.address
        } else {
            address
        };
        let version = meta.as_ref().and_then(|meta| meta.get(VERSION));
        Some(Instance {
            id: id.unwrap_or(&self.service.id).to_owned(),
            address: SocketAddr::new(address.parse::<IpAddr>().ok()?, *port),
            version: version.cloned().unwrap_or_default(),
        })
    }
}
