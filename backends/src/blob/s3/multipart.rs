//! Objects that are sent in parts.
//!
//! A put first looks for an upload of the object that an earlier one has left unfinished, and goes
//! on with it: parts that are there already, and are the same, are not sent again. So a put that
//! fails or is dropped leaves its upload alone; only where going on cannot help it is aborted.
//!
//! The parts of an upload carry their CRC-32C if the store has promised to compare it, in its
//! answer to the beginning of the upload. Their bytes are not part of the signature then: that
//! would cost a SHA-256 on both sides. Otherwise they are.

use std::{collections::HashMap, time::Duration};

use aws_sdk_s3::{
    config::RequestChecksumCalculation,
    error::{DisplayErrorContext, SdkError},
    operation::{
        create_multipart_upload::CreateMultipartUploadError,
        upload_part::{UploadPartError, UploadPartOutput},
    },
    primitives::{ByteStream as SdkStream, DateTime},
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Part},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use md5::{Digest as _, Md5};

use super::{
    S3BlobStore, Stored, checksum,
    error::{error, is_damaged, is_gone, is_refused, is_unsupported, unavailable},
    parts, patience, sending_timeout,
};
use crate::blob::{Error, Source};

/// Parts of one object on their way at a time.
const PARTS_IN_FLIGHT: u64 = 4;
/// What the parts of one object may take in memory, as long as the number of parts allows it.
const PARTS_IN_MEMORY: u64 = PARTS_IN_FLIGHT * super::DEFAULT_PART_BYTES;
/// The same as [`ANSWER_TIMEOUT`](super::ANSWER_TIMEOUT) for putting parts together, which takes
/// S3 up to some minutes.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Times that a part is sent when it arrives damaged. The SDK does not repeat what was refused.
const DAMAGED_SENDS: u32 = 3;
/// Unfinished uploads that are looked at in one go; what is beyond them has its turn later.
const MAX_UNFINISHED: usize = 10_000;

/// How an object is cut into parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Bytes of the object.
    pub(super) len: u64,
    /// Bytes of every part but the last one.
    pub(super) part_bytes: u64,
}

impl Layout {
    /// Is this the length of that part?
    fn fits(&self, number: i32, size: i64) -> bool {
        let before = u64::try_from(number - 1).map(|parts| parts.saturating_mul(self.part_bytes));
        let rest = before.map_or(0, |before| self.len.saturating_sub(before));
        rest > 0 && u64::try_from(size) == Ok(rest.min(self.part_bytes))
    }
}

/// An upload that was neither completed nor aborted.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) initiated: DateTime,
}

/// The upload that parts are sent to.
#[derive(Debug)]
struct Upload {
    name: String,
    id: String,
    /// The store compares the CRC-32C of every part.
    checked: bool,
    /// What is there already.
    sent: HashMap<i32, Part>,
}

impl S3BlobStore {
    /// Sends an object in parts.
    pub(super) async fn put_in_parts(
        &self,
        name: &str,
        source: Source,
        layout: Layout,
    ) -> Result<Stored, Error> {
        let _turn = self.running.enter(name).await;
        let upload = match self.resume(name, layout).await? {
            Some(upload) => upload,
            None => self.create_multipart(name).await?,
        };
        match self.send_parts(&upload, source, layout.part_bytes).await {
            Ok(parts) => self.complete_multipart(&upload, parts, layout.len).await,
            Err(error) => {
                if is_beyond_help(&error) {
                    self.abort_multipart(name, &upload.id).await;
                }
                Err(error)
            }
        }
    }

    /// The newest unfinished upload of the object whose parts are cut as ours; the others go.
    async fn resume(&self, name: &str, layout: Layout) -> Result<Option<Upload>, Error> {
        let mut unfinished = self.unfinished(name).await?;
        // The name of one object can be the beginning of another one's.
        unfinished.retain(|upload| upload.name == name);
        unfinished.sort_unstable_by_key(|upload| upload.initiated);
        let mut resumed = None;
        for Unfinished { id, .. } in unfinished.into_iter().rev() {
            if resumed.is_none() {
                resumed = self.look_into(name, &id, layout).await?;
                if resumed.is_some() {
                    continue;
                }
            }
            self.abort_multipart(name, &id).await;
        }
        if let Some(upload) = &resumed {
            let parts = upload.sent.len();
            tracing::info!(name, parts, "going on with an unfinished upload");
        }
        Ok(resumed)
    }

    /// An unfinished upload as it is, if it can be used.
    async fn look_into(
        &self,
        name: &str,
        id: &str,
        layout: Layout,
    ) -> Result<Option<Upload>, Error> {
        let mut sent = HashMap::new();
        let mut after: Option<String> = None;
        loop {
            let request = self.client.list_parts().bucket(&self.bucket).key(name);
            let request = request.upload_id(id).set_part_number_marker(after);
            let page = match Box::pin(request.send()).await {
                Ok(page) => page,
                Err(failed) if is_gone(&failed) || is_unsupported(&failed) => return Ok(None),
                Err(failed) => return Err(error(failed)),
            };
            for part in page.parts.unwrap_or_default() {
                match (part.part_number, part.size) {
                    (Some(number), Some(size)) if layout.fits(number, size) => {
                        sent.insert(number, part);
                    }
                    _ => return Ok(None),
                }
            }
            after = page.next_part_number_marker;
            if !page.is_truncated.unwrap_or(false) || after.is_none() {
                break;
            }
        }
        // An upload that began with checksums needs one in every part, and one that began without
        // refuses them; which kind it is shows only in its parts.
        let checked = |part: &Part| part.checksum_crc32_c.is_some();
        let kind = sent.values().next().map(checked);
        let uniform = sent.values().all(|part| Some(checked(part)) == kind);
        Ok(kind.filter(|_| uniform).map(|checked| Upload {
            name: name.to_owned(),
            id: id.to_owned(),
            checked,
            sent,
        }))
    }

    /// Unfinished uploads of objects whose names begin like this. None where the store cannot say.
    pub(super) async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, Error> {
        let mut unfinished = Vec::new();
        let (mut key, mut id) = (None, None);
        while unfinished.len() < MAX_UNFINISHED {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket);
            let request = request.prefix(prefix);
            let request = request.set_key_marker(key).set_upload_id_marker(id);
            let page = match Box::pin(request.send()).await {
                Ok(page) => page,
                Err(failed) if is_unsupported(&failed) => return Ok(unfinished),
                Err(failed) => return Err(error(failed)),
            };
            for upload in page.uploads.unwrap_or_default() {
                if let (Some(name), Some(id), Some(initiated)) =
                    (upload.key, upload.upload_id, upload.initiated)
                {
                    unfinished.push(Unfinished {
                        name,
                        id,
                        initiated,
                    });
                }
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
            if !page.is_truncated.unwrap_or(false) || key.is_none() {
                break;
            }
        }
        Ok(unfinished)
    }

    /// Begins an upload: with checksums where the store promises to compare them.
    async fn create_multipart(&self, name: &str) -> Result<Upload, Error> {
        let checked = self.create(name, Some(ChecksumAlgorithm::Crc32C)).await;
        match checked {
            Ok(upload) if upload.checked && !upload.id.is_empty() => return Ok(upload),
            // It may want checksums for its parts all the same.
            Ok(upload) => drop(self.abort_multipart(name, &upload.id).await),
            // Some stores refuse what they do not know instead of leaving it out.
            Err(failed) if is_refused(&failed) => {}
            Err(failed) => return Err(error(failed)),
        }
        let upload = self.create(name, None).await.map_err(error)?;
        if upload.id.is_empty() {
            return Err(unavailable("the store gave no upload id"));
        }
        Ok(upload)
    }

    async fn create(
        &self,
        name: &str,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<Upload, SdkError<CreateMultipartUploadError>> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket);
        let request = request.key(name).set_checksum_algorithm(algorithm);
        let created = Box::pin(request.send()).await?;
        Ok(Upload {
            name: name.to_owned(),
            id: created.upload_id.unwrap_or_default(),
            checked: created.checksum_algorithm == Some(ChecksumAlgorithm::Crc32C),
            sent: HashMap::new(),
        })
    }

    /// Sends all parts, some at a time, and returns them in order.
    async fn send_parts(
        &self,
        upload: &Upload,
        source: Source,
        part_bytes: u64,
    ) -> Result<Vec<CompletedPart>, Error> {
        let in_flight = (PARTS_IN_MEMORY / part_bytes).clamp(1, PARTS_IN_FLIGHT);
        let in_flight = usize::try_from(in_flight).expect("invariant: a small number");
        let mut parts: Vec<CompletedPart> = parts::of(source, part_bytes)
            .await?
            .zip(stream::iter(1..))
            .map(|(content, number)| content.map(|content| (content, number)))
            .map_ok(|(content, number)| self.part(upload, number, content))
            .try_buffer_unordered(in_flight)
            .try_collect()
            .await?;
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    /// Sends a part unless it is there.
    async fn part(
        &self,
        upload: &Upload,
        number: i32,
        content: Bytes,
    ) -> Result<CompletedPart, Error> {
        if let Some(sent) = upload.sent.get(&number)
            && is_same(sent, content.clone()).await
        {
            return Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(sent.e_tag.clone())
                .set_checksum_crc32_c(sent.checksum_crc32_c.clone())
                .build());
        }
        let mut sends = 1;
        let part = loop {
            match self.send_part(upload, number, content.clone()).await {
                Err(failed) if is_damaged(&failed) && sends < DAMAGED_SENDS => {
                    let name = &upload.name;
                    tracing::warn!(name, number, "a part was damaged on its way");
                    sends += 1;
                }
                sent => break sent.map_err(error)?,
            }
        };
        if upload.checked && part.checksum_crc32_c.is_none() {
            return Err(unavailable(
                "the store did not compare the checksum of a part",
            ));
        }
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

    async fn send_part(
        &self,
        upload: &Upload,
        number: i32,
        content: Bytes,
    ) -> Result<UploadPartOutput, SdkError<UploadPartError>> {
        let config = patience(sending_timeout(content.len()));
        let request = self.client.upload_part().bucket(&self.bucket);
        let request = request.key(&upload.name).upload_id(&upload.id);
        let request = request.part_number(number).body(SdkStream::from(content));
        if upload.checked {
            // The content is in memory, so the checksum is a header and signed as such.
            let config =
                config.request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
            let request = request.checksum_algorithm(ChecksumAlgorithm::Crc32C);
            let request = request.customize().config_override(config);
            Box::pin(request.disable_payload_signing().send()).await
        } else {
            Box::pin(request.customize().config_override(config).send()).await
        }
    }

    async fn complete_multipart(
        &self,
        upload: &Upload,
        parts: Vec<CompletedPart>,
        len: u64,
    ) -> Result<Stored, Error> {
        let checksums = parts.iter().map(CompletedPart::checksum_crc32_c);
        let checksum = upload.checked.then(|| checksum::composite(checksums));
        let checksum = checksum.flatten();
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket);
        let request = request.key(&upload.name).upload_id(&upload.id);
        let request = request.multipart_upload(parts).customize();
        let request = request.config_override(patience(COMPLETE_TIMEOUT));
        let (failed, refused) = match Box::pin(request.send()).await {
            // An answer may begin before the work is done, and then tell of an error.
            Ok(completed) if completed.e_tag.is_some() => {
                return Ok(Stored {
                    e_tag: completed.e_tag,
                    checksum,
                });
            }
            Ok(_) => (
                unavailable("the store did not say what it has stored"),
                false,
            ),
            Err(failed) => {
                let refused = is_refused(&failed);
                (error(failed), refused)
            }
        };
        // The answer to a completion may be lost although it took effect; repeated, it says that
        // there is no such upload. An object of this name and length is this content.
        let head = self.head(&upload.name, false).await;
        let stored = head.is_ok_and(|head| head.is_some_and(|head| head.len == len));
        if stored || refused {
            self.abort_multipart(&upload.name, &upload.id).await;
        }
        if !stored {
            return Err(failed);
        }
        Ok(Stored {
            e_tag: None,
            checksum,
        })
    }

    /// Frees the parts of an upload; true when that was done. Best effort:
    /// [`abort_unfinished`](crate::blob::BlobStore::abort_unfinished) gets the rest.
    pub(super) async fn abort_multipart(&self, name: &str, id: &str) -> bool {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket);
        let sent = request.key(name).upload_id(id).send();
        match Box::pin(sent).await {
            Ok(_) => true,
            Err(failed) if is_gone(&failed) => false,
            Err(failed) => {
                let error = DisplayErrorContext(&failed);
                tracing::warn!(name, id, %error, "multipart upload not aborted");
                false
            }
        }
    }
}

/// Nothing of what was sent is worth keeping: the source is not what it should be.
fn is_beyond_help(error: &Error) -> bool {
    match error {
        Error::Length { .. } => true,
        Error::Source(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// Does the store have this content as that part? ETags are MD5 with most stores and kinds of
/// encryption; where they are not, the checksum may tell.
async fn is_same(sent: &Part, content: Bytes) -> bool {
    let e_tag = sent
        .e_tag
        .as_deref()
        .map(|e_tag| e_tag.trim_matches('"').to_owned());
    let checksum = sent.checksum_crc32_c.clone();
    let compared = tokio::task::spawn_blocking(move || {
        e_tag.is_some_and(|e_tag| e_tag == hex::encode(Md5::digest(&content)))
            || checksum.is_some_and(|checksum| checksum == checksum::crc32c(&content))
    });
    compared.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_when_they_are_cut_as_ours() {
        let layout = Layout {
            len: 25,
            part_bytes: 10,
        };
        for (number, size) in [(1, 10), (2, 10), (3, 5)] {
            assert!(layout.fits(number, size), "{number} {size}");
        }
        for (number, size) in [(0, 10), (-1, 10), (1, 9), (2, 5), (3, 10), (4, 0), (4, 10)] {
            assert!(!layout.fits(number, size), "{number} {size}");
        }
    }
}
