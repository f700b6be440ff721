//! One file on its way: created, or resumed where an earlier run stopped, then sent to its end.

use std::{fs, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cloudstore_proto::convert::{parse_rfc3339, rfc3339};
use indicatif::ProgressBar;
use reqwest::header::HeaderValue;
use sha1::{Digest as _, Sha1};
use tokio::task::spawn_blocking;
use url::Url;

use super::{
    Tus,
    call::Part,
    digest::Running,
    metadata,
    transfer::{Failure, Transfer, is_too_long},
};
use crate::{
    client::{body::Source, wire::Trouble},
    credentials::now_ms,
    error::{Error, Result},
    state::{UploadKey, has_changed},
    upload::{
        shared::{open, unreadable},
        walk::LocalFile,
    },
};

/// Smaller content goes along with the creation: about what a line carries in one round trip.
const WITH_CREATION: u64 = 1 << 20;
/// How often one file starts over when its upload is gone on the server.
const STARTS: usize = 3;
/// How long an upload is remembered that does not say when it expires: longer than servers
/// usually keep them.
const REMEMBERED_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// A file that arrived.
pub(super) struct Sent {
    pub(super) url: Url,
    /// Hexadecimal.
    pub(super) blake3: String,
}

/// What is sent: content that can be read again.
pub(super) struct Content {
    pub(super) source: Source,
    pub(super) size: u64,
    pub(super) metadata: HeaderValue,
    pub(super) digest: Running,
    pub(super) bar: ProgressBar,
    /// Where it comes from, if from a file, and how to find it in a later run.
    pub(super) local: Option<Local>,
}

pub(super) struct Local {
    found: LocalFile,
    file: Arc<fs::File>,
    key: UploadKey,
}

impl Local {
    /// The file is not what it was when it was found.
    fn has_changed(&self) -> bool {
        has_changed(&self.file, &self.found.stamp).unwrap_or(true)
    }
}

impl Tus {
    /// Brings a file to the server, however many attempts that takes.
    pub(super) async fn deliver(&self, found: &LocalFile) -> Result<Sent> {
        let size = found.stamp.size;
        self.server.check_size(size)?;
        let file = open(found).await?;
        let content = Content {
            source: Source::File(file.clone()),
            size,
            metadata: metadata::of(&found.remote, Some(found.stamp.mtime_ms()))?,
            digest: Running::default(),
            bar: self.shared.progress.file_bar(&found.remote, size),
            local: Some(Local {
                found: found.clone(),
                file,
                key: self.key(found),
            }),
        };
        let url = self.bring(&content).await?;
        let blake3 = match content.digest.finish(size) {
            Some(blake3) => blake3,
            // An earlier run read the beginning.
            None => self.hash(found).await?,
        };
        Ok(Sent { url, blake3 })
    }

    /// Brings content to the server; the address it has there.
    pub(super) async fn bring(&self, content: &Content) -> Result<Url> {
        let mut earlier = content.local.as_ref().and_then(|local| self.earlier(local));
        let mut starts = 0;
        loop {
            starts += 1;
            match self.attempt(content, earlier.take()).await {
                Ok(url) => return Ok(url),
                Err(Failure::StartOver(error)) if starts < STARTS && !error.ends_the_run() => {
                    self.out.detail(format_args!("starting over: {error}"));
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    /// The upload that an earlier run began.
    fn earlier(&self, local: &Local) -> Option<Url> {
        let url = self.shared.unfinished.find(&local.key)?;
        Url::parse(&url).ok()
    }

    async fn attempt(&self, content: &Content, earlier: Option<Url>) -> Result<Url, Failure> {
        let mut transfer = match earlier {
            Some(url) => Transfer::resumed(self, url, content.size),
            None => self.create(content).await?,
        };
        let mut sent = self.fill(content, &mut transfer).await;
        if let Some(local) = &content.local {
            if local.has_changed() {
                let error = self.shared.changed(&local.found);
                sent = Err(Failure::Nonsense(error));
            }
            if !matches!(sent, Err(Failure::Final(_))) {
                self.shared.unfinished.remove(&local.key);
            }
        }
        if matches!(sent, Err(Failure::Nonsense(_))) {
            self.terminate(&transfer.url).await;
        }
        sent.map(|()| transfer.url)
    }

    async fn create(&self, content: &Content) -> Result<Transfer<'_>, Failure> {
        let size = content.size;
        let most = WITH_CREATION.min(self.longest());
        let mut sent = 0;
        let mut part = None;
        if self.server.with_upload && (1..=most).contains(&size) {
            part = Some(self.part(content, 0, size).await?);
            sent = size;
        }
        let mut created = self
            .endpoint
            .create(Some(size), &content.metadata, part)
            .await;
        if sent > 0
            && let Err(trouble) = &created
            && is_too_long(trouble)
        {
            self.shorten(size);
            sent = 0;
            created = self
                .endpoint
                .create(Some(size), &content.metadata, None)
                .await;
        }
        let created = created.map_err(|trouble| match trouble {
            // The next upload may have more luck.
            Trouble::Problem { ref problem, .. } if problem.status == 460 => {
                Failure::StartOver(self.endpoint.creation_error(trouble))
            }
            trouble => Failure::Final(self.endpoint.creation_error(trouble)),
        })?;
        self.took(sent);
        let transfer = Transfer::created(self, created, Some(size), sent)?;
        self.remember(content, &transfer);
        Ok(transfer)
    }

    /// Sends what is missing.
    async fn fill(&self, content: &Content, transfer: &mut Transfer<'_>) -> Result<(), Failure> {
        let mut expires_ms = transfer.expires_ms();
        loop {
            let at = transfer.offset().await?;
            if transfer.is_resumed() {
                self.out
                    .detail(format_args!("{} goes on at {at} B", transfer.url));
            }
            content.bar.set_position(at);
            if at >= content.size {
                return Ok(());
            }
            if let Some(local) = &content.local
                && local.has_changed()
            {
                let error = self.shared.changed(&local.found);
                return Err(Failure::Nonsense(error));
            }
            let len = (content.size - at).min(transfer.longest());
            let part = self.part(content, at, len).await?;
            transfer.append(part, None).await?;
            if transfer.expires_ms() != expires_ms {
                expires_ms = transfer.expires_ms();
                self.remember(content, transfer);
            }
        }
    }

    /// A part as the server wants it: with a checksum it is read now, and hashed and sent from
    /// memory, so that it is read once.
    async fn part(&self, content: &Content, at: u64, len: u64) -> Result<Part> {
        let (source, checksum) = if self.server.checksum {
            let source = content.source.clone();
            let read = spawn_blocking(move || {
                let bytes = source.read(at, usize::try_from(len).map_err(io::Error::other)?)?;
                let checksum = checksum(&bytes);
                Ok((Source::Memory { start: at, bytes }, checksum))
            });
            let read = read.await.map_err(io::Error::from).flatten();
            read.map_err(|error| match &content.local {
                Some(local) if local.has_changed() => self.shared.changed(&local.found),
                Some(local) => unreadable(&error, &local.found.path),
                None => Error::io(&error),
            })?
        } else {
            (content.source.clone(), None)
        };
        let mut body = self.shared.body(source, at, len, &content.bar);
        body.on_read = Some(content.digest.on_read());
        Ok(Part {
            body,
            checksum,
            last_word: !self.has_taken(len),
        })
    }

    /// Lets a later run go on with this upload.
    fn remember(&self, content: &Content, transfer: &Transfer<'_>) {
        let Some(local) = &content.local else { return };
        let expires_ms = transfer.expires_ms();
        let expires_at = rfc3339(expires_ms.unwrap_or_else(|| now_ms() + REMEMBERED_MS));
        // What cannot be read back would be dropped as damaged.
        if parse_rfc3339(&expires_at).is_some() {
            let url = transfer.url.as_str();
            let remote = &local.found.remote;
            self.shared
                .unfinished
                .put(&local.key, url, &expires_at, remote);
        }
    }

    /// Reads a whole file that has arrived.
    async fn hash(&self, found: &LocalFile) -> Result<String> {
        let (hashes, path, stamp) = (self.shared.hashes.clone(), found.path.clone(), found.stamp);
        let hashed = spawn_blocking(move || hashes.root_of(&path, &stamp)).await;
        let hashed = hashed.map_err(io::Error::from).flatten();
        hashed
            .map(hex::encode)
            .map_err(|error| unreadable(&error, &found.path))
    }
}

/// The value of `Upload-Checksum`.
pub(super) fn checksum(bytes: &[u8]) -> Option<HeaderValue> {
    let digest = BASE64.encode(Sha1::digest(bytes));
    HeaderValue::from_str(&format!("sha1 {digest}")).ok()
}
