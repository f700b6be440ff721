//! How WebDAV says no: a problem like everywhere, or the element that RFC 4918 has for it.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use cloudstore_service::{Kind, Problem};

use super::{ALLOW, href::href, xml::escape};
use crate::engine;

/// Why a request was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// As everywhere.
    Problem(Problem),
    /// A precondition or postcondition with a name of its own (RFC 4918 section 16): its status is
    /// the kind's, its element has this name and, where it is about another address, names that.
    Condition(Kind, &'static str, Option<String>),
}

/// Result of a handler.
pub(super) type Result<T, E = Refusal> = std::result::Result<T, E>;

impl Refusal {
    /// What went wrong.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Problem(problem) => problem.kind(),
            Self::Condition(kind, ..) => *kind,
        }
    }

    /// Says it with another kind: the statuses of WebDAV depend on the method.
    pub(super) fn instead(self, from: Kind, to: Kind) -> Self {
        match self {
            Self::Problem(problem) if problem.kind() == from => {
                Self::Problem(Problem::new(to, problem.detail()))
            }
            other => other,
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        match problem.kind() {
            Kind::Locked => {
                let root = problem.extension("locked").and_then(|root| root.as_str());
                let root = root.map(|root| href(root, false));
                Self::Condition(Kind::Locked, "lock-token-submitted", root)
            }
            // RFC 4331 section 6.
            Kind::QuotaExceeded => Self::Condition(Kind::LimitReached, "quota-not-exceeded", None),
            _ => Self::Problem(problem),
        }
    }
}

impl From<tonic::Status> for Refusal {
    fn from(status: tonic::Status) -> Self {
        Problem::from(status).into()
    }
}

impl From<engine::Error> for Refusal {
    fn from(error: engine::Error) -> Self {
        Problem::from(error).into()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => {
                let kind = problem.kind();
                let mut response = problem.into_response();
                if kind == Kind::MethodNotAllowed {
                    response.headers_mut().insert(header::ALLOW, ALLOW);
                }
                response
            }
            Self::Condition(kind, element, address) => {
                let content = address.map_or_else(
                    || format!("<D:{element}/>"),
                    |address| {
                        format!(
                            "<D:{element}><D:href>{}</D:href></D:{element}>",
                            escape(&address)
                        )
                    },
                );
                let headers = [
                    (header::CONTENT_TYPE, super::XML),
                    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                ];
                let body = format!(
                    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
                    <D:error xmlns:D=\"DAV:\">{content}</D:error>"
                );
                (kind.status(), headers, body).into_response()
            }
        }
    }
}
