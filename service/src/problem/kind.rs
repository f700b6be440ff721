//! The one table that says what each error is called and how it looks over HTTP and gRPC.

use http::StatusCode;
use tonic::Code;

/// A status by its name, or by its number where the registry has no name for it.
macro_rules! status {
    ($number:literal) => {
        match StatusCode::from_u16($number) {
            Ok(status) => status,
            Err(_) => panic!("not a status"),
        }
    };
    ($name:ident) => {
        StatusCode::$name
    };
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $slug:literal $title:literal $http:tt $grpc:ident;)*) => {
        /// What went wrong, as clients can tell it apart. The slug is part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            const fn row(self) -> (&'static str, &'static str, StatusCode, Code) {
                match self {
                    $(Self::$variant => ($slug, $title, status!($http), Code::$grpc),)*
                }
            }
        }
    };
}

kinds! {
    /// Syntax: JSON, ids in bodies, query strings, headers.
    MalformedRequest "malformed-request" "The request cannot be understood" BAD_REQUEST InvalidArgument;
    /// The body has another length than was announced or agreed.
    WrongLength "wrong-length" "The body has the wrong length" BAD_REQUEST InvalidArgument;
    /// No credentials, or none that are valid.
    Unauthenticated "unauthenticated" "Authentication is required" UNAUTHORIZED Unauthenticated;
    /// The access token was good and is too old: refresh it.
    TokenExpired "token-expired" "The access token has expired" UNAUTHORIZED Unauthenticated;
    /// Known who it is, and not allowed.
    Forbidden "forbidden" "This is not allowed" FORBIDDEN PermissionDenied;
    /// Known who it is, with a token that is not for this.
    InsufficientScope "insufficient-scope" "The token is not for this" FORBIDDEN PermissionDenied;
    /// The proof of possession is wrong, late or was used: upload normally.
    ProofFailed "proof-failed" "The proof of possession failed" FORBIDDEN PermissionDenied;
    /// A share is shown only to those who know its password.
    PasswordRequired "password-required" "A password is required" FORBIDDEN PermissionDenied;
    /// Not there, or not the caller's: deliberately the same.
    NotFound "not-found" "There is no such thing" NOT_FOUND NotFound;
    /// The resource exists and does not know the method.
    MethodNotAllowed "method-not-allowed" "The method is not allowed here" METHOD_NOT_ALLOWED Unimplemented;
    /// The body stopped arriving.
    RequestTimeout "request-timeout" "The request took too long to arrive" REQUEST_TIMEOUT Aborted;
    /// Another entry has the path.
    NameConflict "name-conflict" "The name is taken by another entry" CONFLICT AlreadyExists;
    /// Another account has the username.
    NameTaken "name-taken" "The username is taken" CONFLICT AlreadyExists;
    /// The upload has missing parts.
    Incomplete "incomplete" "The upload is incomplete" CONFLICT FailedPrecondition;
    /// The bytes of a request belong elsewhere than where the upload goes on.
    OffsetMismatch "offset-mismatch" "The upload goes on at another offset" CONFLICT FailedPrecondition;
    /// Chunks need to know how long the upload is, and so does completion.
    LengthUnknown "length-unknown" "The length of the upload is not known yet" CONFLICT FailedPrecondition;
    /// A chunk came again with other bytes.
    ChunkConflict "chunk-conflict" "The chunk was received with other content" CONFLICT Aborted;
    /// Somebody else is at it; try again.
    Busy "busy" "The resource is in use" CONFLICT Aborted;
    /// A newer request took over.
    Preempted "preempted" "A newer request took over" CONFLICT Aborted;
    /// A file where a folder is needed.
    NotAFolder "not-a-folder" "This is not a folder" CONFLICT FailedPrecondition;
    /// A folder where a file is needed.
    IsAFolder "is-a-folder" "This is a folder" CONFLICT FailedPrecondition;
    /// The content is not held any more: send it.
    BlobMissing "blob-missing" "The content is not available" CONFLICT FailedPrecondition;
    /// Another worker holds the lease now.
    LeaseLost "lease-lost" "The lease is lost" CONFLICT Aborted;
    /// What was received is lost with its node: start again.
    UploadLost "upload-lost" "The upload is lost" GONE NotFound;
    /// Cancelled, completed or expired.
    UploadGone "upload-gone" "The upload is gone" GONE NotFound;
    /// As many downloads of the share have begun as its owner allowed.
    ShareExhausted "share-exhausted" "The share has no downloads left" GONE ResourceExhausted;
    /// `If-Match` and its relatives.
    PreconditionFailed "precondition-failed" "A precondition failed" PRECONDITION_FAILED FailedPrecondition;
    /// A version of a protocol that is not spoken here.
    UnsupportedVersion "unsupported-version" "The version of the protocol is not supported" PRECONDITION_FAILED FailedPrecondition;
    /// A lock of WebDAV is in the way; `locked` names its path.
    Locked "locked" "The resource is locked" LOCKED FailedPrecondition;
    /// Larger than this server takes.
    TooLarge "too-large" "The content is too large" PAYLOAD_TOO_LARGE OutOfRange;
    /// Larger than the account has room for.
    QuotaExceeded "quota-exceeded" "The quota is exceeded" PAYLOAD_TOO_LARGE ResourceExhausted;
    /// Content-Type or Content-Encoding.
    UnsupportedMediaType "unsupported-media-type" "The media type is not supported" UNSUPPORTED_MEDIA_TYPE InvalidArgument;
    /// No byte of the range exists.
    RangeNotSatisfiable "range-not-satisfiable" "The range cannot be satisfied" RANGE_NOT_SATISFIABLE OutOfRange;
    /// Well-formed and wrong; `errors` names the fields.
    InvalidFields "invalid-fields" "Some fields are invalid" UNPROCESSABLE_ENTITY InvalidArgument;
    /// A path no entry can have.
    InvalidPath "invalid-path" "The path is invalid" UNPROCESSABLE_ENTITY InvalidArgument;
    /// The content does not have the digest that was declared.
    DigestMismatch "digest-mismatch" "The digest does not match" UNPROCESSABLE_ENTITY InvalidArgument;
    /// The bytes of a request do not have the checksum that came with them: nothing of them counts.
    /// tus 1.0, extension checksum, chose a number that no registry knows.
    ChecksumMismatch "checksum-mismatch" "The checksum does not match" 460 InvalidArgument;
    /// The account has as many unfinished uploads as it may have.
    TooManyUploads "too-many-uploads" "Too many unfinished uploads" TOO_MANY_REQUESTS ResourceExhausted;
    /// The account has as many API tokens as it may have.
    TooManyTokens "too-many-tokens" "Too many tokens" TOO_MANY_REQUESTS ResourceExhausted;
    /// As many of these as an account or an entry may have, or more than one call does.
    LimitReached "limit-reached" "A limit is reached" INSUFFICIENT_STORAGE ResourceExhausted;
    /// Too often.
    RateLimited "rate-limited" "Too many requests" TOO_MANY_REQUESTS ResourceExhausted;
    /// A defect or a failure on our side.
    Internal "internal" "Internal error" INTERNAL_SERVER_ERROR Internal;
    /// Something this service needs does not answer.
    Unavailable "unavailable" "The service is unavailable" SERVICE_UNAVAILABLE Unavailable;
    /// More work than this service takes on at once.
    Overloaded "overloaded" "The service is overloaded" SERVICE_UNAVAILABLE Unavailable;
    /// The content is being deleted; it can be sent again in a moment.
    BlobDeleting "blob-deleting" "The content is being deleted" SERVICE_UNAVAILABLE Aborted;
    /// The staging disk is full.
    InsufficientStorage "insufficient-storage" "The server is out of storage" INSUFFICIENT_STORAGE ResourceExhausted;
}

impl Kind {
    /// Stable name: `type` is `/problems/<slug>`.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        self.row().0
    }

    /// The same sentence for every occurrence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().1
    }

    /// HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().2
    }

    /// gRPC code.
    #[must_use]
    pub const fn code(self) -> Code {
        self.row().3
    }

    /// The kind with this slug.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.slug() == slug)
    }

    /// The kind for a status that does not say its slug. The caller sent what it sent because of
    /// our own code, so codes that blame the caller of the RPC are internal errors here.
    #[must_use]
    pub const fn from_code(code: Code) -> Self {
        match code {
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::NameConflict,
            Code::PermissionDenied => Self::Forbidden,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::Aborted => Self::Busy,
            Code::FailedPrecondition => Self::PreconditionFailed,
            Code::ResourceExhausted => Self::Overloaded,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Unavailable,
            _ => Self::Internal,
        }
    }

    /// Seconds after which another try is worth it, for kinds that always say so.
    #[must_use]
    pub const fn retry_after(self) -> Option<u32> {
        match self {
            Self::Unavailable | Self::Overloaded | Self::BlobDeleting => Some(2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slugs_are_unique_kebab_case_and_found_again() {
        let mut seen = HashSet::new();
        for &kind in Kind::ALL {
            assert!(seen.insert(kind.slug()));
            assert!(
                kind.slug()
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '-')
            );
            assert_eq!(Kind::from_slug(kind.slug()), Some(kind));
            assert!(kind.status().is_client_error() || kind.status().is_server_error());
            assert_ne!(kind.code(), Code::Ok);
        }
    }
}
