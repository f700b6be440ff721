//! What can go wrong with an upload, in the engine's own words.

use std::io;

use cloudstore_service::{Kind, Problem};

use super::{body::BodyError, session::Conflict};

/// Why an engine call failed. Nothing acknowledged before is lost by any of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such upload, or somebody else's.
    #[error("there is no such upload")]
    NotFound,
    /// It was cancelled or expired.
    #[error("the upload was cancelled or has expired")]
    Gone,
    /// Its bytes are on another node.
    #[error("the upload lives on node {0}")]
    OtherNode(String),
    /// Chunks are missing: first and last index of each run.
    #[error("not every chunk has been received")]
    Incomplete(Vec<[u64; 2]>),
    /// The bytes belong elsewhere than where the upload goes on.
    #[error("the upload goes on at byte {expected}, not at {provided}")]
    OffsetMismatch {
        /// Where it goes on.
        expected: u64,
        /// What the request said.
        provided: u64,
    },
    /// The bytes of a request do not have its checksum.
    #[error("the bytes do not have the checksum that came with them: none of them counts")]
    ChecksumMismatch,
    /// A checksum was announced and did not come, or cannot be understood.
    #[error("{0}")]
    Checksum(&'static str),
    /// Another length is known, or more has been received.
    #[error("the upload has {known} bytes, so its length cannot be {told}")]
    LengthConflict {
        /// The length, or what was received.
        known: u64,
        /// What the request said.
        told: u64,
    },
    /// Nobody has said how long the upload is.
    #[error("nobody has said how long the upload is")]
    LengthUnknown,
    /// It is meant to be put together with others.
    #[error("this upload is a part of others and no file itself")]
    Part,
    /// Only parts can be put together.
    #[error("this upload is no part that could be put together with others")]
    NoPart,
    /// There is no chunk with this index.
    #[error("chunk {index} does not exist, the upload has {count}")]
    ChunkRange {
        /// Asked for.
        index: u64,
        /// Number of chunks.
        count: u64,
    },
    /// A body of the wrong length.
    #[error("expected {expected} bytes{}", .found.map_or(" and got more".into(), |found| format!(", got {found}")))]
    Length {
        /// Bytes the body must have.
        expected: u64,
        /// Bytes it has; `None`: more than expected.
        found: Option<u64>,
    },
    /// The bytes do not have a declared digest.
    #[error("the content does not match the declared {0}: nothing of it counts as complete")]
    DigestMismatch(&'static str),
    /// Other bytes were acknowledged for this chunk.
    #[error("this chunk was received before, with other content")]
    ChunkConflict,
    /// A newer request took the stalled chunk over.
    #[error("another request took this chunk over because this one had stalled")]
    Preempted,
    /// Another request is writing and makes progress.
    #[error("another request is writing here")]
    Busy,
    /// The proof was wrong, late, or there was nothing to prove.
    #[error("possession of the content was not proven; upload it normally under the same id")]
    ProofFailed,
    /// Longer than this server accepts.
    #[error("files may have at most {0} bytes here")]
    TooLarge(u64),
    /// The account's quota has no room.
    #[error("the quota has no room for {0} bytes")]
    Quota(u64),
    /// Too many bodies of unknown length at a time.
    #[error("at most {0} uploads of unknown length at a time; send Content-Length")]
    TooManyGrowing(usize),
    /// The disk is full.
    #[error("the server's disk is full")]
    NoSpace,
    /// The body broke off.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// dbproxy refused or could not be asked.
    #[error("{}", .0.detail())]
    Metadata(Problem),
    /// The disk failed.
    #[error("staging: {0}")]
    Io(#[source] io::Error),
}

impl Error {
    /// The upload that was asked for is not there, or not any more.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::NotFound | Self::Gone => true,
            Self::Metadata(problem) => [Kind::NotFound, Kind::UploadGone].contains(&problem.kind()),
            _ => false,
        }
    }

    /// A refusal that dbproxy names by its slug.
    pub(crate) fn refused(slug: &str, detail: String) -> Self {
        Self::Metadata(Problem::new(
            Kind::from_slug(slug).unwrap_or(Kind::Internal),
            detail,
        ))
    }
}

fn is_conflict(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<Conflict>())
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if is_conflict(&error) => Self::ChunkConflict,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Metadata(status.into())
    }
}
