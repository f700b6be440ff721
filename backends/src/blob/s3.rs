//! Blobs in S3-compatible object storage.
//!
//! What is damaged on its way is refused by the store, which compares a checksum: the CRC-32C of a
//! part where it says that it does so (see [`multipart`]), else the SHA-256 in the signature.

use std::{
    cmp::max,
    fs::File,
    io,
    ops::Range,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    presigning::PresigningConfig,
    primitives::{ByteStream as SdkStream, DateTime},
    types::ChecksumMode,
};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use url::Url;

use super::{BlobStore, ByteStream, Error, KEYS, Key, Listed, Source, Stat};

mod checksum;
mod config;
mod error;
mod multipart;
mod parts;
mod running;

pub use config::{Checksums, DEFAULT_PART_BYTES, MIN_PART_BYTES, S3Config};

use error::{error, unavailable};
use multipart::Layout;
use running::Running;

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_PARTS: u64 = 10_000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one attempt, until the answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Slower than this an attempt to send content is given up. The limit only has to end connections
/// that trickle: those that stand still are cut much earlier.
const MIN_BYTES_PER_SECOND: u64 = 128 << 10;
/// How long a transfer may stand still.
const STALL_GRACE: Duration = Duration::from_secs(20);
/// The first one included; in between the SDK waits up to some seconds.
const ATTEMPTS: u32 = 4;
/// How long a readiness check may take.
const CHECK_BUDGET: Duration = Duration::from_secs(5);
/// The most that S3 lists in one answer.
const MAX_LISTED: usize = 1_000;
/// The longest life that S3 gives to a presigned URL.
const MAX_PRESIGN: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A blob store in one bucket.
#[derive(Clone, Debug)]
pub struct S3BlobStore {
    client: Client,
    bucket: String,
    /// Before every key.
    prefix: String,
    part_bytes: u64,
    /// Names of the objects that are being sent in parts.
    running: Running,
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
            prefix: config.prefix,
            part_bytes: max(config.part_bytes, MIN_PART_BYTES),
            running: Running::default(),
        }
    }

    /// The object's name in the bucket.
    fn name(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.as_str())
    }

    /// The key of an object in the bucket, unless it is somebody else's.
    fn key(&self, name: &str) -> Option<Key> {
        Key::parse(name.strip_prefix(&self.prefix)?)
    }

    /// Sends an object in one request.
    async fn put_whole(&self, name: &str, content: Bytes) -> Result<Stored, Error> {
        let patience = patience(sending_timeout(content.len()));
        let request = self.client.put_object().bucket(&self.bucket).key(name);
        let sent = request
            .body(SdkStream::from(content))
            .customize()
            .config_override(patience)
            .send();
        let stored = Box::pin(sent).await.map_err(error)?;
        Ok(Stored {
            e_tag: stored.e_tag,
            checksum: None,
        })
    }

    /// What HEAD says; `None` when there is no such object.
    async fn head(&self, name: &str, with_checksum: bool) -> Result<Option<Head>, Error> {
        let request = self.client.head_object().bucket(&self.bucket).key(name);
        let mode = with_checksum.then_some(ChecksumMode::Enabled);
        match Box::pin(request.set_checksum_mode(mode).send())
            .await
            .map_err(error)
        {
            Ok(head) => {
                let len = head.content_length.and_then(|len| u64::try_from(len).ok());
                Ok(Some(Head {
                    len: len.ok_or_else(|| unavailable("the store gave no length"))?,
                    e_tag: head.e_tag,
                    checksum: head.checksum_crc32_c,
                }))
            }
            // The answer has no body that says whether it is the object or the bucket that is
            // missing; and without its bucket every blob would seem to be gone.
            Err(Error::NotFound) => self.check().await.map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// Asks the store whether it has what was sent.
    async fn verify(&self, name: &str, expected: u64, stored: Stored) -> Result<Stat, Error> {
        let head = self.head(name, stored.checksum.is_some()).await?;
        let head =
            head.ok_or_else(|| unavailable("the object is not there although the store took it"))?;
        if head.len != expected {
            return Err(Error::Length {
                expected,
                found: head.len,
            });
        }
        // Only what both answers have can be compared.
        let differ = |told: Option<String>, shown: Option<String>| {
            told.zip(shown).is_some_and(|(told, shown)| told != shown)
        };
        if differ(stored.e_tag, head.e_tag) || differ(stored.checksum, head.checksum) {
            return Err(unavailable("the object there is not the one that was sent"));
        }
        Ok(Stat { len: head.len })
    }
}

/// What the store said about an object when it took it.
#[derive(Debug, Default)]
struct Stored {
    e_tag: Option<String>,
    /// CRC-32C as a HEAD has it.
    checksum: Option<String>,
}

/// What the store says about an object.
#[derive(Debug)]
struct Head {
    len: u64,
    e_tag: Option<String>,
    checksum: Option<String>,
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn put(&self, key: &Key, source: Source) -> Result<Stat, Error> {
        let (name, len) = (self.name(key), source.len());
        let part_bytes = adapted_part_bytes(len, self.part_bytes);
        let stored = if len > part_bytes {
            let layout = Layout { len, part_bytes };
            self.put_in_parts(&name, source, layout).await?
        } else {
            let mut parts = parts::of(source, part_bytes).await?;
            let content = parts.try_next().await?.unwrap_or_default();
            self.put_whole(&name, content).await?
        };
        self.verify(&name, len, stored).await
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
            .key(self.name(key));
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
        let head = self.head(&self.name(key), false).await?;
        Ok(head.map(|head| Stat { len: head.len }))
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.name(key));
        match Box::pin(request.send()).await.map_err(error) {
            Ok(_) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Listed)>, Error> {
        let prefix = format!("{}{prefix}", self.prefix);
        let mut after = after.map(|after| self.name(after));
        let mut listed = Vec::new();
        while listed.len() < limit {
            let page = i32::try_from((limit - listed.len()).min(MAX_LISTED));
            let request = self.client.list_objects_v2().bucket(&self.bucket);
            let request = request.prefix(&prefix).set_start_after(after);
            let request = request.max_keys(page.expect("invariant: a page is small"));
            let page = Box::pin(request.send()).await.map_err(error)?;
            let more = page.is_truncated.unwrap_or(false);
            after = page.contents().last().and_then(|last| last.key.clone());
            for object in page.contents.unwrap_or_default() {
                // What somebody else has put there is none of ours.
                let key = object.key.as_deref().and_then(|name| self.key(name));
                let len = object.size.and_then(|size| u64::try_from(size).ok());
                let modified = object
                    .last_modified
                    .and_then(|at| SystemTime::try_from(at).ok());
                if let (Some(key), Some(len), Some(modified)) = (key, len, modified) {
                    listed.push((key, Listed { len, modified }));
                }
            }
            if !more || after.is_none() {
                break;
            }
        }
        Ok(listed)
    }

    async fn abort_unfinished(&self, older_than: Duration) -> Result<u64, Error> {
        let before = SystemTime::now()
            .checked_sub(older_than)
            .map(DateTime::from);
        let mut aborted = 0;
        for upload in self.unfinished(&format!("{}{KEYS}", self.prefix)).await? {
            let old = before.is_some_and(|before| upload.initiated <= before);
            // Names that are not ours belong to somebody who shares the bucket.
            if old
                && self.key(&upload.name).is_some()
                && let Some(_turn) = self.running.try_enter(&upload.name)
            {
                aborted += u64::from(self.abort_multipart(&upload.name, &upload.id).await);
            }
        }
        Ok(aborted)
    }

    fn links(&self) -> bool {
        false
    }

    async fn presign_get(&self, key: &Key, ttl: Duration) -> Result<Option<Url>, Error> {
        let config = PresigningConfig::expires_in(ttl.min(MAX_PRESIGN)).map_err(unavailable)?;
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.name(key));
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
