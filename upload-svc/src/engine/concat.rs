//! Uploads made of the bytes of others.

use std::{
    collections::HashMap,
    fs::File,
    io,
    sync::{Arc, MutexGuard, PoisonError},
};

use cloudstore_backends::staging::Content;
use cloudstore_proto::file::Entry;
use cloudstore_service::context;
use futures::TryStreamExt as _;
use tokio::task::{JoinHandle, spawn_blocking};
use uuid::Uuid;

use super::{
    Engine, Error, Found, Result,
    body::BodyError,
    session::{Limit, Session},
};

/// An upload that waits for its parts.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    account: Uuid,
    parts: Vec<Uuid>,
}

/// A complete part.
struct Part {
    content: Content,
    len: u64,
}

impl Engine {
    /// Bytes of all parts together, each as often as it is named; `None` while one of them is not
    /// complete.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Gone`] for parts that cannot be had, [`Error::NoPart`] for
    /// uploads that are none.
    pub async fn parts_len(&self, account: Uuid, parts: &[Uuid]) -> Result<Option<u64>> {
        Ok(self.parts(account, parts).await?.map(|found| {
            let lens = parts.iter().map(|part| found[part].len);
            lens.fold(0, u64::saturating_add)
        }))
    }

    /// Completes an upload with the bytes of other uploads of its account, which stay as they are.
    /// `None`: they are not complete yet, and the upload waits for the last one; or somebody else
    /// is at it. What was copied before a failure is kept, so that repeating it goes on there.
    ///
    /// # Errors
    /// As [`Engine::parts_len`], [`Engine::set_length`], [`Engine::append`], [`Engine::complete`].
    pub async fn concatenate(
        self: &Arc<Self>,
        session: &Arc<Session>,
        parts: &[Uuid],
    ) -> Result<Option<Entry>> {
        let (engine, session, parts) = (self.clone(), session.clone(), parts.to_vec());
        let task = context::spawn(async move { engine.concatenate_now(&session, &parts).await });
        task.await.map_err(io::Error::other)?
    }

    async fn concatenate_now(
        self: &Arc<Self>,
        session: &Arc<Session>,
        parts: &[Uuid],
    ) -> Result<Option<Entry>> {
        let facts = session.facts();
        let waiting = Waiting {
            account: facts.account,
            parts: parts.to_vec(),
        };
        // Before the parts are looked at: one that ends in between finds this waiting.
        self.waiting().insert(facts.id, waiting);
        let Ok(_turn) = session.concatenation.try_lock() else {
            return Ok(None);
        };
        let found = match self.parts(facts.account, parts).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => {
                // What is gone does not come back.
                if error.is_absence() || matches!(error, Error::NoPart) {
                    self.waiting().remove(&facts.id);
                }
                return Err(error);
            }
        };
        let lens = parts.iter().map(|part| found[part].len);
        let length = lens.fold(0, u64::saturating_add);
        self.set_length(session, length).await?;
        let mut start = 0;
        for part in parts.iter().map(|part| &found[part]) {
            let end = start + part.len;
            let at = session.contiguous();
            if at < end {
                copy(session, part, at, at - start).await?;
            }
            start = end;
        }
        let file = self.complete(session).await?;
        self.waiting().remove(&facts.id);
        Ok(Some(file))
    }

    /// The parts, if all of them are complete.
    async fn parts(&self, account: Uuid, parts: &[Uuid]) -> Result<Option<HashMap<Uuid, Part>>> {
        let mut found = HashMap::new();
        let mut complete = true;
        for id in parts {
            if !found.contains_key(id) {
                match self.part(account, *id).await? {
                    Some(part) => drop(found.insert(*id, part)),
                    None => complete = false,
                }
            }
        }
        Ok(complete.then_some(found))
    }

    async fn part(&self, account: Uuid, id: Uuid) -> Result<Option<Part>> {
        let session = match self.find(account, id).await {
            Ok(Found::Open(session)) => session,
            Ok(Found::Done(_)) => return Err(Error::NoPart),
            Err(Error::OtherNode(node)) => {
                let part = self.ports.staged.open_part(&node, account, id).await;
                let part = part.map_err(|error| match error {
                    cloudstore_backends::staging::Error::NotFound => Error::NoPart,
                    error => Error::Io(io::Error::other(error)),
                })?;
                return Ok(part.map(|(content, len)| Part { content, len }));
            }
            Err(error) => return Err(error),
        };
        self.local_part(&session).await
    }

    async fn local_part(&self, session: &Arc<Session>) -> Result<Option<Part>> {
        let facts = session.facts();
        if !facts.part {
            return Err(Error::NoPart);
        }
        if !session.is_whole() {
            return Ok(None);
        }
        // One without bytes may have no file yet.
        session.files().await?;
        let path = self.layout.data(facts.id);
        let opened = path.clone();
        let file = spawn_blocking(move || File::open(opened)).await;
        let file = Arc::new(file.map_err(io::Error::other)??);
        Ok(Some(Part {
            content: Content::Local { file, path },
            len: facts.size.unwrap_or(0),
        }))
    }

    /// A part on this node, for another one; `None` while it is not complete.
    ///
    /// # Errors
    /// As [`Engine::find`], [`Error::NoPart`].
    pub(crate) async fn own_part(&self, account: Uuid, id: Uuid) -> Result<Option<(Content, u64)>> {
        let Found::Open(session) = self.find(account, id).await? else {
            return Err(Error::NoPart);
        };
        let part = self.local_part(&session).await?;
        Ok(part.map(|part| (part.content, part.len)))
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Uuid, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with whatever waits for this part.
    pub(super) fn part_is_whole(self: &Arc<Self>, part: Uuid) {
        drop(self.go_on(|waiting| waiting.parts.contains(&part)));
    }

    /// Looks at everything that waits once more: parts on other nodes do not say when they are
    /// complete. Ends with the last of them, so that nobody copies while another look does.
    pub(super) async fn retry_waiting(self: &Arc<Self>) {
        for task in self.go_on(|_| true) {
            if let Err(error) = task.await {
                tracing::error!(%error, "putting parts together panicked");
            }
        }
    }

    fn go_on(self: &Arc<Self>, is_meant: impl Fn(&Waiting) -> bool) -> Vec<JoinHandle<()>> {
        let meant: Vec<_> = {
            let waiting = self.waiting();
            let meant = waiting.iter().filter(|(_, waiting)| is_meant(waiting));
            meant.map(|(id, waiting)| (*id, waiting.clone())).collect()
        };
        let go_on = meant.into_iter().map(|(id, Waiting { account, parts })| {
            let engine = self.clone();
            context::spawn(async move {
                let outcome = match engine.find(account, id).await {
                    Ok(Found::Open(session)) => {
                        engine.concatenate(&session, &parts).await.map(drop)
                    }
                    Err(error) if !error.is_absence() => Err(error),
                    _ => {
                        engine.waiting().remove(&id);
                        Ok(())
                    }
                };
                if let Err(error) = outcome {
                    tracing::warn!(upload = %id, %error, "parts were not put together");
                }
            })
        });
        go_on.collect()
    }
}

/// Appends a part from byte `from` of it on.
async fn copy(session: &Arc<Session>, part: &Part, at: u64, from: u64) -> Result<()> {
    match &part.content {
        Content::Local { file, .. } => {
            session.copy_from(at, file.clone(), from..part.len).await?;
        }
        Content::Remote(copy) => {
            let body = copy.read(from..part.len).await.map_err(io::Error::other)?;
            let body = body.map_err(|error| BodyError(Box::new(error)));
            let end = session.facts().size.unwrap_or(at + part.len - from);
            let limit = Limit { end, exact: true };
            session.append(at, None, limit, None, body).await?;
        }
    }
    Ok(())
}
