//! The contract with Redis in front, and what Redis alone could break: what is cached, who sees
//! which write, and servers that are slow, flushed, stopped or gone.
#![expect(
    clippy::unwrap_used,
    reason = "a test whose helpers cannot work has failed"
)]

mod away;
mod ranking;
mod reads;
mod servers;
mod spy;
mod writes;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use cloudstore_dbproxy::{
    Clock, SqliteStore, Store,
    cache::{BUDGET, CachedStore, RedisConfig},
    position,
    testing::{self, Fixture},
};
use cloudstore_proto::{account::CreateAccountRequest, file::*, transfer::*, upload::*};
use cloudstore_service::{Kind, Result};
use tempfile::TempDir;
use uuid::Uuid;

use self::spy::{Spy, turns};

/// What a Redis that works may take on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A name that no other test has.
fn prefix() -> String {
    format!("cs-test-{}:", Uuid::now_v7().simple())
}

fn shared_redis() -> String {
    cloudstore_service::testing::server("REDIS_URL")
}

/// SQLite, and as many processes with a Redis in front of it that has so much time for an answer.
async fn cached<const PROCESSES: usize>(
    dir: &Path,
    url: &str,
    budget: Duration,
    clock: Arc<dyn Clock>,
) -> [Arc<dyn Store>; PROCESSES] {
    let inner = SqliteStore::open_with(dir.join("db"), clock.clone())
        .await
        .unwrap();
    let config = RedisConfig {
        prefix: prefix(),
        budget,
        ..RedisConfig::new(url)
    };
    let process = |()| CachedStore::with_clock(inner.clone(), config.clone(), clock.clone());
    [(); PROCESSES].map(process).map(Result::unwrap)
}

macro_rules! topics {
    ($($topic:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $topic() {
            let dir = TempDir::new().unwrap();
            let fixture = Fixture::new(async |clock| {
                turns(cached(dir.path(), &shared_redis(), PATIENCE, clock).await)
            })
            .await;
            let store = fixture.store.clone();
            testing::$topic(fixture).await;
            store.close().await;
        })*
    };
}

topics! {
    accounts sessions session_lists keys api_tokens token_bounds
    files folders listings searches search_limits changes deep_trees long_paths
    copies replacing large_copies locks locked_changes many_locks properties copied_properties
    shares shared_entries upload_links downloads
    trash restoring emptying trashed_shares
    uploads expiry quota staging lengths
    instant blocks lookups conflicts repeated_calls
    purge garbage staged_copies other_nodes known_blobs
    transfers leases parked_copies parking mending repeated_conditions
    many_references quota_under_load removal_against_references
    same_content_of_two quota_of_two removal_against_instant
}

/// The whole contract, each topic on a database of its own, in one process or in two that take
/// turns. Where Redis was not told of a write in time, the other process may miss it for a while: two
/// need a budget that a busy machine keeps.
async fn contract<const PROCESSES: usize>(url: &str, budget: Duration) {
    let dir = TempDir::new().unwrap();
    testing::contract(async |clock| {
        let own = dir.path().join(Uuid::now_v7().to_string());
        std::fs::create_dir(&own).unwrap();
        let processes = cached::<PROCESSES>(&own, url, budget, clock).await;
        match <[_; 2]>::try_from(processes.to_vec()) {
            Ok(two) => turns(two),
            Err(one) => one[0].clone(),
        }
    })
    .await;
}

/// One database, and as many processes in front of it as a test wants.
struct World {
    spy: Arc<Spy>,
    owner: Bytes,
    prefix: String,
    _dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let spy = Spy::new(SqliteStore::open(dir.path().join("db")).await.unwrap());
        let owner = id();
        spy.create_account(account(&owner)).await.unwrap();
        Self {
            spy,
            owner,
            prefix: prefix(),
            _dir: dir,
        }
    }

    /// Another process, with this Redis and more time for it than a busy machine needs: what is
    /// cached is the same every time.
    fn process(&self, url: &str) -> Arc<dyn Store> {
        self.process_within(url, PATIENCE)
    }

    fn process_within(&self, url: &str, budget: Duration) -> Arc<dyn Store> {
        let config = RedisConfig {
            prefix: self.prefix.clone(),
            budget,
            ..RedisConfig::new(url)
        };
        CachedStore::new(self.spy.clone(), config).unwrap()
    }

    async fn stat(&self, process: &Arc<dyn Store>, path: &str) -> Result<Entry> {
        let request = StatRequest {
            owner: self.owner.clone(),
            path: path.to_owned(),
        };
        process.stat(request).await
    }

    /// As a client that was told a position.
    async fn stat_at(&self, process: &Arc<dyn Store>, path: &str, at: &str) -> Result<Entry> {
        position::scope(Some(at.to_owned()), self.stat(process, path))
            .await
            .0
    }

    async fn is_there(&self, process: &Arc<dyn Store>, path: &str) -> bool {
        match self.stat(process, path).await {
            Ok(_) => true,
            Err(problem) => {
                assert_eq!(problem.kind(), Kind::NotFound);
                false
            }
        }
    }

    /// Makes a folder; the position that was reached, empty where there are none.
    async fn mkdir(&self, process: &Arc<dyn Store>, path: &str) -> String {
        let request = CreateFolderRequest {
            owner: self.owner.clone(),
            path: path.to_owned(),
            parents: true,
            precondition: None,
        };
        let (made, reached) = position::scope(None, process.create_folder(request)).await;
        made.unwrap();
        reached.unwrap_or_default()
    }

    /// Removes something; the position that was reached, empty where there are none.
    async fn remove(&self, process: &Arc<dyn Store>, path: &str) -> String {
        let request = DeleteRequest {
            keep_ms: 0,
            owner: self.owner.clone(),
            path: path.to_owned(),
            precondition: None,
        };
        let (removed, reached) = position::scope(None, process.delete(request)).await;
        removed.unwrap();
        reached.unwrap_or_default()
    }

    /// Calls of `stat` that came to the database since the last time this was asked.
    fn loads(&self) -> u32 {
        self.spy.take_loads()
    }

    fn version_key(&self) -> String {
        format!("{}ver:{{a{}}}", self.prefix, hex::encode(&self.owner))
    }
}

fn id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}

fn account(id: &Bytes) -> CreateAccountRequest {
    CreateAccountRequest {
        id: id.clone(),
        username: hex::encode(id),
        password_hash: "hash".to_owned(),
        quota_bytes: 1 << 30,
        ..CreateAccountRequest::default()
    }
}

async fn connect(url: &str) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}
