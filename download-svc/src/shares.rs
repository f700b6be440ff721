//! Shares, as those use them who know a token: looking, listing, and the counting of downloads.
//!
//! What counts, for shares with a limit: a request for content that begins at its first byte is a
//! download, always. Other ranges belong to a download that has begun, whose ticket they show, or count
//! as one themselves. A ticket is good for one content, for [`TICKET_TTL`], and for
//! [`ALLOWANCE`] times the content in all its requests: enough to go on after interruptions and to seek,
//! and no way to hand out more than that.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use cloudstore_proto::{
    file,
    share::{
        BeginDownloadRequest, FindSharedRequest, ListSharedRequest, ListSharedResponse, Share,
        SharedEntry, share_store_client::ShareStoreClient,
    },
};
use cloudstore_service::{
    Kind, Problem, Result,
    auth::ShareToken,
    context,
    guesses::Guesses,
    listener::ClientAddress,
    rpc::{Channel, deadline},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    catalog::{MAX_MESSAGE_BYTES, Page},
    content::Sending,
};

/// How long a download may be gone on with: over night, on a bad line.
pub(crate) const TICKET_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a download may carry its content, parts of it counted as such: ten interruptions at even
/// distances, after each of which a client asks for all the rest, make 5.5 times.
const ALLOWANCE: i64 = 8;
/// Downloads of shares without a limit that are being counted at a time. Nobody waits for that, so a
/// dbproxy that is slow or away must not make more and more of them; each is one small call.
const MAX_COUNTS: usize = 64;

/// Calls of dbproxy's store of shares.
#[derive(Clone)]
pub(crate) struct Shares {
    client: ShareStoreClient<Channel>,
    counts: Arc<Semaphore>,
    guesses: Arc<Guesses>,
}

impl Shares {
    /// Over a channel to dbproxy.
    pub(crate) fn new(channel: Channel) -> Self {
        let client = ShareStoreClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let counts = Arc::new(Semaphore::new(MAX_COUNTS));
        Self {
            client,
            counts,
            guesses: Arc::default(),
        }
    }

    /// The share with a token that a client shows, and what is shared.
    ///
    /// # Errors
    /// As [`Shares::find`], and `rate-limited` for who makes tokens up.
    pub(crate) async fn open(
        &self,
        client: ClientAddress,
        token: &ShareToken,
    ) -> Result<(Share, file::Entry)> {
        let found = self.guesses.look_up(client, token, self.find(token, "/"));
        found.await
    }

    /// The share with a token that was shown to open something, and what is at a path below it.
    ///
    /// # Errors
    /// `not-found` for everything that is not there, without telling why.
    pub(crate) async fn find(
        &self,
        token: &ShareToken,
        path: &str,
    ) -> Result<(Share, file::Entry)> {
        let request = FindSharedRequest {
            hash: token.hash().to_vec().into(),
            path: path.to_owned(),
        };
        let found = self.client.clone().find_shared(deadline(request)).await;
        let found = found.map_err(|status| hidden(status.into()))?.into_inner();
        match found {
            SharedEntry {
                share: Some(share),
                entry: Some(entry),
                ..
            } => Ok((share, entry)),
            _ => Err(Problem::internal("an answer without a share")),
        }
    }

    /// A page of a shared folder, or of one below it.
    ///
    /// # Errors
    /// As [`Shares::find`]; `not-a-folder`.
    pub(crate) async fn list(
        &self,
        token: &ShareToken,
        path: &str,
        page: Page,
    ) -> Result<(Share, file::ListResponse)> {
        let request = ListSharedRequest {
            hash: token.hash().to_vec().into(),
            path: path.to_owned(),
            cursor: page.cursor,
            limit: page.limit,
            sort: page.sort.into(),
            descending: page.descending,
        };
        let listed = self.client.clone().list_shared(deadline(request)).await;
        match listed.map_err(|status| hidden(status.into()))?.into_inner() {
            ListSharedResponse {
                share: Some(share),
                page: Some(page),
            } => Ok((share, page)),
            ListSharedResponse { .. } => Err(Problem::internal("an answer without a share")),
        }
    }

    /// Counts what is about to be sent, if it counts. With a ticket when the client may go on with it.
    ///
    /// Nothing depends on the number of a share without a limit: nobody waits for it, and it may be too
    /// small.
    ///
    /// # Errors
    /// `share-exhausted`, `not-found`, `unavailable`: for shares with a limit only.
    pub(crate) async fn begin(
        &self,
        share: &Share,
        entry: &file::Entry,
        sent: &Sent,
        shown: Option<&DownloadTicket>,
    ) -> Result<Option<DownloadTicket>> {
        let is_limited = share.max_downloads > 0;
        if !is_limited && !sent.from_start {
            return Ok(None);
        }
        let blob = entry.blob.clone().unwrap_or_default();
        let ticket = DownloadTicket(Uuid::new_v4());
        let continues = shown.filter(|_| !sent.from_start);
        let request = BeginDownloadRequest {
            share_id: share.id.clone(),
            blake3: blob.blake3,
            bytes: sent.bytes,
            continues: continues.map(DownloadTicket::id).unwrap_or_default(),
            id: ticket.id(),
            allowance: blob.size.saturating_mul(ALLOWANCE),
            lifetime_ms: i64::try_from(TICKET_TTL.as_millis()).map_err(Problem::internal)?,
        };
        if !is_limited {
            self.count_behind(request);
            return Ok(None);
        }
        let begun = self.client.clone().begin_download(deadline(request)).await;
        let begun = begun.map_err(|status| hidden(status.into()))?;
        Ok(begun.into_inner().counted.then_some(ticket))
    }

    /// Counts while the answer is already on its way, or not at all when too many wait for that.
    fn count_behind(&self, request: BeginDownloadRequest) {
        let Ok(place) = self.counts.clone().try_acquire_owned() else {
            not_counted("full");
            return;
        };
        let mut client = self.client.clone();
        context::spawn(async move {
            if let Err(status) = client.begin_download(deadline(request)).await {
                let problem = Problem::from(status);
                tracing::warn!(%problem, "a download of a share was not counted");
                not_counted("failed");
            }
            drop(place);
        });
    }
}

/// A download of a share without a limit is in no number.
fn not_counted(reason: &'static str) {
    metrics::counter!("cloudstore_share_downloads_not_counted_total", "reason" => reason)
        .increment(1);
}

/// One answer for tokens that never were, for those that ended, and for paths that are not there.
fn hidden(problem: Problem) -> Problem {
    match problem.kind() {
        Kind::NotFound => not_found(),
        _ => problem,
    }
}

/// There is no such share, or nothing at the path below it.
pub(crate) fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "there is no such share, or nothing there")
}

/// What an answer carries of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The first byte, or all that there is.
    from_start: bool,
    bytes: i64,
}

impl Sent {
    /// Of a content with so many bytes.
    pub(crate) fn of(sending: &Sending, size: u64) -> Self {
        let (from_start, bytes) = match sending {
            Sending::Part(range, _) => (range.start == 0, range.end - range.start),
            Sending::Parts(ranges, ..) => (
                ranges.iter().any(|range| range.start == 0),
                ranges.iter().map(|range| range.end - range.start).sum(),
            ),
            // What leaves in other ways may be asked for in any part.
            Sending::Whole(_) | Sending::HandOver(..) | Sending::Redirect(_) => (true, size),
        };
        Self {
            from_start,
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        }
    }
}

/// Names a download that was counted. Random, so that nobody goes on with that of somebody else; without
/// the share's token it opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DownloadTicket(Uuid);

impl DownloadTicket {
    /// The ticket with this text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        Uuid::from_slice(&bytes).ok().map(Self)
    }

    /// base64url.
    pub(crate) fn text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0.as_bytes())
    }

    fn id(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use cloudstore_service::rpc;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_a_number_that_nothing_depends_on() {
        // Nobody answers, and nothing ends: the other side is kept.
        let (channel, _incoming) = rpc::in_memory();
        let shares = Shares::new(channel);
        let share = Share::default();
        let sent = Sent {
            from_start: true,
            bytes: 1,
        };
        // More than are counted at a time: these are dropped, and do not wait either.
        for _ in 0..MAX_COUNTS + 10 {
            let entry = file::Entry::default();
            let begin = shares.begin(&share, &entry, &sent, None);
            let begun = tokio::time::timeout(Duration::from_secs(1), begin).await;
            assert_eq!(begun.expect("an answer at once").unwrap(), None);
        }
        assert_eq!(shares.counts.available_permits(), 0);
    }

    #[test]
    fn tickets_round_trip() {
        let ticket = DownloadTicket(Uuid::new_v4());
        let text = ticket.text();
        assert_eq!(DownloadTicket::parse(&text), Some(ticket));
        for bad in ["", "x", &text[1..], &format!("{text}=")] {
            assert_eq!(DownloadTicket::parse(bad), None, "{bad}");
        }
    }
}
