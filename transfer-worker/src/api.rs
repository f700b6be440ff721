//! For operators: transfers that wait, run or are parked.

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use bytes::Bytes;
use cloudstore_proto::{
    convert,
    http::admin::{Park, Parked, Replay, Replayed, Transfer, TransferState, Transfers},
    transfer,
};
use cloudstore_service::{
    Kind, Problem, Result,
    json::{Json, invalid_fields},
    query::Query,
    rpc::Channel,
    trust::{self, Trusted},
};
use serde::Deserialize;

use crate::ledger::Ledger;

/// Audience of the tokens.
const AUDIENCE: &str = "transfer-worker";
/// Who may call.
const CALLERS: &[&str] = &["admin"];
/// Transfers of one answer or one call, as dbproxy has it.
const MAX_TRANSFERS: usize = 1_000;
/// Bytes of a reason, which is stored beside each transfer.
const MAX_REASON_BYTES: usize = 1_000;

/// The routes of operators, for callers that show a token of the service `admin`.
pub fn router(channel: Channel, trusted: Trusted) -> Router {
    Router::new()
        .route("/internal/v1/transfers", get(list))
        .route("/internal/v1/transfers/replay", post(replay))
        .route("/internal/v1/transfers/park", post(park))
        .layer(trust::require(trusted, AUDIENCE, CALLERS))
        .with_state(Ledger::new(channel))
}

/// Which transfers are wanted. Anything else in the query string is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<TransferState>,
    limit: Option<usize>,
}

async fn list(
    State(ledger): State<Ledger>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Transfers>> {
    let limit = query.limit.unwrap_or(MAX_TRANSFERS);
    if !(1..=MAX_TRANSFERS).contains(&limit) {
        let detail = format!("limit must be between 1 and {MAX_TRANSFERS}");
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    let state = match query.state {
        None => transfer::TransferState::Unspecified,
        Some(TransferState::Waiting) => transfer::TransferState::Waiting,
        Some(TransferState::Claimed) => transfer::TransferState::Claimed,
        Some(TransferState::Parked) => transfer::TransferState::Parked,
    };
    let limit = u32::try_from(limit).map_err(Problem::internal)?;
    let transfers = ledger.list(state, limit).await?;
    Ok(Json(Transfers {
        transfers: transfers.into_iter().map(shown).collect(),
    }))
}

async fn replay(
    State(ledger): State<Ledger>,
    Json(replay): Json<Replay>,
) -> Result<Json<Replayed>> {
    let blobs = digests(&replay.blake3)?;
    let replayed = ledger.replay(blobs).await?;
    tracing::info!(replayed, "parked transfers replayed by an operator");
    Ok(Json(Replayed { replayed }))
}

async fn park(State(ledger): State<Ledger>, Json(park): Json<Park>) -> Result<Json<Parked>> {
    let blobs = digests(&park.blake3)?;
    if blobs.is_empty() {
        return Err(invalid_fields([("blake3", "must name at least one blob")]));
    }
    if park.reason.len() > MAX_REASON_BYTES {
        let message = format!("must not be longer than {MAX_REASON_BYTES} bytes");
        return Err(invalid_fields([("reason", message)]));
    }
    let parked = ledger.park(blobs, park.reason).await?;
    tracing::info!(parked, "transfers parked by an operator");
    Ok(Json(Parked { parked }))
}

fn digests(texts: &[String]) -> Result<Vec<Bytes>> {
    if texts.len() > MAX_TRANSFERS {
        let message = format!("must not name more than {MAX_TRANSFERS} blobs");
        return Err(invalid_fields([("blake3", message)]));
    }
    let digests = texts.iter().enumerate().map(|(index, text)| {
        let mut digest = [0; 32];
        match hex::decode_to_slice(text, &mut digest) {
            Ok(()) => Ok(Bytes::copy_from_slice(&digest)),
            Err(_) => {
                let field = format!("blake3[{index}]");
                Err(invalid_fields([(field, "must be 64 hexadecimal digits")]))
            }
        }
    });
    digests.collect()
}

fn shown(transfer: transfer::Transfer) -> Transfer {
    let state = match transfer.state() {
        transfer::TransferState::Claimed => TransferState::Claimed,
        transfer::TransferState::Parked => TransferState::Parked,
        transfer::TransferState::Waiting | transfer::TransferState::Unspecified => {
            TransferState::Waiting
        }
    };
    let blob = transfer.blob.unwrap_or_default();
    Transfer {
        blake3: hex::encode(&blob.blake3),
        size: convert::unsigned(blob.size),
        node: blob.node,
        staging_id: convert::id(&blob.staging_id),
        state,
        attempts: transfer.attempts,
        last_error: transfer.last_error,
        created_at: convert::rfc3339(transfer.created_at_ms),
        due_at: convert::rfc3339(transfer.due_at_ms),
    }
}
