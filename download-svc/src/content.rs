//! What a request for content gets: conditions, ranges, and the search for a copy that can be
//! read while blobs move from staging to durable storage.

use std::{ops::Range, time::Duration};

use cloudstore_proto::{convert, file};
use cloudstore_service::{Kind, Problem, Result, auth::ShareToken, clock};
use url::Url;
use uuid::Uuid;

use crate::{
    catalog::Catalog,
    conditional::{Conditions, Validators, Verdict},
    range::{self, Selection},
    reader::{self, Blob, Content, Pieces, Reader},
    shares::Shares,
};

/// Lookups of one request. A blob moves once, so the second finds it; more allow for a file that
/// is being replaced at the same time.
const ATTEMPTS: u32 = 4;
/// Pause before another lookup, times the number of lookups so far.
const PAUSE: Duration = Duration::from_millis(20);
/// Seconds after which a client may ask again when reading failed for a passing reason.
const RETRY_AFTER_SECS: u32 = 2;

/// Life of a redirect to the object store: time to begin the download.
const REDIRECT_TTL: Duration = Duration::from_secs(5 * 60);

/// A request for content.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The account, or who else takes the place of an account among the downloads.
    pub owner: Uuid,
    /// Normalised path.
    pub path: String,
    /// Conditions on the current state.
    pub conditions: Conditions,
    /// The `Range` field.
    pub range: Option<String>,
    /// Is the content itself wanted, or only what is known of it?
    pub body: bool,
    /// Ways other than a stream that the client and this node agree on.
    pub shortcuts: Shortcuts,
}

/// Ways to deliver content that spare this node the bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shortcuts {
    /// Redirect to the object store from this many bytes on.
    pub redirect_from: Option<u64>,
    /// Let the gateway send files of the disk cache.
    pub hand_over: bool,
}

/// A file and what to answer.
pub struct Found {
    /// The file.
    pub entry: file::Entry,
    /// Length in bytes.
    pub size: u64,
    /// Its current state.
    pub validators: Validators,
    /// The answer.
    pub reply: Reply,
}

/// What to send.
pub enum Reply {
    /// The client has it already.
    NotModified,
    /// A condition does not hold.
    Failed,
    /// No byte of the ranges exists.
    Unsatisfiable,
    /// Content.
    Send(Sending),
}

/// Which part of the content is sent.
pub enum Sending {
    /// Everything. No pieces where no body is wanted.
    Whole(Pieces),
    /// One range.
    Part(Range<u64>, Pieces),
    /// Several ranges, with the pieces of the first one.
    Parts(Vec<Range<u64>>, Content, Pieces),
    /// Everything or one range, by the gateway, from this file of the disk cache.
    HandOver(String, Option<Range<u64>>),
    /// Everything or ranges, by the object store.
    Redirect(Url),
}

/// How often something is looked for that may be moving.
#[derive(Debug, Default)]
pub(crate) struct Attempts(u32);

impl Attempts {
    /// Waits before another attempt; `false` when there is none left.
    pub(crate) async fn next(&mut self) -> bool {
        if self.0 == ATTEMPTS {
            return false;
        }
        // Not of length 0, which would be up to a millisecond.
        if self.0 > 0 {
            tokio::time::sleep(PAUSE * self.0).await;
        }
        self.0 += 1;
        true
    }

    /// This is not the first one.
    pub(crate) const fn is_repeated(&self) -> bool {
        self.0 > 1
    }
}

/// Finds the file and a readable copy of its content.
///
/// # Errors
/// `not-found`, `is-a-folder`; `unavailable` and `overloaded` for what may pass; `internal` for
/// content that is damaged or lost.
pub async fn find(catalog: &Catalog, reader: &Reader, wanted: &Wanted) -> Result<Found> {
    find_in(Place::Account(catalog), reader, wanted).await
}

/// Where the path of a request begins.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// At the root folder of the account.
    Account(&'a Catalog),
    /// At what is shared.
    Share(&'a Shares, &'a ShareToken),
}

impl Place<'_> {
    async fn look(self, wanted: &Wanted) -> Result<file::Entry> {
        match self {
            Self::Account(catalog) => catalog.stat(wanted.owner, &wanted.path).await,
            Self::Share(shares, token) => Ok(shares.find(token, &wanted.path).await?.1),
        }
    }
}

/// As [`find`], wherever the path begins.
pub(crate) async fn find_in(place: Place<'_>, reader: &Reader, wanted: &Wanted) -> Result<Found> {
    let mut attempts = Attempts::default();
    while attempts.next().await {
        let entry = place.look(wanted).await?;
        let blob = blob_of(&entry)?;
        let now = convert::unsigned(clock::now_ms()) / 1_000;
        let validators = Validators {
            tag: hex::encode(blob.root),
            // Never later than the answer itself (RFC 9110 section 8.8.2.1): clients set it.
            modified: (convert::unsigned(entry.modified_at_ms) / 1_000).min(now),
        };
        let plan = plan(wanted, &validators, blob.size, now);
        match open(reader, wanted, &blob, plan).await {
            Ok(reply) => {
                return Ok(Found {
                    entry,
                    size: blob.size,
                    validators,
                    reply,
                });
            }
            Err(reader::Error::Gone) => tracing::debug!("content moved, looking again"),
            Err(error) => return Err(problem(error)),
        }
    }
    tracing::error!(path = wanted.path, "no copy of the content was found");
    Err(problem(reader::Error::Gone))
}

/// The content of a file.
pub(crate) fn blob_of(entry: &file::Entry) -> Result<Blob> {
    if entry.kind() != file::EntryKind::File {
        return Err(Problem::new(Kind::IsAFolder, "the path names a folder"));
    }
    let blob = entry.blob.as_ref().and_then(Blob::from_message);
    blob.ok_or_else(|| Problem::internal("a file without a valid blob"))
}

/// What the fields of the request come to.
enum Plan {
    Reply(Reply),
    Whole(u64),
    Parts(Vec<Range<u64>>),
}

fn plan(wanted: &Wanted, validators: &Validators, size: u64, now: u64) -> Plan {
    let ranges = match wanted.conditions.evaluate(validators, now) {
        Verdict::NotModified => return Plan::Reply(Reply::NotModified),
        Verdict::Failed => return Plan::Reply(Reply::Failed),
        Verdict::Send { ranges } => ranges,
    };
    if !wanted.body {
        // Range is defined for GET only.
        return Plan::Reply(Reply::Send(Sending::Whole(Pieces::none())));
    }
    match wanted.range.as_deref().filter(|_| ranges) {
        None => Plan::Whole(size),
        Some(field) => match range::select(field, size) {
            Selection::Whole => Plan::Whole(size),
            Selection::Parts(parts) => Plan::Parts(parts),
            Selection::Unsatisfiable => Plan::Reply(Reply::Unsatisfiable),
        },
    }
}

async fn open(
    reader: &Reader,
    wanted: &Wanted,
    blob: &Blob,
    plan: Plan,
) -> std::result::Result<Reply, reader::Error> {
    let mut parts = match plan {
        Plan::Reply(reply) => return Ok(reply),
        Plan::Whole(0) => return Ok(Reply::Send(Sending::Whole(Pieces::none()))),
        Plan::Whole(_) => Vec::new(),
        Plan::Parts(parts) => parts,
    };
    let redirects = wanted.shortcuts.redirect_from;
    if blob.stored
        && redirects.is_some_and(|from| blob.size >= from)
        && let Some(url) = reader.presign(blob, REDIRECT_TTL).await?
    {
        return Ok(Reply::Send(Sending::Redirect(url)));
    }
    let content = reader.open(wanted.owner, blob).await?;
    if wanted.shortcuts.hand_over
        && parts.len() <= 1
        && let Some(name) = content.cached_name()
    {
        return Ok(Reply::Send(Sending::HandOver(name.to_owned(), parts.pop())));
    }
    let first = parts.first().cloned().unwrap_or(0..blob.size);
    let first = content.read(first).await?;
    Ok(Reply::Send(match parts.len() {
        0 => Sending::Whole(first),
        1 => Sending::Part(parts.remove(0), first),
        _ => Sending::Parts(parts, content, first),
    }))
}

/// What a client is told.
pub(crate) fn problem(error: reader::Error) -> Problem {
    match error {
        reader::Error::Overloaded => {
            Problem::new(Kind::Overloaded, "too many downloads at once").retry_after(1)
        }
        reader::Error::Unavailable(_) => Problem::new(
            Kind::Unavailable,
            "the content cannot be read at the moment",
        )
        .retry_after(RETRY_AFTER_SECS)
        .caused_by(error),
        reader::Error::Gone | reader::Error::Damaged(_) => Problem::internal(error),
    }
}
