//! Engine errors as problems: the only place where the engine's words meet the status table.

use cloudstore_service::{Kind, Problem};

use crate::engine::Error;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let kind = match error {
            Error::Metadata(problem) => return problem,
            Error::Body(body) => return from_body(body.0),
            Error::Io(cause) => {
                return Self::new(Kind::Internal, "the server's disk failed").caused_by(cause);
            }
            Error::Incomplete(missing) => {
                return Self::new(Kind::Incomplete, detail).with("missing", missing);
            }
            Error::OffsetMismatch { expected, provided } => {
                let offsets = Self::new(Kind::OffsetMismatch, detail);
                let offsets = offsets.with("expected-offset", expected);
                return offsets.with("provided-offset", provided);
            }
            Error::Busy => return Self::new(Kind::Busy, detail).retry_after(1),
            Error::OtherNode(_) => Kind::Unavailable,
            Error::NotFound => Kind::NotFound,
            Error::Gone => Kind::UploadGone,
            Error::ChunkRange { .. } => Kind::MalformedRequest,
            Error::Checksum(_) => Kind::MalformedRequest,
            Error::ChecksumMismatch => Kind::ChecksumMismatch,
            Error::LengthUnknown => Kind::LengthUnknown,
            Error::Part | Error::NoPart => Kind::Forbidden,
            Error::Length { .. } | Error::LengthConflict { .. } => Kind::WrongLength,
            Error::DigestMismatch(_) => Kind::DigestMismatch,
            Error::ChunkConflict => Kind::ChunkConflict,
            Error::Preempted => Kind::Preempted,
            Error::ProofFailed => Kind::ProofFailed,
            Error::TooLarge(_) => Kind::TooLarge,
            Error::Quota(_) => Kind::QuotaExceeded,
            Error::TooManyGrowing(_) => Kind::TooManyUploads,
            Error::NoSpace => Kind::InsufficientStorage,
        };
        Self::new(kind, detail)
    }
}

fn from_body(error: Box<dyn std::error::Error + Send + Sync>) -> Problem {
    match error.downcast::<axum::Error>() {
        Ok(error) => Problem::from(*error),
        Err(error) => Problem::new(Kind::MalformedRequest, "the body broke off").caused_by(error),
    }
}
