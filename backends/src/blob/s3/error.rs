//! What the answers of stores mean.

use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::blob::Error;

pub(super) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unavailable(cause.into())
}

/// Sorts the answers of stores by what callers can do about them.
pub(super) fn error<E>(failed: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match (status(&failed), code(&failed)) {
        (_, Some("NoSuchBucket" | "NoSuchUpload")) => {}
        // HEAD has no body and therefore no code.
        (Some(404), _) => return Error::NotFound,
        (Some(416), _) => return Error::Range,
        (Some(507), _) | (_, Some("XMinioStorageFull" | "QuotaExceeded")) => return Error::Full,
        _ => {}
    }
    unavailable(DisplayErrorContext(failed).to_string())
}

/// The HTTP status, if there was an answer.
fn status<E>(failed: &SdkError<E>) -> Option<u16> {
    let response = failed.raw_response()?;
    Some(response.status().as_u16())
}

/// The S3 error code, if there was one.
fn code<E: ProvideErrorMetadata>(failed: &SdkError<E>) -> Option<&str> {
    failed.as_service_error()?.code()
}

/// The store does not have the operation, or does not let us use it.
pub(super) fn is_unsupported<E: ProvideErrorMetadata>(failed: &SdkError<E>) -> bool {
    matches!(status(failed), Some(403 | 405 | 501))
}

/// There is no such unfinished upload (any more).
pub(super) fn is_gone<E: ProvideErrorMetadata>(failed: &SdkError<E>) -> bool {
    code(failed) == Some("NoSuchUpload")
}

/// The request as such was refused: it would be refused again.
pub(super) fn is_refused<E: ProvideErrorMetadata>(failed: &SdkError<E>) -> bool {
    matches!(status(failed), Some(400 | 501))
}

/// What arrived was not what had been sent.
pub(super) fn is_damaged<E: ProvideErrorMetadata>(failed: &SdkError<E>) -> bool {
    matches!(
        code(failed),
        Some(
            "BadDigest"
                | "InvalidDigest"
                | "XAmzContentChecksumMismatch"
                | "XAmzContentSHA256Mismatch"
        )
    )
}
