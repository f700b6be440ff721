//! Where a read goes.
//!
//! - Without a position: to a healthy replica, in turn; else to the primary; with no primary to any
//!   replica that answers.
//! - With a position: to a replica known to have it, or one that gets it within 50 ms; else to the
//!   primary. Never to one that lacks it.
//! - To the primary: when only the last state will do.

use std::{sync::Arc, time::Duration};

use cloudstore_service::{Kind, Result};
use tokio::time::timeout;

use super::{
    Shared,
    error::{Fail, Trouble, database, trouble, unavailable},
    gtid::Position,
    pools::Lease,
    primaries::Primary,
    replicas::{Replica, Wanted},
    tx::{Command, Tx},
};
use crate::position;

/// How long a read waits for a connection.
const MAX_CONNECTION_WAIT: Duration = Duration::from_secs(5);
/// How long a read may take on one server; it is a page of rows at most.
const MAX_READ: Duration = Duration::from_secs(3);
/// Servers, or connections to one, that a read tries.
const ATTEMPTS: u32 = 3;
/// How long a read that needs the primary waits for one.
const ELECTION: Duration = Duration::from_secs(1);

/// What a read has to see.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The state of the call's position, if it has one.
    Position,
    /// The last state.
    Last,
    /// The last state; with no primary, whatever a replica has.
    LastKnown,
}

enum Place {
    Replica(Arc<Replica>, Lease),
    Primary(Arc<Primary>, Lease),
}

/// Runs a command that changes nothing.
pub(super) async fn read<C: Command>(
    shared: &Shared,
    query: &C,
    freshness: Freshness,
) -> Result<C::Reply> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        shared.open()?;
        let place = match place(shared, freshness).await {
            Ok(place) => place,
            // There is no primary, and nobody else will do.
            Err(sqlx::Error::PoolClosed) => return Err(unavailable()),
            Err(error) => {
                last = Some(error);
                continue;
            }
        };
        let (mut lease, primary, replica) = match place {
            Place::Primary(primary, lease) => (lease, Some(primary), None),
            Place::Replica(replica, lease) => (lease, None, Some(replica)),
        };
        shared.reads.count(primary.is_some());
        let mut tx = Tx {
            conn: &mut lease.connection,
            now: shared.clock.now_ms(),
            is_primary: primary.is_some(),
        };
        let outcome = timeout(MAX_READ, query.run(&mut tx)).await;
        let error = match outcome {
            Ok(Err(Fail::Sql(error))) => error,
            Ok(outcome) => {
                lease.give_back();
                return Ok(outcome?);
            }
            Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
        };
        if trouble(&error) != Trouble::Lost {
            return Err(database(error));
        }
        if let Some(primary) = primary {
            shared.primaries.suspect(&primary, ELECTION).await;
        } else if let Some(replica) = replica {
            replica.suspect(&error);
        }
        last = Some(error);
    }
    Err(last.map_or_else(unavailable, database))
}

/// The same; what a replica does not find is asked of the primary, because the replica may only
/// be behind and the caller's position may have been lost on the way.
pub(super) async fn find<C: Command>(shared: &Shared, query: &C) -> Result<C::Reply> {
    match read(shared, query, Freshness::Position).await {
        Err(problem) if problem.kind() == Kind::NotFound => {
            match read(shared, query, Freshness::LastKnown).await {
                Err(other) if other.kind() == Kind::Unavailable => Err(problem),
                answer => answer,
            }
        }
        answer => answer,
    }
}

async fn place(shared: &Shared, freshness: Freshness) -> sqlx::Result<Place> {
    let required = position::required();
    match (freshness, required) {
        (Freshness::Position, None) => {
            if let Some(replica) = shared.replicas.any() {
                return on_replica(replica).await;
            }
            last_known(shared).await
        }
        (Freshness::Position, Some(text)) => {
            // What cannot be compared only the primary is sure to have.
            if let Some(position) = Position::parse(&text) {
                let wanted = Wanted { text, position };
                if let Some((replica, lease)) = shared.replicas.with(&wanted).await {
                    return Ok(Place::Replica(replica, lease));
                }
            }
            on_primary(shared).await
        }
        (Freshness::Last, _) => on_primary(shared).await,
        (Freshness::LastKnown, _) => last_known(shared).await,
    }
}

async fn last_known(shared: &Shared) -> sqlx::Result<Place> {
    if shared.primaries.current().is_none()
        && let Some(replica) = shared.replicas.reachable()
    {
        return on_replica(replica).await;
    }
    on_primary(shared).await
}

async fn on_replica(replica: Arc<Replica>) -> sqlx::Result<Place> {
    match replica.pool.get(MAX_CONNECTION_WAIT).await {
        Ok(lease) => Ok(Place::Replica(replica, lease)),
        Err(error) => {
            if !matches!(error, sqlx::Error::PoolTimedOut) {
                replica.suspect(&error);
            }
            Err(error)
        }
    }
}

async fn on_primary(shared: &Shared) -> sqlx::Result<Place> {
    let Some(primary) = shared.primaries.elected(ELECTION).await else {
        return Err(sqlx::Error::PoolClosed);
    };
    match primary.reads.get(MAX_CONNECTION_WAIT).await {
        Ok(lease) => Ok(Place::Primary(primary, lease)),
        Err(error) => {
            if !matches!(error, sqlx::Error::PoolTimedOut) {
                shared.primaries.suspect(&primary, ELECTION).await;
            }
            Err(error)
        }
    }
}
