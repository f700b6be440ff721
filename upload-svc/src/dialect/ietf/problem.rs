//! Refusals with the problem types of the draft.

use ::http::{HeaderValue, StatusCode};
use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use cloudstore_service::{Kind, Problem, http::request_id};

use super::{UPLOAD_OFFSET, version::Version};
use crate::engine::Error;

/// Where the draft registers its problem types.
const TYPES: &str = "https://iana.org/assignments/http-problem-types#";
const OFFSET: (&str, &str) = (
    "mismatching-upload-offset",
    "Offset from request does not match offset of resource",
);
const LENGTH: (&str, &str) = (
    "inconsistent-upload-length",
    "Inconsistent length values for upload",
);
const COMPLETED: (&str, &str) = ("completed-upload", "Upload is already completed");

/// An engine error as this dialect tells it.
pub(super) fn of(error: Error) -> Problem {
    match error {
        // The number that other dialects have for it belongs to tus.
        error @ Error::ChecksumMismatch => Problem::new(Kind::DigestMismatch, error.to_string()),
        error => error.into(),
    }
}

/// The lengths that were told do not fit together.
pub(super) fn inconsistent(detail: &str) -> Problem {
    Problem::new(Kind::WrongLength, detail)
}

/// An answer that is not that of the target: the upload goes on, if it is still there.
pub(super) fn answer(version: Version, problem: Problem) -> Response {
    let problem = match problem.kind() {
        Kind::UploadGone if version.rules.only_404 => {
            Problem::new(Kind::NotFound, problem.detail())
        }
        _ => problem,
    };
    let mut response = match problem.kind() {
        Kind::OffsetMismatch => {
            let expected = problem.extension("expected-offset");
            let expected = expected.and_then(serde_json::Value::as_u64);
            let mut response = typed(problem, OFFSET);
            if let Some(expected) = expected {
                response
                    .headers_mut()
                    .insert(UPLOAD_OFFSET, expected.into());
            }
            response
        }
        Kind::WrongLength => typed(problem, LENGTH),
        _ => problem.into_response(),
    };
    version.tell_complete(response.headers_mut(), false);
    response
}

/// Nothing can be appended any more (draft-ietf-httpbis-resumable-upload-04 to -11).
pub(super) fn completed(version: Version) -> Response {
    let problem = Problem::new(Kind::MalformedRequest, "nothing can be appended any more");
    let mut response = typed(problem, COMPLETED);
    version.tell_complete(response.headers_mut(), false);
    response
}

fn typed(problem: Problem, (name, title): (&str, &str)) -> Response {
    let mut body = problem.to_body(&request_id());
    body.kind = format!("{TYPES}{name}");
    title.clone_into(&mut body.title);
    let mut response = problem.into_response();
    if let Ok(json) = serde_json::to_vec(&body) {
        *response.body_mut() = Body::from(json);
    }
    response
}

/// For answers to whoever sent too much: what fits.
pub(super) fn with_limit(mut response: Response, limit: Option<HeaderValue>) -> Response {
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE
        && let Some(limit) = limit
    {
        response.headers_mut().insert(super::UPLOAD_LIMIT, limit);
    }
    response
}
