//! The sequential path: bytes at the end of what is kept without a gap, as many as come.
//!
//! A group is kept as soon as it is complete, the rest when the request ends, however it ends. A
//! request with a checksum is all or nothing.

use std::{io, os::unix::fs::FileExt as _, sync::Arc, time::Duration};

use bytes::Bytes;
use cloudstore_content::{GROUP_BYTES, GroupValue, tree::GroupHasher};
use cloudstore_service::clock;
use futures::Stream;
use tokio::{task::spawn_blocking, time};

use super::{
    Phase, Session,
    chunk::{CLAIM_PATIENCE, STALL, STALL_CHECK},
    files::Files,
    groups::GroupWriter,
    to_index,
};
use crate::engine::{
    Error, Result,
    body::{self, BodyError, End, Pulse, Sink},
    checksum::{Check, Checksum},
    sidecar::{self, Tail},
};

/// How long somebody who asks for the offset waits for a writer that was told to stop: no lock is
/// held for longer than that.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The right to be the only one who writes; dropped when the last write has ended.
#[derive(Debug)]
pub(crate) struct Turn {
    session: Arc<Session>,
    pulse: Arc<Pulse>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.session.map().sequential = None;
        self.session.released.notify_waiters();
    }
}

/// What a request may still send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Where the content ends at the latest, bytes.
    pub(crate) end: u64,
    /// That is its length, not only what this server takes.
    pub(crate) exact: bool,
}

impl Limit {
    fn exceeded(self, at: u64) -> Error {
        match self.exact {
            true => Error::Length {
                expected: self.end.saturating_sub(at),
                found: None,
            },
            false => Error::TooLarge(self.end),
        }
    }
}

impl Session {
    /// Where the content goes on: the bytes before it are kept without a gap. Stops a sequential
    /// writer first and lets it keep what has arrived, so that the answer stays true.
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Busy`] when the writer does not stop within five seconds.
    pub async fn offset(&self) -> Result<u64> {
        let deadline = time::Instant::now() + STOP_PATIENCE;
        let mut stopped: Option<Arc<Pulse>> = None;
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            {
                let map = self.map();
                if map.phase == Phase::Closed {
                    return Err(Error::Gone);
                }
                match (&map.sequential, &stopped) {
                    (None, _) => break,
                    // The one before has ended; the next began after the question.
                    (Some(now), Some(then)) if !Arc::ptr_eq(now, then) => break,
                    (Some(now), _) => {
                        now.cancel();
                        stopped = Some(now.clone());
                    }
                }
            }
            if time::timeout_at(deadline, released).await.is_err() {
                return Err(Error::Busy);
            }
        }
        Ok(self.contiguous())
    }

    /// Waits until nobody else writes. A sequential writer is stopped, chunks may end unless they
    /// have stalled. Of several who wait, the newest gets it: the others' clients have gone on.
    pub(crate) async fn take_turn(self: &Arc<Self>) -> Result<Turn> {
        let deadline = time::Instant::now() + CLAIM_PATIENCE;
        let ticket = {
            let mut map = self.map();
            map.tickets += 1;
            map.tickets
        };
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if let Some(turn) = self.try_turn(ticket)? {
                return Ok(turn);
            }
            if time::Instant::now() >= deadline {
                return Err(Error::Busy);
            }
            let _ = time::timeout(STALL_CHECK, released).await;
        }
    }

    fn try_turn(self: &Arc<Self>, ticket: u64) -> Result<Option<Turn>> {
        let mut map = self.map();
        if map.phase == Phase::Closed {
            return Err(Error::Gone);
        }
        if map.tickets != ticket {
            return Err(Error::Preempted);
        }
        map.last_used_ms = clock::now_ms();
        if let Some(writer) = &map.sequential {
            writer.cancel();
            return Ok(None);
        }
        if !map.writers.is_empty() {
            let stalled = map
                .writers
                .values()
                .filter(|writer| writer.is_silent(STALL));
            stalled.for_each(|writer| writer.cancel());
            return Ok(None);
        }
        let pulse = Arc::new(Pulse::new());
        map.sequential = Some(pulse.clone());
        Ok(Some(Turn {
            session: self.clone(),
            pulse,
        }))
    }

    /// Receives bytes that belong at offset `at`. Runs to its end even when nobody waits for it
    /// any more, if it is a task of its own.
    pub(crate) async fn append(
        self: &Arc<Self>,
        at: u64,
        content_length: Option<u64>,
        limit: Limit,
        check: Option<Check>,
        body: impl Stream<Item = std::result::Result<Bytes, BodyError>> + Unpin,
    ) -> Result<u64> {
        let turn = self.take_turn().await?;
        let expected = self.contiguous();
        if at != expected {
            let provided = at;
            return Err(Error::OffsetMismatch { expected, provided });
        }
        let room = limit.end.saturating_sub(at);
        if content_length.is_some_and(|len| len > room) {
            return Err(limit.exceeded(at));
        }
        if content_length == Some(0) && check.is_none() {
            return Ok(at);
        }
        let files = self.files().await?;
        let pulse = turn.pulse.clone();
        let sink = AppendSink::new(turn, files, check.is_some());
        let pumped = body::pump(body, room, content_length, sink, &pulse).await;
        let pumped = pumped.map_err(|error| self.or_gone(error))?;
        let (end, len) = (pumped.end, pumped.len);
        let outcome = match end {
            End::Complete => Ok(()),
            End::TooLong => Err(limit.exceeded(at)),
            End::Broken(error) => Err(error.into()),
            End::Preempted => Err(self.or_gone(Error::Preempted)),
        };
        let mut sink = pumped.sink;
        let finish = spawn_blocking(move || {
            sink.write(&pumped.tail)?;
            body::check_whole(at + len, sink.groups.offset())?;
            sink.groups.check_rest()?;
            let kept = match (outcome, check) {
                (Ok(()), Some(check)) => sink.verify(at, &check()?),
                (outcome, _) => outcome,
            };
            // What is left of the group is kept on the way out.
            drop(sink);
            kept
        });
        let finished = finish.await.map_err(io::Error::other)?;
        finished.map_err(|error| self.or_gone(error))?;
        Ok(self.contiguous())
    }

    /// What fails because the upload has ended meanwhile says so.
    fn or_gone(&self, error: Error) -> Error {
        if self.is_closed() { Error::Gone } else { error }
    }

    /// Makes the beginning of a group count as kept; `None`: what came ends with a group.
    fn keep_tail(&self, files: &Files, tail: Option<&GroupHasher>) -> io::Result<()> {
        sidecar::write_tail(&files.side, tail.map(Tail::of).as_ref())?;
        let mut map = self.map();
        map.tail = tail.cloned();
        map.last_used_ms = clock::now_ms();
        Ok(())
    }
}

/// Writes and hashes a part of the content. Owns the turn, so that nobody else writes while a write
/// of an abandoned request is still under way.
pub(super) struct AppendSink {
    pub(super) groups: GroupWriter,
    files: Arc<Files>,
    /// Groups that count only once the checksum was compared; `None`: they count at once.
    held: Option<Vec<(u64, GroupValue)>>,
    /// The last group's beginning is kept in the end.
    keep: bool,
    turn: Turn,
}

impl AppendSink {
    pub(super) fn new(turn: Turn, files: Arc<Files>, hold: bool) -> Self {
        Self {
            groups: GroupWriter::at_end(&turn.session, files.clone()),
            files,
            held: hold.then(Vec::new),
            keep: !hold,
            turn,
        }
    }

    /// Lets everything count that was received from `at` on, if it has this checksum.
    fn verify(&mut self, at: u64, checksum: &Checksum) -> Result<()> {
        if !checksum.matches(&self.files.data, at..self.groups.offset())? {
            return Err(Error::ChecksumMismatch);
        }
        for (group, value) in self.held.take().unwrap_or_default() {
            keep(&self.turn.session, &self.files, group, value)?;
        }
        self.keep = true;
        Ok(())
    }

    /// Appends bytes of another file.
    pub(super) fn copy(
        &mut self,
        from: &std::fs::File,
        range: std::ops::Range<u64>,
    ) -> io::Result<()> {
        let Self {
            groups,
            files,
            turn,
            ..
        } = self;
        let mut buffer = vec![0; to_index(GROUP_BYTES)];
        let mut at = range.start;
        while at < range.end {
            let len = groups.room().min(range.end - at);
            let piece = &mut buffer[..to_index(len)];
            if groups.is_free() && copy_range(from, at, &files.data, groups.offset(), len)? {
                files.data.read_exact_at(piece, groups.offset())?;
                let mut done = |group, value| keep(&turn.session, files, group, value);
                groups.took(&turn.session, piece, &mut done)?;
            } else {
                from.read_exact_at(piece, at)?;
                groups.write(&turn.session, piece, |group, value| {
                    keep(&turn.session, files, group, value)
                })?;
            }
            at += len;
        }
        Ok(())
    }
}

impl Sink for AppendSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self {
            groups,
            files,
            held,
            turn,
            ..
        } = self;
        if groups.is_sizeless() {
            super::check_room(&files.data, bytes.len() as u64)?;
        }
        groups.write(&turn.session, bytes, |group, value| match held {
            Some(held) => {
                held.push((group, value));
                Ok(())
            }
            None => keep(&turn.session, files, group, value),
        })
    }
}

impl Drop for AppendSink {
    fn drop(&mut self) {
        // More of the group may be kept than came now: after damage before it.
        if !self.keep || self.groups.is_inside_beginning() {
            return;
        }
        let session = &self.turn.session;
        if let Err(error) = session.keep_tail(&self.files, self.groups.open_group()) {
            // Fewer bytes are kept than could be; the offset says so.
            tracing::warn!(upload = %session.facts().id, %error, "the end of a request is not kept");
        }
    }
}

fn keep(session: &Session, files: &Files, group: u64, value: GroupValue) -> io::Result<()> {
    sidecar::write(&files.side, group, &[value])?;
    session
        .record(to_index(group), &[value])
        .map_err(io::Error::other)
}

/// Copies inside the kernel, where file systems can share the bytes. False: they cannot here, and
/// nothing that counts was written.
fn copy_range(
    from: &std::fs::File,
    mut from_at: u64,
    to: &std::fs::File,
    mut to_at: u64,
    len: u64,
) -> io::Result<bool> {
    use rustix::io::Errno;
    let end = from_at + len;
    while from_at < end {
        let left = to_index(end - from_at);
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), left);
        match copied {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}
