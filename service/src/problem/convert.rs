//! Problems out of what axum's extractors and body streams fail with.

use std::error::Error;

use axum::extract::{
    path::ErrorKind,
    rejection::{BytesRejection, FailedToBufferBody, PathRejection, QueryRejection},
};
use cloudstore_proto::path::InvalidPath;

use super::{Kind, Problem};
use crate::body::Stalled;

impl From<InvalidPath> for Problem {
    fn from(error: InvalidPath) -> Self {
        Self::new(Kind::InvalidPath, error.to_string())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Kind::MalformedRequest, rejection.body_text())
    }
}

/// An id in the path that is none names nothing. A name that is not UTF-8 names nothing that could
/// ever exist, which is worth saying.
impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        match rejection {
            PathRejection::FailedToDeserializePathParams(error) if matches!(error.kind(), ErrorKind::InvalidUtf8InPathParam { key } if key == "path") => {
                Self::new(Kind::InvalidPath, "the path is not UTF-8")
            }
            PathRejection::FailedToDeserializePathParams(_) => {
                Self::new(Kind::NotFound, "there is nothing under this address")
            }
            other => Self::internal(other),
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Self::new(Kind::TooLarge, "the body is larger than this call accepts")
            }
            other => from_body_error(other),
        }
    }
}

/// From the stream of a request body: stalled (408) or broken off (400).
impl From<axum::Error> for Problem {
    fn from(error: axum::Error) -> Self {
        from_body_error(error)
    }
}

fn from_body_error(error: impl Error + Send + Sync + 'static) -> Problem {
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(current) = next {
        if current.is::<Stalled>() {
            return Problem::new(Kind::RequestTimeout, "the request body stopped arriving");
        }
        if current.is::<http_body_util::LengthLimitError>() {
            return Problem::new(Kind::TooLarge, "the body is larger than this call accepts");
        }
        next = current.source();
    }
    Problem::new(Kind::MalformedRequest, "the request body broke off").caused_by(error)
}
