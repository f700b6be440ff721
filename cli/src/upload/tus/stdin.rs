//! `upload -`: stdin in parts that are kept until the server has them, since it cannot be read
//! twice. What fits into the first part is sent like a file; the length of more is told at its end.

use std::io::{self, Read as _};

use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::task::spawn_blocking;
use url::Url;

use super::{
    Tus,
    call::Part,
    digest::Running,
    metadata,
    send::{Content, checksum},
    transfer::{Failure, PART_BYTES, Transfer},
};
use crate::{
    client::body::Source,
    error::{Error, Exit, Result},
    progress::{Done, Outcome},
};

/// What to do after a failure.
const AGAIN: &str = "stdin cannot be read twice: run the whole pipeline again";

impl Tus {
    /// Sends stdin until its end.
    pub(super) async fn send_stdin(&self, remote: &str) -> Result<()> {
        let what = || format!("cannot upload stdin to {}", self.endpoint.url);
        let first = read_part().await.map_err(|error| error.during(what()))?;
        let content = Content {
            size: first.len() as u64,
            source: memory(0, &first),
            metadata: metadata::of(remote, None)?,
            digest: Running::default(),
            bar: ProgressBar::hidden(),
            local: None,
        };
        let sent = if content.size < PART_BYTES {
            match self.server.check_size(content.size) {
                Ok(()) => self.bring(&content).await.map(|url| (url, content.size)),
                Err(error) => Err(error),
            }
        } else {
            self.stream(&content, first).await
        };
        let (url, size) = sent.map_err(|error| {
            let error = error.during(what());
            if error.has_advice() {
                error
            } else {
                error.advise(AGAIN)
            }
        })?;
        self.shared.progress.done(&Done {
            local: "-",
            remote,
            size,
            blake3: &content.digest.finish(size).unwrap_or_default(),
            url: Some(url.as_str()),
            outcome: Outcome::Uploaded,
        })
    }

    /// More than one part; where it went, and its length.
    async fn stream(&self, content: &Content, first: Bytes) -> Result<(Url, u64)> {
        if !self.server.defer_length {
            let why = "the length of stdin is not known, and the server does not take uploads \
                       without one (it lacks the tus extension `creation-defer-length`)";
            let next = "write it to a file and upload that";
            return Err(Error::new(Exit::Failed, why).advise(next));
        }
        let created = self.endpoint.create(None, &content.metadata, None).await;
        let created = created.map_err(|trouble| self.endpoint.creation_error(trouble))?;
        let mut transfer =
            Transfer::created(self, created, None, 0).map_err(Failure::into_error)?;
        let sent = self.send_parts(content, &mut transfer, first).await;
        match sent {
            Ok(size) => Ok((transfer.url, size)),
            Err(error) => {
                // Nobody can go on with it.
                self.terminate(&transfer.url).await;
                Err(error)
            }
        }
    }

    async fn send_parts(
        &self,
        content: &Content,
        transfer: &mut Transfer<'_>,
        first: Bytes,
    ) -> Result<u64> {
        let (mut start, mut part) = (0, first);
        loop {
            let end = start + part.len() as u64;
            self.server.check_size(end)?;
            // A part that is not full is the last one, maybe an empty one.
            let last = (part.len() as u64) < PART_BYTES;
            let length = last.then_some(end);
            self.send_part(content, transfer, start, &part, length)
                .await
                .map_err(Failure::into_error)?;
            if last {
                return Ok(end);
            }
            start = end;
            part = read_part().await?;
        }
    }

    /// Until the server has all of a part, and knows the length if it is told one.
    async fn send_part(
        &self,
        content: &Content,
        transfer: &mut Transfer<'_>,
        start: u64,
        bytes: &Bytes,
        length: Option<u64>,
    ) -> Result<(), Failure> {
        let end = start + bytes.len() as u64;
        loop {
            let at = transfer.offset().await?;
            if at < start {
                let why = "the server has lost bytes that it had confirmed";
                return Err(Failure::Nonsense(Error::new(Exit::Failed, why)));
            }
            if at == end && transfer.length() == length {
                return Ok(());
            }
            let skip = usize::try_from(at - start).unwrap_or(bytes.len());
            let rest = bytes.slice(skip.min(bytes.len())..);
            let most = usize::try_from(transfer.longest()).unwrap_or(usize::MAX);
            let rest = rest.slice(..rest.len().min(most));
            let length = length.filter(|_| at + rest.len() as u64 == end);
            let checksum = match self.server.checksum {
                true => checksum(&rest),
                false => None,
            };
            let source = memory(at, &rest);
            let mut body = self
                .shared
                .body(source, at, rest.len() as u64, &content.bar);
            body.on_read = Some(content.digest.on_read());
            let part = Part {
                last_word: !self.has_taken(body.len),
                body,
                checksum,
            };
            transfer.append(part, length).await?;
        }
    }
}

fn memory(start: u64, bytes: &Bytes) -> Source {
    let bytes = bytes.clone();
    Source::Memory { start, bytes }
}

/// As much of stdin as fits into a part; less only at its end.
async fn read_part() -> Result<Bytes> {
    let read = spawn_blocking(|| {
        let mut part = Vec::new();
        io::stdin().lock().take(PART_BYTES).read_to_end(&mut part)?;
        Ok(Bytes::from(part))
    });
    let read = read.await.map_err(io::Error::from).flatten();
    read.map_err(|error| Error::io(&error))
}
