//! Where Redis is: the forms of its address, and how each is connected to.

use std::time::Duration;

use cloudstore_service::{Kind, Problem, Result};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo as _, RedisError,
    RedisResult, TlsMode, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};
use tokio::sync::Mutex;

/// Time for a connection with its handshake. Callers wait only for their budget; the attempt goes
/// on behind their backs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// What the driver waits for an answer before it forgets the command; callers left long before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Sentinels listen here unless the address says otherwise.
const SENTINEL_PORT: u16 = 26379;

/// A Redis installation.
pub(super) enum Address {
    /// One server: `redis://`, `rediss://` (TLS), `redis+unix://`.
    Single(Client),
    /// The master that sentinels name: `redis+sentinel://host:port,host:port/master`.
    Sentinel(Mutex<SentinelClient>),
    /// A cluster: `redis+cluster://host:port,host:port`.
    Cluster(ClusterClient),
}

impl Address {
    /// Reads an address. `rediss+sentinel` and `rediss+cluster` use TLS. User and password are
    /// those of the Redis servers, not of the sentinels.
    ///
    /// # Errors
    /// `invalid-fields`; the detail says what is wrong and has no password in it.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(invalid("it has no scheme, such as redis://"));
        };
        let plain = if scheme.starts_with("rediss") {
            "rediss"
        } else {
            "redis"
        };
        match scheme {
            "redis" | "rediss" | "redis+unix" | "unix" => {
                Client::open(url).map(Self::Single).map_err(refused)
            }
            "redis+sentinel" | "rediss+sentinel" => sentinel(plain, rest),
            "redis+cluster" | "rediss+cluster" => cluster(plain, rest),
            _ => Err(invalid(
                "its scheme is none of redis, rediss, redis+unix, redis+sentinel, redis+cluster, \
                 rediss+sentinel and rediss+cluster",
            )),
        }
    }

    /// A new connection to whoever takes writes now.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        match self {
            Self::Single(client) => client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map(Connection::Server),
            Self::Sentinel(client) => client
                .lock()
                .await
                .get_async_connection_with_config(&config)
                .await
                .map(Connection::Server),
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        let answer = match self {
            Self::Server(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        answer?.extract_error()
    }
}

/// What stands between scheme and path: credentials that end with `@` or nothing, and the servers.
fn authority(rest: &str) -> Result<(&str, Vec<&str>, &str)> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let hosts: Vec<_> = hosts.split(',').collect();
    if hosts.iter().any(|host| host.is_empty()) {
        return Err(invalid("a server has no name"));
    }
    Ok((credentials, hosts, path))
}

fn sentinel(scheme: &str, rest: &str) -> Result<Address> {
    let (credentials, hosts, path) = authority(rest)?;
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() {
        return Err(invalid(
            "the name of the master is missing: redis+sentinel://HOST:PORT/MASTER",
        ));
    }
    let sentinels = hosts
        .iter()
        .map(|host| {
            // The port is optional, and IPv6 addresses have colons, too.
            let named = host.rfind(':') > host.rfind(']');
            if named {
                info(&format!("{scheme}://{host}"))
            } else {
                info(&format!("{scheme}://{host}:{SENTINEL_PORT}"))
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let server = info(&format!("{scheme}://{credentials}localhost/{database}"))?;
    let mut node = SentinelNodeConnectionInfo::default()
        .set_redis_connection_info(server.redis_settings().clone());
    if scheme == "rediss" {
        node = node.set_tls_mode(TlsMode::Secure);
    }
    let client = SentinelClient::build(sentinels, master, Some(node), SentinelServerType::Master);
    client
        .map(|client| Address::Sentinel(Mutex::new(client)))
        .map_err(refused)
}

fn cluster(scheme: &str, rest: &str) -> Result<Address> {
    let (credentials, hosts, path) = authority(rest)?;
    if !path.is_empty() {
        return Err(invalid("a cluster has one database and no path"));
    }
    let nodes = hosts
        .iter()
        .map(|host| info(&format!("{scheme}://{credentials}{host}")))
        .collect::<Result<Vec<_>>>()?;
    ClusterClient::builder(nodes)
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(ANSWER_TIMEOUT)
        // Whoever calls has 50 ms: there is no time for more than one more try.
        .retries(1)
        .build()
        .map(Address::Cluster)
        .map_err(refused)
}

fn info(url: &str) -> Result<ConnectionInfo> {
    url.into_connection_info().map_err(refused)
}

fn invalid(why: &str) -> Problem {
    Problem::new(
        Kind::InvalidFields,
        format!("the address of Redis is invalid: {why}"),
    )
}

/// The library's errors name the part that is wrong and do not repeat the address.
fn refused(error: RedisError) -> Problem {
    invalid(&error.to_string()).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "redis://localhost",
            "redis://user:secret@localhost:1/2",
            "rediss://localhost",
            "redis+unix:///run/redis.sock",
            "redis+sentinel://a:1,b,[::1]:3,[::1]/main",
            "redis+sentinel://user:secret@a/main/2",
            "rediss+sentinel://a/main",
            "redis+cluster://a:1,b",
            "rediss+cluster://:secret@a:1,b:2/",
        ] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "no scheme"),
            ("localhost:6379", "no scheme"),
            ("http://localhost", "scheme is none of"),
            ("redis://:secret@localhost:port", "did not parse"),
            ("redis://:secret@localhost/x", "database number"),
            ("redis+sentinel://:secret@a:1", "name of the master"),
            ("redis+sentinel:///main", "no name"),
            ("redis+sentinel://a/main/x", "database number"),
            ("redis+cluster://:secret@a,,b", "no name"),
            ("redis+cluster://:secret@a/0", "no path"),
        ] {
            let Err(problem) = Address::parse(bad) else {
                panic!("{bad} was taken");
            };
            assert_eq!(problem.kind(), Kind::InvalidFields);
            assert!(problem.detail().contains(why), "{bad}: {problem}");
            assert!(!problem.detail().contains("secret"), "{problem}");
        }
    }
}
