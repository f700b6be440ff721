//! Sequential uploads: bytes at the end of what came before, and lengths that are told later.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use cloudstore_proto::{convert::unsigned, upload::ResizeUploadRequest};
use cloudstore_service::{Kind, context, rpc::deadline};
use futures::{Stream, StreamExt as _, stream};

use super::{
    Check, Engine, Error, Result,
    body::BodyError,
    bytes, prefix,
    session::{Limit, Session},
    signed,
};

/// How much more of the quota is reserved at a time for an upload without a length: one call to
/// dbproxy for so many bytes, whatever the size of requests. A small quota gives what it has.
const RESERVE_STEP: u64 = 64 << 20;

/// What became of the bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where the content goes on: beyond the end of the request's bytes where chunks were ahead.
    pub offset: u64,
    /// The offset is the length: the upload can be completed.
    pub is_whole: bool,
}

impl Engine {
    /// Receives bytes that belong at offset `at`, which must be where the upload goes on
    /// ([`Session::offset`]). They survive the death of this process in the end, however the
    /// request ends; with a checksum all or none of them. Another sequential writer gives way.
    ///
    /// Runs as a task of its own: when the client hangs up, what has arrived is kept before anybody
    /// else learns the offset.
    ///
    /// # Errors
    /// [`Error::OffsetMismatch`], [`Error::Length`] and [`Error::TooLarge`] (nothing was written
    /// when `content_length` tells it), [`Error::ChecksumMismatch`] (nothing counts),
    /// [`Error::ChunkConflict`] (other bytes are kept ahead), [`Error::Preempted`],
    /// [`Error::Busy`], [`Error::Body`], [`Error::Quota`], [`Error::NoSpace`], [`Error::Gone`].
    pub async fn append(
        self: &Arc<Self>,
        session: &Arc<Session>,
        at: u64,
        content_length: Option<u64>,
        check: Option<Check>,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static,
    ) -> Result<Appended> {
        let (engine, session) = (self.clone(), session.clone());
        let task = context::spawn(async move {
            match session.facts().size {
                Some(end) => {
                    let limit = Limit { end, exact: true };
                    session
                        .append(at, content_length, limit, check, body)
                        .await?;
                }
                None => {
                    engine
                        .append_unsized(&session, at, content_length, check, body)
                        .await?;
                }
            }
            prefix::catch_up(&session, session.files().await?);
            let offset = session.contiguous();
            let is_whole = session.facts().size == Some(offset);
            if is_whole && session.facts().part {
                engine.part_is_whole(session.facts().id);
            }
            Ok(Appended { offset, is_whole })
        });
        task.await.map_err(io::Error::other)?
    }

    async fn append_unsized(
        self: &Arc<Self>,
        session: &Arc<Session>,
        at: u64,
        content_length: Option<u64>,
        check: Option<Check>,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static,
    ) -> Result<u64> {
        let end = self.settings.max_size;
        let limit = Limit { end, exact: false };
        if let Some(len) = content_length.filter(|len| *len <= end.saturating_sub(at)) {
            self.reserve_up_to(session, at + len).await?;
        }
        let state = (self.clone(), session.clone(), body, at);
        let reserved = stream::unfold(state, async |(engine, session, mut body, mut at)| {
            let mut frame = body.next().await?;
            if let Ok(bytes) = &frame {
                at += bytes.len() as u64;
                if let Err(error) = engine.reserve_up_to(&session, at).await {
                    frame = Err(BodyError(Box::new(error)));
                }
            }
            Some((frame, (engine, session, body, at)))
        });
        let reserved = Box::pin(reserved);
        let appended = session.append(at, content_length, limit, check, reserved);
        appended.await.map_err(|error| match error {
            // The body did not break off: there was no room for it.
            Error::Body(BodyError(inner)) => match inner.downcast::<Error>() {
                Ok(refused) => *refused,
                Err(inner) => Error::Body(BodyError(inner)),
            },
            error => error,
        })
    }

    /// Makes sure that the quota has room for so many bytes of an upload without a length.
    async fn reserve_up_to(&self, session: &Session, end: u64) -> Result<()> {
        if end <= session.reserved.load(Ordering::Relaxed) {
            return Ok(());
        }
        let wanted = end.next_multiple_of(RESERVE_STEP);
        let facts = session.facts();
        let request = ResizeUploadRequest {
            account_id: bytes(facts.account),
            id: bytes(facts.id),
            at_least: signed(end),
            at_most: signed(wanted.min(self.settings.max_size)),
            is_length: false,
        };
        let upload = self.client().resize_upload(deadline(request)).await;
        let reserved = unsigned(
            upload
                .map_err(|status| refused(status, end))?
                .into_inner()
                .size,
        );
        session.reserved.store(reserved, Ordering::Relaxed);
        Ok(())
    }

    /// Tells how long an upload is. Once: telling it again must say the same. "This was all" is the
    /// offset as the length, and then [`Engine::complete`].
    ///
    /// # Errors
    /// [`Error::LengthConflict`] when another length is known or more has been received,
    /// [`Error::TooLarge`], [`Error::Quota`], [`Error::NoSpace`], [`Error::Gone`].
    pub async fn set_length(self: &Arc<Self>, session: &Arc<Session>, length: u64) -> Result<()> {
        let same = move |known: u64| match known == length {
            true => Ok(()),
            false => Err(Error::LengthConflict {
                known,
                told: length,
            }),
        };
        if let Some(known) = session.facts().size {
            return same(known);
        }
        let max = self.settings.max_size;
        if length > max {
            return Err(Error::TooLarge(max));
        }
        let (engine, session) = (self.clone(), session.clone());
        let task = context::spawn(async move {
            let turn = session.take_turn().await?;
            if let Some(known) = session.facts().size {
                return same(known);
            }
            session.check_length(length).await?;
            let facts = session.facts();
            let request = ResizeUploadRequest {
                account_id: bytes(facts.account),
                id: bytes(facts.id),
                at_least: signed(length),
                at_most: 0,
                is_length: true,
            };
            let told = engine.client().resize_upload(deadline(request)).await;
            told.map_err(|status| refused(status, length))?;
            session.settle_length(length, turn).await
        });
        task.await.map_err(io::Error::other)?
    }
}

fn refused(status: tonic::Status, wanted: u64) -> Error {
    match Error::from(status) {
        Error::Metadata(problem) if problem.kind() == Kind::QuotaExceeded => Error::Quota(wanted),
        error => error,
    }
}
