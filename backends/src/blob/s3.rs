//! Blobs in S3-compatible object storage.
//!
//! Parts are sent from memory with their SHA-256 in the signature, so that a store refuses what
//! was damaged on its way, whatever checksum headers it knows.

use std::{cmp::max, fs::File, io, ops::Range, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    presigning::PresigningConfig,
    primitives::ByteStream as SdkStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use url::Url;

use super::{BlobStore, ByteStream, Error, Key, Source, Stat};

mod config;
mod parts;

pub use config::{Checksums, DEFAULT_PART_BYTES, MIN_PART_BYTES, S3Config};

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_PARTS: u64 = 10_000;
/// Parts of one object on their way at a time.
const PARTS_IN_FLIGHT: u64 = 4;
/// What the parts of one object may take in memory, as long as [`MAX_PARTS`] allows it.
const PARTS_IN_MEMORY: u64 = PARTS_IN_FLIGHT * DEFAULT_PART_BYTES;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one attempt, until the answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// The same for putting parts together, which takes S3 up to some minutes.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Slower than this an attempt to send content is given up. The limit only has to end connections
/// that trickle: those that stand still are cut much earlier.
const MIN_BYTES_PER_SECOND: u64 = 128 << 10;
/// How long a transfer may stand still.
const STALL_GRACE: Duration = Duration::from_secs(20);
/// The first one included; in between the SDK waits up to some seconds.
const ATTEMPTS: u32 = 4;
/// How long a readiness check may take.
const CHECK_BUDGET: Duration = Duration::from_secs(5);
/// The longest life that S3 gives to a presigned URL.
const MAX_PRESIGN: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A blob store in one bucket.
#[derive(Clone, Debug)]
pub struct S3BlobStore {
    client: Client,
    bucket: String,
    part_bytes: u64,
}

impl S3BlobStore {
    /// Connects to nothing yet; [`check`](BlobStore::check) does.
    #[must_use]
    pub fn new(config: S3Config) -> Self {
        let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls)
            .build_https();
        let (request, response) = match config.checksums {
            Checksums::WhenRequired => (
                RequestChecksumCalculation::WhenRequired,
                ResponseChecksumValidation::WhenRequired,
            ),
            Checksums::WhenSupported => (
                RequestChecksumCalculation::WhenSupported,
                ResponseChecksumValidation::WhenSupported,
            ),
        };
        let stalls = StalledStreamProtectionConfig::enabled()
            .upload_enabled(true)
            .grace_period(STALL_GRACE);
        let credentials = Credentials::new(
            config.access_key,
            config.secret_key,
            None,
            None,
            "cloudstore",
        );
        let mut sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .credentials_provider(credentials)
            .region(Region::new(config.region))
            .force_path_style(config.path_style)
            .request_checksum_calculation(request)
            .response_checksum_validation(response)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .stalled_stream_protection(stalls.build())
            .timeout_config(timeouts(ANSWER_TIMEOUT));
        sdk.set_endpoint_url(config.endpoint);
        Self {
            client: Client::from_conf(sdk.build()),
            bucket: config.bucket,
            part_bytes: max(config.part_bytes, MIN_PART_BYTES),
        }
    }

    /// Sends an object in one request.
    async fn put_whole(&self, key: &Key, content: Bytes) -> Result<(), Error> {
        let patience = patience(sending_timeout(content.len()));
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key.as_str());
        let sent = request
            .body(SdkStream::from(content))
            .customize()
            .config_override(patience)
            .send();
        Box::pin(sent).await.map(drop).map_err(error)
    }

    /// Sends an object in parts. What fails is aborted as far as the store still answers.
    async fn put_in_parts(&self, key: &Key, source: Source, part_bytes: u64) -> Result<(), Error> {
        let len = source.len();
        let upload = self.create_multipart(key).await?;
        let parts = match self.upload_parts(key, &upload, source, part_bytes).await {
            Ok(parts) => parts,
            Err(error) => {
                self.abort_multipart(key, &upload).await;
                return Err(error);
            }
        };
        let Err(error) = self.complete_multipart(key, &upload, parts).await else {
            return Ok(());
        };
        self.abort_multipart(key, &upload).await;
        // The answer to a completion may be lost although it took effect; repeated, it says that
        // there is no such upload. An object of this key and length is this content.
        match self.stat(key).await {
            Ok(stat) if stat == Some(Stat { len }) => Ok(()),
            _ => Err(error),
        }
    }

    async fn create_multipart(&self, key: &Key) -> Result<String, Error> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket);
        let created = Box::pin(request.key(key.as_str()).send())
            .await
            .map_err(error)?;
        created
            .upload_id
            .ok_or_else(|| unavailable("the store gave no upload id"))
    }

    /// Sends all parts, some at a time, and returns them in order.
    async fn upload_parts(
        &self,
        key: &Key,
        upload: &str,
        source: Source,
        part_bytes: u64,
    ) -> Result<Vec<CompletedPart>, Error> {
        let in_flight = (PARTS_IN_MEMORY / part_bytes).clamp(1, PARTS_IN_FLIGHT);
        let in_flight = usize::try_from(in_flight).expect("invariant: a small number");
        let mut parts: Vec<CompletedPart> = parts::of(source, part_bytes)
            .await?
            .zip(stream::iter(1..))
            .map(|(content, number)| content.map(|content| (content, number)))
            .map_ok(|(content, number)| self.upload_part(key, upload, number, content))
            .try_buffer_unordered(in_flight)
            .try_collect()
            .await?;
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    async fn upload_part(
        &self,
        key: &Key,
        upload: &str,
        number: i32,
        content: Bytes,
    ) -> Result<CompletedPart, Error> {
        let patience = patience(sending_timeout(content.len()));
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key.as_str());
        let request = request.upload_id(upload).part_number(number);
        let sent = request
            .body(SdkStream::from(content))
            .customize()
            .config_override(patience)
            .send();
        let part = Box::pin(sent).await.map_err(error)?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_crc32(part.checksum_crc32)
            .set_checksum_crc32_c(part.checksum_crc32_c)
            .set_checksum_crc64_nvme(part.checksum_crc64_nvme)
            .set_checksum_sha1(part.checksum_sha1)
            .set_checksum_sha256(part.checksum_sha256)
            .build())
    }

    async fn complete_multipart(
        &self,
        key: &Key,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<(), Error> {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket);
        let request = request
            .key(key.as_str())
            .upload_id(upload)
            .multipart_upload(parts);
        let request = request
            .customize()
            .config_override(patience(COMPLETE_TIMEOUT));
        Box::pin(request.send()).await.map(drop).map_err(error)
    }

    /// Frees the parts of an upload that failed. Best effort: the store's own rule for unfinished
    /// uploads gets the rest.
    async fn abort_multipart(&self, key: &Key, upload: &str) {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket);
        let sent = request.key(key.as_str()).upload_id(upload).send();
        if let Err(failed) = Box::pin(sent).await
            && failed.code() != Some("NoSuchUpload")
        {
            let error = DisplayErrorContext(&failed);
            tracing::warn!(key = key.as_str(), upload, %error, "multipart upload not aborted");
        }
    }

    /// Asks the store whether it has what was sent.
    async fn verify(&self, key: &Key, expected: u64) -> Result<Stat, Error> {
        match self.stat(key).await? {
            Some(stat) if stat.len == expected => Ok(stat),
            Some(stat) => Err(Error::Length {
                expected,
                found: stat.len,
            }),
            None => Err(unavailable(
                "the object is not there although the store took it",
            )),
        }
    }
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn put(&self, key: &Key, source: Source) -> Result<Stat, Error> {
        let len = source.len();
        let part_bytes = adapted_part_bytes(len, self.part_bytes);
        if len > part_bytes {
            self.put_in_parts(key, source, part_bytes).await?;
        } else {
            let mut parts = parts::of(source, part_bytes).await?;
            let content = parts.try_next().await?.unwrap_or_default();
            self.put_whole(key, content).await?;
        }
        self.verify(key, len).await
    }

    async fn get(&self, key: &Key, range: Range<u64>) -> Result<ByteStream, Error> {
        if range.start >= range.end {
            return Err(Error::Range);
        }
        let expected = range.end - range.start;
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str());
        let request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
        let object = Box::pin(request.send()).await.map_err(error)?;
        let found = object
            .content_length
            .and_then(|len| u64::try_from(len).ok());
        let partial = object.content_range.as_deref();
        let right_place = format!("bytes {}-{}/", range.start, range.end - 1);
        match found {
            Some(found) if found == expected && starts_with(partial, &right_place) => {}
            // A store cuts a range that goes beyond the end.
            Some(found) if found < expected => return Err(Error::Range),
            _ => return Err(unavailable("the store answered with another range")),
        }
        Ok(exactly(object.body, expected))
    }

    async fn open_local(&self, _key: &Key) -> Result<Option<File>, Error> {
        Ok(None)
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        let request = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key.as_str());
        match Box::pin(request.send()).await.map_err(error) {
            Ok(head) => {
                let len = head.content_length.and_then(|len| u64::try_from(len).ok());
                let len = len.ok_or_else(|| unavailable("the store gave no length"))?;
                Ok(Some(Stat { len }))
            }
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(key.as_str());
        match Box::pin(request.send()).await.map_err(error) {
            Ok(_) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn presign_get(&self, key: &Key, ttl: Duration) -> Result<Option<Url>, Error> {
        let config = PresigningConfig::expires_in(ttl.min(MAX_PRESIGN)).map_err(unavailable)?;
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str());
        let presigned = Box::pin(request.presigned(config)).await.map_err(error)?;
        Url::parse(presigned.uri()).map(Some).map_err(unavailable)
    }

    /// Asks for the bucket; whether it can be written shows only when something is stored.
    async fn check(&self) -> Result<(), Error> {
        let asked = Box::pin(self.client.head_bucket().bucket(&self.bucket).send());
        match tokio::time::timeout(CHECK_BUDGET, asked).await {
            Ok(answer) => answer.map(drop).map_err(|failed| match error(failed) {
                Error::NotFound => unavailable("there is no such bucket"),
                other => other,
            }),
            Err(elapsed) => Err(unavailable(elapsed)),
        }
    }
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .build()
}

/// Another limit for one attempt of a single request.
fn patience(attempt: Duration) -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder().timeout_config(timeouts(attempt))
}

fn sending_timeout(bytes: usize) -> Duration {
    ANSWER_TIMEOUT + Duration::from_secs(bytes as u64 / MIN_BYTES_PER_SECOND)
}

/// The configured size, or as much as an object of that length needs to fit into 10,000 parts.
fn adapted_part_bytes(len: u64, configured: u64) -> u64 {
    max(configured, len.div_ceil(MAX_PARTS))
}

fn starts_with(header: Option<&str>, expected: &str) -> bool {
    header.is_some_and(|header| header.starts_with(expected))
}

/// The body, ended by an error unless it is exactly that long.
fn exactly(body: SdkStream, expected: u64) -> ByteStream {
    stream::try_unfold((body, expected), |(mut body, rest)| async move {
        match body.try_next().await.map_err(io::Error::other)? {
            Some(bytes) => match rest.checked_sub(bytes.len() as u64) {
                Some(rest) => Ok(Some((bytes, (body, rest)))),
                None => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "longer than asked for",
                )),
            },
            None if rest == 0 => Ok(None),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    })
    .boxed()
}

fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unavailable(cause.into())
}

/// Sorts the answers of stores by what callers can do about them.
fn error<E>(failed: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let status = failed
        .raw_response()
        .map(|response| response.status().as_u16());
    let code = failed
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    match (status, code) {
        (_, Some("NoSuchBucket" | "NoSuchUpload")) => {}
        // HEAD has no body and therefore no code.
        (Some(404), _) => return Error::NotFound,
        (Some(416), _) => return Error::Range,
        (Some(507), _) | (_, Some("XMinioStorageFull" | "QuotaExceeded")) => return Error::Full,
        _ => {}
    }
    unavailable(DisplayErrorContext(failed).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_only_when_there_would_be_too_many() {
        let gib = 1 << 30;
        assert_eq!(
            adapted_part_bytes(0, DEFAULT_PART_BYTES),
            DEFAULT_PART_BYTES
        );
        assert_eq!(
            adapted_part_bytes(100 * gib, DEFAULT_PART_BYTES),
            DEFAULT_PART_BYTES
        );
        for len in [157 * gib, 1_000 * gib, 5 << 40] {
            let part_bytes = adapted_part_bytes(len, DEFAULT_PART_BYTES);
            assert!(len.div_ceil(part_bytes) <= MAX_PARTS);
        }
    }
}
