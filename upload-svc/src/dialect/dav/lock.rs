//! LOCK and UNLOCK (RFC 4918 sections 9.10 and 9.11).

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use cloudstore_proto::{
    dav::{Lock, LockRequest},
    file::{Precondition, precondition::Match},
};
use cloudstore_service::{Kind, Problem};

use super::{
    super::malformed,
    Call, Depth,
    condition::{self, parse_token, precondition, token_uri},
    live::active_lock,
    refusal::{Refusal, Result},
    xml::Element,
};

/// How long a lock lasts for a client that does not say: longer than it takes to come back after a
/// lost network.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The longest one; dbproxy takes no longer ones. Clients refresh the locks that they need.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);
/// The shortest one.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_TOKEN: header::HeaderName = header::HeaderName::from_static("lock-token");

/// Takes a lock, or refreshes one when there is no body. What is not there yet becomes an empty file.
pub(super) async fn lock(call: Call, body: Body) -> Result<Response> {
    let document = call.read(body).await?;
    if document.is_empty() {
        return refresh(call).await;
    }
    let depth = call.depth(Depth::Infinity, &[Depth::Zero, Depth::Infinity])?;
    let asked = parse(&document)?;
    call.states.require(&call.store, &call.path).await?;
    let there = call.store.find(&call.path).await?;
    condition::check(call.conditions.as_ref(), there.as_ref())?;
    let request = LockRequest {
        path: call.path.clone(),
        infinite: depth == Depth::Infinity,
        timeout_ms: timeout_ms(&call.headers),
        ..asked
    };
    let lock = call.store.lock(request).await.map_err(taken)?;
    let mut status = StatusCode::OK;
    if there.is_none() {
        status = StatusCode::CREATED;
        if let Err(refusal) = make(&call, &lock).await {
            // It ends by itself if this fails.
            let _ = call.store.unlock(lock.token, call.path).await;
            return Err(refusal);
        }
    }
    Ok(answer(status, &lock))
}

/// The empty file of a lock on nothing. Whatever somebody else has put there meanwhile stays.
async fn make(call: &Call, lock: &Lock) -> Result<()> {
    let mut tokens = call.states.tokens();
    tokens.push(lock.token.clone());
    let nothing = Precondition {
        if_none_match: Some(Match {
            any: true,
            ..Match::default()
        }),
        ..Precondition::default()
    };
    let made = call.make_empty(precondition(Some(nothing), tokens)).await;
    match made {
        Err(refusal) if refusal.kind() != Kind::PreconditionFailed => Err(refusal),
        _ => Ok(()),
    }
}

/// RFC 4918 section 9.10.2: the field `If` names the lock.
async fn refresh(call: Call) -> Result<Response> {
    if call.states.is_absent() {
        let detail = "a lock is refreshed with its token in the field If";
        return Err(malformed(detail).into());
    }
    let tokens = call.states.tokens();
    let [token] = &tokens[..] else {
        return Err(not_this(Kind::PreconditionFailed));
    };
    let (token, timeout) = (token.clone(), timeout_ms(&call.headers));
    match call.store.refresh_lock(token, call.path, timeout).await {
        Ok(lock) => Ok(answer(StatusCode::OK, &lock)),
        Err(problem) if problem.kind() == Kind::NotFound => Err(not_this(Kind::PreconditionFailed)),
        Err(problem) => Err(problem.into()),
    }
}

/// Gives a lock back.
pub(super) async fn unlock(call: Call) -> Result<Response> {
    let token = call.headers.get(LOCK_TOKEN);
    let token = token.and_then(|token| token.to_str().ok()).map(str::trim);
    let token = token.and_then(|token| token.strip_prefix('<')?.strip_suffix('>'));
    let token = token.ok_or_else(|| malformed("Lock-Token is no token in < and >"))?;
    // RFC 4918 section 9.11.1: 409 for a token that is not of a lock here.
    let Some(token) = parse_token(token) else {
        return Err(not_this(Kind::LeaseLost));
    };
    match call.store.unlock(token, call.path).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(problem) if problem.kind() == Kind::NotFound => Err(not_this(Kind::LeaseLost)),
        Err(problem) => Err(problem.into()),
    }
}

fn not_this(kind: Kind) -> Refusal {
    Refusal::Condition(kind, "lock-token-matches-request-uri", None)
}

/// A lock that excludes the new one.
fn taken(problem: Problem) -> Refusal {
    match Refusal::from(problem) {
        Refusal::Condition(Kind::Locked, _, root) => {
            Refusal::Condition(Kind::Locked, "no-conflicting-lock", root)
        }
        other => other,
    }
}

/// What is asked of a lock (RFC 4918 section 14.11).
fn parse(document: &[u8]) -> Result<LockRequest> {
    let root = Element::parse(document)?;
    if !root.name.is_dav("lockinfo") {
        return Err(malformed("the document is no lockinfo").into());
    }
    let scope = root.child("lockscope");
    let scope = scope.and_then(|scope| {
        let shared = scope.child("shared").is_some();
        (shared || scope.child("exclusive").is_some()).then_some(shared)
    });
    let is_write = root
        .child("locktype")
        .is_some_and(|kind| kind.child("write").is_some());
    match scope {
        Some(shared) if is_write => Ok(LockRequest {
            shared,
            owner_xml: root.child("owner").map(Element::to_xml).unwrap_or_default(),
            ..LockRequest::default()
        }),
        _ => Err(malformed("only shared and exclusive write locks exist").into()),
    }
}

/// The first time in the field `Timeout` that makes sense (RFC 4918 section 10.7), within bounds.
fn timeout_ms(headers: &HeaderMap) -> i64 {
    let told = headers.get("timeout").and_then(|value| value.to_str().ok());
    let mut told = told.into_iter().flat_map(|text| text.split(','));
    let asked = told.find_map(|time| match time.trim() {
        "Infinite" => Some(MAX_TIMEOUT),
        time => {
            let seconds = time.strip_prefix("Second-")?.parse().ok()?;
            Some(Duration::from_secs(seconds))
        }
    });
    let timeout = asked.unwrap_or(DEFAULT_TIMEOUT);
    let timeout = timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT);
    i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)
}

fn answer(status: StatusCode, lock: &Lock) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:prop xmlns:D=\"DAV:\">\
        <D:lockdiscovery>{}</D:lockdiscovery></D:prop>",
        active_lock(lock)
    );
    let token = HeaderValue::try_from(format!("<{}>", token_uri(&lock.token)));
    let headers = [
        (header::CONTENT_TYPE, super::XML),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (LOCK_TOKEN, token.expect("a UUID is ASCII")),
    ];
    (status, headers, Bytes::from(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_bounded() {
        for (field, seconds) in [
            (None, 600),
            (Some("Second-30"), 30),
            (Some("Infinite, Second-4100000000"), 3_600),
            (Some("Second-4100000000"), 3_600),
            (Some("Extend, Second-5"), 5),
            (Some("Second-0"), 1),
            (Some("soon"), 600),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(field) = field {
                headers.insert("timeout", HeaderValue::from_static(field));
            }
            assert_eq!(timeout_ms(&headers), seconds * 1_000, "{field:?}");
        }
    }

    #[test]
    fn what_a_lock_can_be() {
        let info = |scope: &str, kind: &str| {
            let document = format!(
                "<lockinfo xmlns=\"DAV:\"><lockscope><{scope}/></lockscope>\
                <locktype><{kind}/></locktype><owner><href>me</href></owner></lockinfo>"
            );
            parse(document.as_bytes()).map(|asked| (asked.shared, asked.owner_xml))
        };
        let owner = "<owner xmlns=\"DAV:\"><href>me</href></owner>".to_owned();
        assert_eq!(info("exclusive", "write").unwrap(), (false, owner.clone()));
        assert_eq!(info("shared", "write").unwrap(), (true, owner));
        assert!(info("exclusive", "read").is_err());
        assert!(info("mine", "write").is_err());
    }
}
