//! One upload on a server: sends parts, learns the offset after whatever went wrong, and does not
//! believe offsets that cannot be.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use url::Url;

use super::{
    Tus,
    call::{Created, Part, Told},
};
use crate::{
    client::{
        Backoff, is_retryable,
        wire::{Trouble, describe},
    },
    error::{Error, Exit},
};

/// The longest request where the bytes have to be in memory, to be hashed before they are sent, or
/// where longer ones do not come through. Each stream holds one.
pub(super) const PART_BYTES: u64 = 8 << 20;
/// Requests do not get shorter: servers that refuse long ones take a quarter of a megabyte (rustus,
/// unless told otherwise), and below this the heads weigh more than the bytes.
const SHORTEST_BYTES: u64 = 64 << 10;
/// How often in a row bytes may arrive damaged. A bad line damages a few, a broken one all.
const MISMATCHES: u32 = 3;
/// Conflicts of a cloudstore server that asking for the offset does not solve.
const CONFLICTS: [&str; 3] = ["name-conflict", "not-a-folder", "is-a-folder"];

/// Why an upload does not go on.
#[derive(Debug)]
pub(super) enum Failure {
    /// This upload is gone, or is another; a new one may do.
    StartOver(Error),
    /// It makes no sense to try again now. The upload stays.
    Final(Error),
    /// The server is not to be believed, or the file changed: what arrived is not worth keeping.
    Nonsense(Error),
}

impl Failure {
    /// For the user.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::StartOver(error) | Self::Final(error) | Self::Nonsense(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// An upload and what is known of it.
pub(super) struct Transfer<'a> {
    tus: &'a Tus,
    pub(super) url: Url,
    /// As the server told it last; `None` when it has to be asked.
    offset: Option<u64>,
    /// The length that the server knows.
    length: Option<u64>,
    /// A length that was told in a request whose answer did not arrive.
    telling: Option<u64>,
    /// No byte behind this one was sent.
    sent: u64,
    /// The furthest offset so far.
    best: u64,
    /// An earlier run began it, and this one has not added to it.
    resumed: bool,
    /// The last answer did not confirm what was sent.
    doubtful: bool,
    mismatches: u32,
    backoff: Backoff,
    /// What comes through at the moment, below what the server takes.
    longest: u64,
    /// Bytes of the last request that did not come through.
    lost: u64,
    expires_ms: Option<i64>,
}

impl<'a> Transfer<'a> {
    /// One that was just created, with `sent` bytes.
    pub(super) fn created(
        tus: &'a Tus,
        created: Created,
        length: Option<u64>,
        sent: u64,
    ) -> Result<Self, Failure> {
        let mut this = Self::new(tus, created.url, sent, length);
        this.expires_ms = created.expires_ms;
        if let Some(offset) = created.offset {
            this.check(offset)?;
            this.best = offset;
        }
        this.offset = created.offset;
        Ok(this)
    }

    /// One that an earlier run began, of which it may have sent everything.
    pub(super) fn resumed(tus: &'a Tus, url: Url, size: u64) -> Self {
        Self {
            resumed: true,
            ..Self::new(tus, url, size, Some(size))
        }
    }

    fn new(tus: &'a Tus, url: Url, sent: u64, length: Option<u64>) -> Self {
        Self {
            tus,
            url,
            offset: None,
            length,
            telling: None,
            sent,
            best: 0,
            resumed: false,
            doubtful: false,
            mismatches: 0,
            backoff: tus.endpoint.backoff(),
            longest: u64::MAX,
            lost: 0,
            expires_ms: None,
        }
    }

    /// How long the next request may be.
    pub(super) fn longest(&self) -> u64 {
        self.longest.min(self.tus.longest())
    }

    /// An earlier run began it, and this one has not added to it.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Until when the server keeps it, in Unix milliseconds.
    pub(super) fn expires_ms(&self) -> Option<i64> {
        self.expires_ms
    }

    /// The length that the server knows.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Where it goes on: known, or asked for until there is an answer.
    pub(super) async fn offset(&mut self) -> Result<u64, Failure> {
        loop {
            if let Some(offset) = self.offset {
                return Ok(offset);
            }
            match self.tus.endpoint.ask(&self.url).await {
                Ok(told) => self.learn(&told).await?,
                Err(trouble) => self.recover(trouble).await?,
            }
        }
    }

    /// Sends bytes at the offset; `length` tells the length that was deferred. Afterwards the
    /// offset may be anywhere.
    pub(super) async fn append(&mut self, part: Part, length: Option<u64>) -> Result<(), Failure> {
        let (at, len) = (part.body.offset, part.body.len);
        self.sent = self.sent.max(at + len);
        self.telling = length.or(self.telling);
        match self.tus.endpoint.append(&self.url, part, length).await {
            Ok(told) => {
                self.length = length.or(self.length);
                self.expires_ms = told.expires_ms.or(self.expires_ms);
                if let Some(offset) = told.offset {
                    self.check(offset)?;
                }
                // Nothing confirmed, or less than before: the server has to be asked.
                self.offset = told
                    .offset
                    .filter(|told| *told > at || len == 0 && *told == at);
                self.doubtful = self.offset.is_none();
                if let Some(offset) = self.offset {
                    self.tus.took(len);
                    self.longest = self.longest.saturating_mul(2);
                    self.resumed = false;
                    self.advance(offset);
                }
                Ok(())
            }
            Err(trouble) if is_too_long(&trouble) && self.tus.shorten(len) => {
                self.offset = None;
                Ok(())
            }
            Err(trouble) => {
                self.lost = len;
                self.recover(trouble).await
            }
        }
    }

    /// Takes the answer to a question for the offset.
    async fn learn(&mut self, told: &Told) -> Result<(), Failure> {
        let Some(offset) = told.offset else {
            let why = "it does not tell where the upload goes on (Upload-Offset)";
            return self.recover(Trouble::Garbled(why.to_owned())).await;
        };
        if let Some(length) = told.length
            && self.length != Some(length)
        {
            if self.telling != Some(length) {
                let why = format!("the upload at {} has another length", self.url);
                return Err(Failure::StartOver(Error::new(Exit::Failed, why)));
            }
            self.length = Some(length);
        }
        self.check(offset)?;
        self.expires_ms = told.expires_ms.or(self.expires_ms);
        let doubtful = std::mem::take(&mut self.doubtful);
        let lost = std::mem::take(&mut self.lost);
        if offset <= self.best && lost > SHORTEST_BYTES {
            // Nothing of it was kept: less may come through before the connection breaks again.
            self.longest = shorter(lost);
        }
        if offset > self.best {
            self.advance(offset);
        } else if doubtful {
            let why = "it takes nothing of what is sent";
            self.pause(Trouble::Garbled(why.to_owned())).await?;
        }
        self.offset = Some(offset);
        Ok(())
    }

    /// Nobody has bytes that were not sent.
    fn check(&self, offset: u64) -> Result<(), Failure> {
        if offset <= self.sent {
            return Ok(());
        }
        let why = format!(
            "the server says that it has {offset} bytes, and {} were sent",
            self.sent
        );
        Err(Failure::Nonsense(
            Error::new(Exit::Failed, why).advise("tell the server's operator"),
        ))
    }

    /// Something went forward.
    fn advance(&mut self, offset: u64) {
        if offset > self.best {
            self.best = offset;
            self.mismatches = 0;
            self.backoff.reset();
        }
    }

    /// After a failure: waits if it makes sense to go on, and then the offset has to be asked for.
    async fn recover(&mut self, trouble: Trouble) -> Result<(), Failure> {
        self.offset = None;
        let Trouble::Problem { problem, .. } = &trouble else {
            return match trouble {
                Trouble::Local(error) => Err(Failure::Final(error)),
                Trouble::Garbled(_) if self.resumed => Err(Failure::StartOver(self.error(trouble))),
                trouble => self.pause(trouble).await,
            };
        };
        match problem.status {
            460 => {
                self.mismatches += 1;
                if self.mismatches < MISMATCHES {
                    return self.pause(trouble).await;
                }
                let why = "the server gets other bytes than were sent (checksum mismatch)";
                let error = Error::new(Exit::Checksum, why);
                let next = "something on the way changes them; try another network";
                Err(Failure::Final(error.advise(next)))
            }
            403 | 404 | 410 => Err(Failure::StartOver(self.error(trouble))),
            409 if !CONFLICTS.contains(&problem.slug()) => self.pause(trouble).await,
            423 => self.pause(trouble).await,
            status if is_retryable(status, problem.slug()) => self.pause(trouble).await,
            // It fits nothing any more, whatever it is.
            400 | 405 | 406 | 409 | 411 | 412 | 415..=422 if self.resumed => {
                Err(Failure::StartOver(self.error(trouble)))
            }
            _ => Err(Failure::Final(self.error(trouble))),
        }
    }

    async fn pause(&mut self, trouble: Trouble) -> Result<(), Failure> {
        let asked: Option<Duration> = trouble.retry_after();
        let Some(wait) = self.backoff.next(asked) else {
            return Err(Failure::Final(self.error(trouble)));
        };
        self.tus.out.detail(format_args!(
            "{} stopped at {} B, next try in {:.1} s: {}",
            self.url,
            self.best,
            wait.as_secs_f64(),
            describe(&trouble),
        ));
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// For the user.
    fn error(&self, trouble: Trouble) -> Error {
        self.tus.endpoint.error_at(&self.url, trouble)
    }
}

/// Something on the way takes no requests of this length. A cloudstore server that says so means
/// the file.
pub(super) fn is_too_long(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Problem { problem, .. }
        if problem.status == 413 && !problem.kind.starts_with("/problems/"))
}

/// The next shorter length to try; not below [`SHORTEST_BYTES`].
fn shorter(len: u64) -> u64 {
    if len > PART_BYTES {
        PART_BYTES
    } else {
        (len / 2).max(SHORTEST_BYTES)
    }
}

impl Tus {
    /// The longest request that the server takes.
    pub(super) fn longest(&self) -> u64 {
        self.longest.load(Relaxed)
    }

    /// The server has taken a request of this length.
    pub(super) fn took(&self, len: u64) {
        self.taken.fetch_max(len, Relaxed);
    }

    /// It is known to take requests of this length.
    pub(super) fn has_taken(&self, len: u64) -> bool {
        len <= self.taken.load(Relaxed)
    }

    /// The server refused a request of this length as too long. `false` if a shorter one is no use.
    pub(super) fn shorten(&self, refused: u64) -> bool {
        self.longest.fetch_min(shorter(refused), Relaxed);
        refused > SHORTEST_BYTES
    }
}
