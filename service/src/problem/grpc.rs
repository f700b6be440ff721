//! A problem as a gRPC status and back. The slug travels as text metadata, extension members and
//! the retry delay as JSON in binary metadata, the detail as the status message.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tonic::{
    Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::{Kind, Problem};

const SLUG: &str = "x-problem";
const FACTS: &str = "x-problem-facts-bin";
/// gRPC trailers share a header list of 16 KiB with everything else; larger facts are dropped.
const MAX_FACTS: usize = 8 * 1024;
/// Longest detail in bytes, for the same reason (three bytes for one when percent-encoded).
const MAX_DETAIL: usize = 1024;

#[derive(Default, Serialize, Deserialize)]
struct Facts {
    #[serde(default)]
    extensions: Map<String, Value>,
    #[serde(default)]
    retry_after: Option<u32>,
}

impl From<Problem> for Status {
    fn from(mut problem: Problem) -> Self {
        problem.log_cause();
        let kind = problem.kind();
        let mut inner = problem.0;
        let mut metadata = MetadataMap::new();
        metadata.insert(SLUG, MetadataValue::from_static(kind.slug()));
        let facts = Facts {
            extensions: std::mem::take(&mut inner.extensions),
            retry_after: inner.retry_after,
        };
        let facts = serde_json::to_vec(&facts).unwrap_or_default();
        if facts.len() <= MAX_FACTS {
            metadata.insert_bin(FACTS, MetadataValue::from_bytes(&facts));
        }
        let end = inner.detail.floor_char_boundary(MAX_DETAIL);
        inner.detail.truncate(end);
        Self::with_metadata(kind.code(), inner.detail, metadata)
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let slug = status
            .metadata()
            .get(SLUG)
            .and_then(|slug| slug.to_str().ok());
        let Some(kind) = slug.and_then(Kind::from_slug) else {
            return untagged(status);
        };
        let facts: Facts = status
            .metadata()
            .get_bin(FACTS)
            .and_then(|facts| facts.to_bytes().ok())
            .and_then(|facts| serde_json::from_slice(&facts).ok())
            .unwrap_or_default();
        let mut problem = Self::new(kind, status.message());
        problem.0.extensions = facts.extensions;
        problem.0.retry_after = facts.retry_after.or(problem.0.retry_after);
        problem
    }
}

/// A status that the transport made, not one of our services: its message is for the log only.
fn untagged(status: Status) -> Problem {
    let kind = Kind::from_code(status.code());
    let detail = match kind {
        Kind::Internal => "something went wrong on the server",
        Kind::Unavailable => "a part of the service does not answer at the moment",
        other => other.title(),
    };
    Problem::new(kind, detail).caused_by(status)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn every_kind_survives_the_round_trip() {
        for &kind in Kind::ALL {
            let status = Status::from(
                Problem::new(kind, "größer als 5")
                    .with("errors", [1, 2])
                    .retry_after(9),
            );
            assert_eq!(status.code(), kind.code());
            let back = Problem::from(status);
            assert_eq!(back.kind(), kind);
            assert_eq!(back.detail(), "größer als 5");
            assert_eq!(back.extension("errors"), Some(&serde_json::json!([1, 2])));
            assert_eq!(back.0.retry_after, Some(9));
        }
    }

    #[test]
    fn transport_failures_are_unavailable_and_keep_their_message_private() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled] {
            let problem = Problem::from(Status::new(code, "connect to 10.0.0.7 failed"));
            assert_eq!(problem.kind(), Kind::Unavailable);
            assert!(!problem.detail().contains("10.0.0.7"));
            assert!(problem.0.retry_after.is_some());
        }
        assert_eq!(Problem::from(Status::unknown("x")).kind(), Kind::Internal);
        assert_eq!(Problem::from(Status::not_found("x")).kind(), Kind::NotFound);
    }

    #[test]
    fn oversized_facts_do_not_break_the_status() {
        let status = Status::from(
            Problem::new(Kind::Incomplete, "ä".repeat(2_000)).with("missing", vec![1; 10_000]),
        );
        let back = Problem::from(status);
        assert_eq!(back.kind(), Kind::Incomplete);
        assert_eq!(back.detail().len(), MAX_DETAIL);
        assert_eq!(back.extension("missing"), None);
    }
}
